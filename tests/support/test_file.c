#include "tests/support/test_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

void rn_test_write_file(const char *path, const void *bytes, size_t count)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, bytes, count) != (ssize_t)count || ftruncate(fd, (off_t)count) != 0 || close(fd) != 0) {
        perror(path);
        abort();
    }
}
