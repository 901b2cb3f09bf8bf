/* The cache: one directory an entry, which appears by a rename when it is complete. "<entry>.incoming" is where it is made, kept for the
 * next try when that fails. Whoever uses a directory holds a lock on it (flock), so that several processes may share the cache; the kernel
 * drops it with the process. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/io_error.h"
#include "loader/storage_private.h"

enum { PATH_BYTES = 4096, MOST_DEPTH = 8 };
static const char incoming_ending[] = ".incoming", preferred[] = "/var/cache/resnetd";

/* ---- the directory ---- */

rn_status rn__make_directory(const char *path, mode_t mode, rn_error *err)
{
    char part[PATH_BYTES];
    if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES) return rn__io_error(part, err);
        *slash = '/';
    }
    if (mkdir(part, mode) != 0 && errno != EEXIST) return rn__io_error(part, err);
    return access(part, W_OK | X_OK) == 0 ? RN_STATUS_OK : rn__io_error(part, err);
}

/* In a place that everybody may write to, somebody else may have made it: what it holds is not believed then. */
static rn_status check_owner(const char *path, rn_error *err)
{
    struct stat info;
    if (lstat(path, &info) != 0) return rn__io_error(path, err);
    if (S_ISDIR(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 022) == 0) return RN_STATUS_OK;
    return RN_FAIL(err, RN_STATUS_PERMISSION_DENIED,
                   "%s: expected a directory of this user that nobody else can write; --model_cache_dir names another", path);
}

rn_status rn__cache_open(rn__cache *cache, rn_error *err)
{
    if (cache->directory[0]) {
        const rn_status status = rn__make_directory(cache->directory, 0700, err);
        if (status != RN_STATUS_OK) rn_error_prefix(err, "--model_cache_dir");
        return status;
    }
    if (rn__make_directory(preferred, 0700, NULL) == RN_STATUS_OK) {
        strcpy(cache->directory, preferred);
        return RN_STATUS_OK;
    }
    const char *temporary = rn__env("TMPDIR");
    char path[sizeof cache->directory];
    if (snprintf(path, sizeof path, "%s/resnetd-cache-%lu", temporary ? temporary : "/tmp", (unsigned long)geteuid()) >= (int)sizeof path)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "TMPDIR: the path is too long");
    rn_status status = rn__make_directory(path, 0700, err);
    if (status == RN_STATUS_OK) status = check_owner(path, err);
    if (status == RN_STATUS_OK)
        strcpy(cache->directory, path);
    else
        rn_error_prefix(err, "no directory for models from object storage: %s cannot be written, and", preferred);
    return status;
}

void rn__cache_path(const rn__cache *cache, const char *name, bool incoming, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s/%s%s", cache->directory, name, incoming ? incoming_ending : "");
}

/* ---- locks ---- */

static bool is_same(int fd, const char *path)
{
    struct stat opened, there;
    return fstat(fd, &opened) == 0 && stat(path, &there) == 0 && opened.st_ino == there.st_ino && opened.st_dev == there.st_dev;
}

/* Opens and locks. -1: it is not there, or (errno EWOULDBLOCK) it is in use in a way that does not go together. A file system without locks
 * has one user, and is taken at its word. */
static int open_locked(const char *path, int how)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -1;
    const bool busy = flock(fd, how | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!busy && is_same(fd, path)) return fd;
    close(fd);
    errno = busy ? EWOULDBLOCK : ENOENT;
    return -1;
}

rn_status rn__cache_find(const rn__cache *cache, const char *name, int *fd, rn_error *err)
{
    char path[PATH_BYTES];
    rn__cache_path(cache, name, false, path, sizeof path);
    *fd = open_locked(path, LOCK_SH);
    if (*fd < 0 && errno != ENOENT && errno != EWOULDBLOCK) return rn__io_error(path, err);
    if (*fd >= 0) futimens(*fd, NULL); /* used now */
    return RN_STATUS_OK;
}

rn_status rn__cache_begin(const rn__cache *cache, const char *name, int *fd, rn_error *err)
{
    char path[PATH_BYTES];
    rn__cache_path(cache, name, true, path, sizeof path);
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return rn__io_error(path, err);
    *fd = open_locked(path, LOCK_EX);
    if (*fd < 0 && errno != ENOENT && errno != EWOULDBLOCK) return rn__io_error(path, err);
    return RN_STATUS_OK;
}

