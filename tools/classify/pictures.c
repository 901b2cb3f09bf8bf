/* See pictures.h. */
#include "tools/classify/pictures.h"

#include <errno.h>
#include <fts.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_PICTURE_BYTES = 1 << 30 };

static rn_status add(picture_list *list, const char *path, rn_error *err)
{
    if (list->count == list->capacity) {
        const int32_t capacity = list->capacity ? 2 * list->capacity : 64;
        char **grown = realloc(list->paths, (size_t)capacity * sizeof *grown);
        if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the names of %d pictures", capacity);
        list->paths = grown;
        list->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a name");
    list->paths[list->count++] = copy;
    return RN_STATUS_OK;
}

static bool is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"};
    const size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t bytes = strlen(endings[i]);
        if (length > bytes && strcasecmp(name + length - bytes, endings[i]) == 0) return true;
    }
    return false;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static rn_status add_directory(picture_list *list, char *path, rn_error *err)
{
    const int32_t before = list->count;
    rn_status status = RN_STATUS_OK;
    FTS *walk = fts_open((char *const[]){path, NULL}, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (!walk) return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: %s", path, strerror(errno));
    for (FTSENT *entry; status == RN_STATUS_OK && (entry = fts_read(walk));) {
        if ((entry->fts_info == FTS_F || entry->fts_info == FTS_SL) && is_picture_name(entry->fts_name))
            status = add(list, entry->fts_path, err);
        if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR)
            status = RN_FAIL(err, RN_STATUS_PERMISSION_DENIED, "%s: %s", entry->fts_path, strerror(entry->fts_errno));
    }
    fts_close(walk);
    if (status == RN_STATUS_OK && list->count == before)
        return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: no file in it is named like a picture (.jpg, .png, .gif, .bmp, .webp)", path);
    return status;
}

rn_status picture_list_make(char **names, int count, picture_list *out, rn_error *err)
{
    *out = (picture_list){0};
    if (count == 0) return RN_FAIL(err, RN_STATUS_NOT_FOUND, "no picture is named");
    for (int i = 0; i < count; i++) {
        struct stat info;
        const bool stream = strcmp(names[i], "-") == 0;
        if (!stream && stat(names[i], &info) != 0) return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: %s", names[i], strerror(errno));
        RN_TRY(!stream && S_ISDIR(info.st_mode) ? add_directory(out, names[i], err) : add(out, names[i], err));
    }
    return RN_STATUS_OK;
}

void picture_list_deinit(picture_list *list)
{
    for (int32_t i = 0; i < list->count; i++) free(list->paths[i]);
    free(list->paths);
}

rn_status picture_read(const char *path, void **out, size_t *byte_count, rn_error *err)
{
    const bool stream = strcmp(path, "-") == 0;
    FILE *file = stream ? stdin : fopen(path, "rb");
    if (!file) return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s", strerror(errno));
    rn_status status = RN_STATUS_OK;
    char *bytes = NULL;
    size_t used = 0, capacity = 0;
    for (size_t got = 1; got > 0 && status == RN_STATUS_OK; used += got) {
        if (used == capacity) {
            capacity = capacity ? 2 * capacity : 1 << 16;
            char *grown = capacity <= MAX_PICTURE_BYTES ? realloc(bytes, capacity) : NULL;
            if (!grown) {
                status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "more bytes than a picture may have, %d", MAX_PICTURE_BYTES);
                break;
            }
            bytes = grown;
        }
        got = fread(bytes + used, 1, capacity - used, file);
    }
    if (status == RN_STATUS_OK && ferror(file)) status = RN_FAIL(err, RN_STATUS_UNAVAILABLE, "%s", strerror(errno));
    if (!stream) fclose(file);
    if (status != RN_STATUS_OK) {
        free(bytes);
        return status;
    }
    *out = bytes;
    *byte_count = used;
    return RN_STATUS_OK;
}
