/* A file is read, not mapped: somebody may cut it or write over it while its model serves, and touching a page that is gone would end the
 * process. The copy costs a tenth of a second for a ResNet-101. */
#include "loader/file_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/io_error.h"

enum { CHUNK_BYTES = 4 << 20 }; /* between two calls of follow */

/* Who looks on; NULL: nobody. */
typedef struct {
    rn__file_follow_fn *follow;
    void *context;
} follower;

/* Fills `to` with the file's first bytes. */
static rn_status read_all(const char *path, int fd, uint8_t *to, size_t size_bytes, const follower *follower, rn_error *err)
{
    for (size_t done = 0; done < size_bytes;) {
        const size_t left = size_bytes - done;
        const ssize_t count = pread(fd, to + done, follower && left > CHUNK_BYTES ? CHUNK_BYTES : left, (off_t)done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return rn__io_error(path, err);
        if (count == 0) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: cut to %zu of %zu bytes while it was read", path, done, size_bytes);
        done += (size_t)count;
        if (follower) follower->follow(follower->context, to, done);
    }
    return RN_STATUS_OK;
}

static rn_status read_file(const char *path, int fd, size_t most, const follower *follower, rn__file_bytes *out, rn_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) return rn__io_error(path, err);
    if (!S_ISREG(info.st_mode)) return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s: not a regular file", path);
    const size_t size_bytes = (size_t)info.st_size < most ? (size_t)info.st_size : most;
    if (size_bytes == 0) return RN_STATUS_OK;
    uint8_t *bytes = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for its %zu bytes", path, size_bytes);
    madvise(bytes, size_bytes, MADV_HUGEPAGE); /* small pages would be cleared and entered one by one while the file is copied */
    *out = (rn__file_bytes){bytes, size_bytes};
    return read_all(path, fd, bytes, size_bytes, follower, err);
}

static rn_status open_file(const char *path, size_t most, const follower *follower, rn__file_bytes *out, rn_error *err)
{
    *out = (rn__file_bytes){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe of that name must not stop the server */
    if (fd < 0) return rn__io_error(path, err);
    const rn_status status = read_file(path, fd, most, follower, out, err);
    close(fd);
    return status;
}

rn_status rn__file_bytes_open_head(const char *path, size_t most, rn__file_bytes *out, rn_error *err)
{
    const rn_status status = open_file(path, most, NULL, out, err);
    if (status != RN_STATUS_OK) rn__file_bytes_close(out);
    return status;
}

rn_status rn__file_bytes_open(const char *path, rn__file_bytes *out, rn_error *err)
{
    return rn__file_bytes_open_head(path, SIZE_MAX, out, err);
}

rn_status rn__file_bytes_open_followed(const char *path, rn__file_follow_fn *follow, void *context, rn__file_bytes *out, rn_error *err)
{
    const follower looking = {follow, context};
    return open_file(path, SIZE_MAX, &looking, out, err);
}

void rn__file_bytes_close(rn__file_bytes *map)
{
    if (map->bytes) munmap((void *)map->bytes, map->size_bytes);
    *map = (rn__file_bytes){0};
}
