/* A folder in memory for targets whose subject reads files. Each process has its own, which is removed when it ends. */
#ifndef RN_TESTS_FUZZ_SCRATCH_H
#define RN_TESTS_FUZZ_SCRATCH_H

#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch_folder[64];

static void scratch_remove(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", scratch_folder);
    if (system(command) != 0) perror(command);
}

/* The folder, with a folder "variables" in it. */
static const char *scratch(void)
{
    if (*scratch_folder) return scratch_folder;
    strcpy(scratch_folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/rn_fuzz_XXXXXX" : "/tmp/rn_fuzz_XXXXXX");
    char path[128];
    assert(mkdtemp(scratch_folder));
    snprintf(path, sizeof path, "%s/variables", scratch_folder);
    assert(mkdir(path, 0700) == 0);
    atexit(scratch_remove);
    return scratch_folder;
}

static inline void scratch_write(const char *name, const uint8_t *data, size_t size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", scratch(), name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

#endif
