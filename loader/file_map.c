/* mmap, with the system's refusals turned into statuses. The mapping is private: a file that is replaced by rename keeps its old bytes
 * here. */
#include "loader/file_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/io_error.h"

rn_status rn__file_map_open(const char *path, rn__file_map *out, rn_error *err)
{
    *out = (rn__file_map){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe of that name must not stop the server */
    if (fd < 0) return rn__io_error(path, err);
    rn_status status = RN_STATUS_OK;
    struct stat info;
    if (fstat(fd, &info) != 0) {
        status = rn__io_error(path, err);
    } else if (!S_ISREG(info.st_mode)) {
        status = RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s: not a regular file", path);
    } else if (info.st_size > 0) {
        void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (bytes == MAP_FAILED)
            status = rn__io_error(path, err);
        else
            *out = (rn__file_map){bytes, (size_t)info.st_size};
    }
    close(fd);
    return status;
}

void rn__file_map_close(rn__file_map *map)
{
    if (map->bytes) munmap((void *)map->bytes, map->size_bytes);
    *map = (rn__file_map){0};
}
