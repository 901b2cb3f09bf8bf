/* The notes are a header and one number a part. They may be behind the file after a crash, never ahead of it in a way that matters: the
 * checksum of the whole is compared when it is complete. */
#include "loader/storage_download_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/io_error.h"

enum { PART_BYTES = 16 << 20 };

typedef struct {
    char magic[8];
    uint64_t stamp, size, part_bytes;
} header;

static header header_of(const rn__part_file *file)
{
    header h = {
        .magic = "rnpart1", .stamp = rn__object_stamp(file->object, ""), .size = file->object->size, .part_bytes = file->part_bytes};
    return h;
}

uint64_t rn__part_file_length(const rn__part_file *file, int32_t part)
{
    const uint64_t begin = (uint64_t)part * file->part_bytes, left = file->object->size - begin;
    return left < file->part_bytes ? left : file->part_bytes;
}

bool rn__part_file_is_complete(const rn__part_file *file)
{
    for (int32_t i = 0; i < file->part_count; i++)
        if (file->progress[i] < rn__part_file_length(file, i)) return false;
    return true;
}

void rn__part_file_note(rn__part_file *file, int32_t part, uint64_t done)
{
    file->progress[part] = done;
    const off_t at = (off_t)(sizeof(header) + (size_t)part * sizeof done);
    /* Without it, the next process fetches more than it had to. */
    if (pwrite(file->progress_fd, &done, sizeof done, at) < 0) return;
}

static rn_status make_folders(const char *folder, const char *path, rn_error *err)
{
    char part[4096];
    if (strlen(path) >= sizeof part) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", path);
    strcpy(part, path);
    for (char *slash = strchr(part + strlen(folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST) return rn__io_error(part, err);
        *slash = '/';
    }
    return RN_STATUS_OK;
}

static rn_status with_ending(const char *path, const char *ending, char **out, rn_error *err)
{
    rn__buffer text = {0};
    rn__buffer_format(&text, "%s%s", path, ending);
    return rn__buffer_take(&text, out, err);
}

static void read_notes(rn__part_file *file)
{
    header found;
    const header expected = header_of(file);
    struct stat info;
    const size_t bytes = (size_t)file->part_count * sizeof *file->progress;
    const bool known = fstat(file->fd, &info) == 0 && (uint64_t)info.st_size == file->object->size &&
                       pread(file->progress_fd, &found, sizeof found, 0) == (ssize_t)sizeof found &&
                       memcmp(&found, &expected, sizeof found) == 0 &&
                       pread(file->progress_fd, file->progress, bytes, sizeof found) == (ssize_t)bytes;
    for (int32_t i = 0; i < file->part_count; i++)
        if (!known || file->progress[i] > rn__part_file_length(file, i)) file->progress[i] = 0;
}

static rn_status write_notes(rn__part_file *file, rn_error *err)
{
    const header h = header_of(file);
    const size_t bytes = (size_t)file->part_count * sizeof *file->progress;
    if (ftruncate(file->fd, (off_t)file->object->size) != 0) return rn__io_error(file->path, err);
    if (pwrite(file->progress_fd, &h, sizeof h, 0) != (ssize_t)sizeof h ||
        pwrite(file->progress_fd, file->progress, bytes, sizeof h) != (ssize_t)bytes)
        return rn__io_error(file->progress_path, err);
    return RN_STATUS_OK;
}

static int open_for_writing(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
}

rn_status rn__part_file_open(rn__part_file *file, const char *folder, const char *path, rn_error *err)
{
    const uint64_t size = file->object->size;
    file->part_bytes = file->object->one_part && size ? size : PART_BYTES;
    file->part_count = (int32_t)((size + file->part_bytes - 1) / file->part_bytes);
    RN_TRY(make_folders(folder, path, err));
    RN_TRY(with_ending(path, ".resnetd-part", &file->path, err));
    RN_TRY(with_ending(path, ".resnetd-progress", &file->progress_path, err));
    file->progress = calloc((size_t)file->part_count + 1, sizeof *file->progress);
    if (!file->progress) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a download");
    if ((file->fd = open_for_writing(file->path)) < 0) return rn__io_error(file->path, err);
    if ((file->progress_fd = open_for_writing(file->progress_path)) < 0) return rn__io_error(file->progress_path, err);
    read_notes(file);
    return write_notes(file, err);
}

static void close_files(rn__part_file *file)
{
    if (file->fd >= 0) close(file->fd);
    if (file->progress_fd >= 0) close(file->progress_fd);
    file->fd = file->progress_fd = -1;
}

void rn__part_file_close(rn__part_file *file)
{
    close_files(file);
    free(file->progress);
    free(file->path);
    free(file->progress_path);
    *file = (rn__part_file){.fd = -1, .progress_fd = -1};
}

rn_status rn__part_file_restart(rn__part_file *file, rn_error *err)
{
    memset(file->progress, 0, (size_t)file->part_count * sizeof *file->progress);
    return write_notes(file, err);
}

rn_status rn__part_file_finish(rn__part_file *file, rn_error *err)
{
    const bool written = fsync(file->fd) == 0;
    const rn_status status = written ? RN_STATUS_OK : rn__io_error(file->path, err);
    close_files(file);
    file->finished = written;
    return status;
}

rn_status rn__part_file_rename(rn__part_file *file, const char *path, rn_error *err)
{
    if (rename(file->path, path) != 0) return rn__io_error(path, err);
    unlink(file->progress_path);
    file->renamed = true;
    return RN_STATUS_OK;
}
