/* Lists of objects, and which of their names may become files. */
#include <stdlib.h>
#include <string.h>

#include "loader/model_file.h"
#include "loader/storage_private.h"

/* Nothing that leads out of the folder, and nothing that no file system takes. */
static bool is_file_name(const char *name)
{
    enum { MOST_PART = 200 }; /* file systems allow 255, and a download adds to it */
    if (strlen(name) >= RN__OBJECT_NAME_BYTES) return false;
    for (const char *part = name;;) {
        const size_t length = strcspn(part, "/");
        if (length == 0 || length > MOST_PART || strncmp(part, ".", length) == 0 || (length == 2 && strncmp(part, "..", 2) == 0))
            return false;
        if (!part[length]) return true;
        part += length + 1;
    }
}

static rn_status reserve(rn__objects *objects, rn_error *err)
{
    if (objects->count == RN__MOST_OBJECTS)
        return RN_FAIL(err, RN_STATUS_UNAVAILABLE, "more than %d objects: expected the path of one model, not of a whole bucket",
                       RN__MOST_OBJECTS);
    if ((objects->count & (objects->count - 1)) != 0) return RN_STATUS_OK; /* full at every power of two */
    rn__object *grown = realloc(objects->at, (objects->count ? 2 * (size_t)objects->count : 1) * sizeof *grown);
    if (!grown) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a listing");
    objects->at = grown;
    return RN_STATUS_OK;
}

rn_status rn__objects_add(rn__objects *objects, const char *name, uint64_t size, const char *tag, const rn__check *check, rn_error *err)
{
    if (objects->file && *name) return RN_STATUS_OK;
    if (objects->file) name = RN_MODEL_FILE_NAME;
    if (!is_file_name(name)) return RN_STATUS_OK;
    RN_TRY(reserve(objects, err));
    rn__object object = {.name = strdup(name), .size = size, .tag = strdup(tag), .check = check ? *check : (rn__check){0}};
    if (!object.name || !object.tag) {
        free(object.name);
        free(object.tag);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a listing");
    }
    objects->at[objects->count++] = object;
    return RN_STATUS_OK;
}

void rn__objects_deinit(rn__objects *objects)
{
    for (int32_t i = 0; i < objects->count; i++) {
        free(objects->at[i].name);
        free(objects->at[i].tag);
    }
    free(objects->at);
    *objects = (rn__objects){0};
}

uint64_t rn__object_stamp(const rn__object *object, const char *name)
{
    uint64_t stamp = 0xcbf29ce484222325u; /* FNV-1a */
    const char *texts[] = {name, object->tag};
    for (int t = 0; t < 2; t++)
        for (const char *c = texts[t];; c++) {
            stamp = (stamp ^ (uint8_t)*c) * 0x100000001b3u;
            if (!*c) break;
        }
    for (int shift = 0; shift < 64; shift += 8) stamp = (stamp ^ (uint8_t)(object->size >> shift)) * 0x100000001b3u;
    return stamp;
}

uint64_t rn__objects_stamp(const rn__objects *objects)
{
    uint64_t stamp = 1;
    for (int32_t i = 0; i < objects->count; i++) stamp += rn__object_stamp(&objects->at[i], objects->at[i].name); /* a sum: in any order */
    return stamp ? stamp : 1;
}