rn_status rn__cache_commit(const rn__cache *cache, const char *name, int fd, rn_error *err)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    rn__cache_path(cache, name, true, from, sizeof from);
    rn__cache_path(cache, name, false, to, sizeof to);
    flock(fd, LOCK_SH);
    if (rename(from, to) != 0) return rn__io_error(to, err);
    futimens(fd, NULL);
    return RN_STATUS_OK;
}

/* ---- removing ---- */

static void remove_below(int parent, const char *name, int depth)
{
    const int fd = depth > 0 ? openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        if (fd >= 0) close(fd);
        unlinkat(parent, name, 0);
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) remove_below(dirfd(folder), entry->d_name, depth - 1);
    closedir(folder);
    unlinkat(parent, name, AT_REMOVEDIR);
}

void rn__cache_remove_tree(const char *path)
{
    remove_below(AT_FDCWD, path, MOST_DEPTH);
}

static uint64_t bytes_below(const char *path, int depth)
{
    struct stat info;
    uint64_t bytes = 0;
    if (lstat(path, &info) != 0) return 0;
    if (!S_ISDIR(info.st_mode)) return (uint64_t)info.st_blocks * 512;
    DIR *folder = depth > 0 ? opendir(path) : NULL;
    if (!folder) return 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char below[PATH_BYTES];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (snprintf(below, sizeof below, "%s/%s", path, entry->d_name) < (int)sizeof below) bytes += bytes_below(below, depth - 1);
    }
    closedir(folder);
    return bytes;
}

typedef struct {
    char name[256];
    uint64_t bytes;
    struct timespec used;
} entry;

static int by_use(const void *a, const void *b)
{
    const struct timespec first = ((const entry *)a)->used, second = ((const entry *)b)->used;
    if (first.tv_sec != second.tv_sec) return first.tv_sec < second.tv_sec ? -1 : 1;
    return (first.tv_nsec > second.tv_nsec) - (first.tv_nsec < second.tv_nsec);
}

/* Ours alone, should somebody have put other things beside them: "...-<16 digits>", with or without the ending. */
static bool is_entry(const char *name)
{
    size_t length = strlen(name);
    const size_t ending = sizeof incoming_ending - 1;
    if (length > ending && strcmp(name + length - ending, incoming_ending) == 0) length -= ending;
    return length > 17 && name[length - 17] == '-' && strspn(name + length - 16, "0123456789abcdef") >= 16;
}

static rn_status read_entries(const rn__cache *cache, entry **out, size_t *count, rn_error *err)
{
    entry *list = NULL;
    size_t used = 0;
    DIR *folder = opendir(cache->directory);
    if (!folder) return rn__io_error(cache->directory, err);
    for (struct dirent *found; (found = readdir(folder)) != NULL;) {
        char path[PATH_BYTES];
        struct stat info;
        if (!is_entry(found->d_name) || snprintf(path, sizeof path, "%s/%s", cache->directory, found->d_name) >= (int)sizeof path ||
            stat(path, &info) != 0)
            continue;
        entry *grown = realloc(list, (used + 1) * sizeof *list);
        if (!grown) break;
        list = grown;
        list[used] = (entry){.bytes = bytes_below(path, MOST_DEPTH), .used = info.st_mtim};
        snprintf(list[used++].name, sizeof list->name, "%s", found->d_name);
    }
    closedir(folder);
    if (used) qsort(list, used, sizeof *list, by_use);
    *out = list;
    *count = used;
    return RN_STATUS_OK;
}

static bool remove_entry(const rn__cache *cache, const char *name)
{
    char path[PATH_BYTES];
    rn__cache_path(cache, name, false, path, sizeof path);
    const int fd = open_locked(path, LOCK_EX);
    if (fd < 0) return false;
    rn__cache_remove_tree(path);
    close(fd);
    return true;
}

rn_status rn__cache_make_room(const rn__cache *cache, const char *name, uint64_t bytes, rn_error *err)
{
    entry *entries;
    size_t count;
    uint64_t total = bytes;
    if (bytes > cache->most_bytes)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%llu bytes, and --model_cache_max_bytes is %llu", (unsigned long long)bytes,
                       (unsigned long long)cache->most_bytes);
    RN_TRY(read_entries(cache, &entries, &count, err));
    const size_t name_bytes = strlen(name);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(entries[i].name, name, name_bytes) == 0) entries[i].bytes = 0; /* what is being made: counted already */
        total += entries[i].bytes;
    }
    for (size_t i = 0; i < count && total > cache->most_bytes; i++)
        if (entries[i].bytes && remove_entry(cache, entries[i].name)) total -= entries[i].bytes;
    free(entries);
    return RN_STATUS_OK;
}
