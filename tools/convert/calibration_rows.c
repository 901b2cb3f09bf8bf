/* Rows are made one at a time and dropped again: a folder may be larger than memory, and decoding costs little beside a run of the network. */
#include "tools/convert/calibration_rows.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/image/image.h"

enum { NPY_PREFIX_BYTES = 10, MAX_FILE_BYTES = 1 << 30 };

/* ---- files ---- */

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not alphasort, which follows the locale */
}

static void free_names(struct dirent **names, int count)
{
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
}

/* The names in *out, at least one. */
static rn_status list_files(const char *folder, struct dirent ***out, int *count, rn_error *err)
{
    *count = scandir(folder, out, is_visible, by_bytes);
    if (*count < 0) {
        return RN_FAIL(err, errno == ENOENT || errno == ENOTDIR ? RN_STATUS_NOT_FOUND : RN_STATUS_PERMISSION_DENIED, "%s: %s", folder, strerror(errno));
    }
    if (*count > 0) return RN_STATUS_OK;
    free(*out);
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: an empty folder, expected calibration pictures or .npy files", folder);
}

static bool is_npy(const char *name)
{
    const size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".npy") == 0;
}

static rn_status read_whole(const char *path, char **out, size_t *byte_count, rn_error *err)
{
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info) != 0) {
        const int cause = errno;
        if (file) fclose(file);
        return RN_FAIL(err, cause == EACCES ? RN_STATUS_PERMISSION_DENIED : RN_STATUS_NOT_FOUND, "%s: %s", path, strerror(cause));
    }
    rn_status status = RN_STATUS_OK;
    *out = NULL;
    if (!S_ISREG(info.st_mode) || info.st_size < 1 || info.st_size > MAX_FILE_BYTES) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: expected a file of 1 to %d bytes", path, MAX_FILE_BYTES);
        goto cleanup;
    }
    *byte_count = (size_t)info.st_size;
    *out = malloc(*byte_count);
    if (!*out) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for %zu bytes", path, *byte_count);
    else if (fread(*out, 1, *byte_count, file) != *byte_count) status = RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: shorter than it was", path);
cleanup:
    fclose(file);
    return status;
}

/* ---- the walk ---- */

typedef struct {
    const rn_plan *plan;
    const rn_signature *signature;
    rn_row_visitor *visit;
    void *context;
    int32_t file, file_count;
    void *row; /* one picture */
} walk;

static rn_status visit_picture(const walk *w, const char *bytes, size_t byte_count, rn_error *err)
{
    const rn_picture_source source = {.bytes = (const uint8_t *)bytes, .byte_count = byte_count};
    RN_TRY(rn_image_run(&w->plan->ops[w->signature->image_op].u.image, &source, w->row, err));
    return w->visit(w->context, w->row, w->file, w->file_count, err);
}

/* A .npy file: "\x93NUMPY", version, length of a header in Python syntax, header, data. Of the header only type and order matter: how many rows there are
 * follows from the size. NumPy's documentation, "NPY format". */
static rn_status visit_npy(const walk *w, const char *bytes, size_t byte_count, rn_error *err)
{
    const size_t row_bytes = rn_plan_tensor_bytes(&w->plan->tensors[w->signature->feed]);
    if (byte_count < NPY_PREFIX_BYTES || memcmp(bytes, "\x93NUMPY\x01", 7) != 0) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "not a .npy file of format 1.0");
    }
    const size_t header = (size_t)(uint8_t)bytes[8] | (size_t)(uint8_t)bytes[9] << 8, begin = NPY_PREFIX_BYTES + header;
    char text[1 << 16];
    if (begin > byte_count) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "its header has %zu bytes, the file %zu", header, byte_count);
    memcpy(text, bytes + NPY_PREFIX_BYTES, header);
    text[header < sizeof text ? header : sizeof text - 1] = '\0';
    if (!strstr(text, "'<f4'") || !strstr(text, "'fortran_order': False")) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "expected little-endian float32 in C order, found %.80s", text);
    }
    if (begin == byte_count || (byte_count - begin) % row_bytes != 0) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%zu bytes of data are no whole number of rows of %zu bytes", byte_count - begin, row_bytes);
    }
    for (size_t at = begin; at < byte_count; at += row_bytes) {
        memcpy(w->row, bytes + at, row_bytes); /* aligned */
        RN_TRY(w->visit(w->context, w->row, w->file, w->file_count, err));
    }
    return RN_STATUS_OK;
}

static rn_status visit_file(const walk *w, const char *folder, const char *name, rn_error *err)
{
    char path[4096], *bytes = NULL;
    size_t byte_count = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", path);
    }
    RN_TRY(read_whole(path, &bytes, &byte_count, err));
    const bool pictures = w->signature->image_op != RN_NONE;
    rn_status status;
    if (pictures == is_npy(name)) {
        status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "pictures and .npy files in one folder, expected one kind");
    } else {
        status = (pictures ? visit_picture : visit_npy)(w, bytes, byte_count, err);
    }
    free(bytes);
    if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", path);
    return status;
}

rn_status rn_calibration_rows_visit(const char *folder, const rn_plan *plan, const rn_signature *signature, rn_row_visitor *visit, void *context,
                                    rn_error *err)
{
    struct dirent **names;
    int count;
    RN_TRY(list_files(folder, &names, &count, err));
    walk w = {.plan = plan, .signature = signature, .visit = visit, .context = context, .file_count = count};
    w.row = malloc(rn_plan_tensor_bytes(&plan->tensors[signature->feed]));
    rn_status status = w.row ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a calibration input");
    for (; w.file < count && status == RN_STATUS_OK; w.file++) status = visit_file(&w, folder, names[w.file]->d_name, err);
    free(w.row);
    free_names(names, count);
    return status;
}

rn_status rn_calibration_signature(const char *folder, const rn_plan *plan, const rn_signature **out, rn_error *err)
{
    struct dirent **names;
    int count;
    RN_TRY(list_files(folder, &names, &count, err));
    const bool npy = is_npy(names[0]->d_name);
    free_names(names, count);
    for (int32_t i = 0; i < plan->signature_count; i++) {
        const rn_signature *signature = &plan->signatures[i];
        const bool fits = npy ? plan->tensors[signature->feed].dtype == RN_DTYPE_F32 : signature->image_op != RN_NONE;
        if (!fits) continue;
        *out = signature;
        return RN_STATUS_OK;
    }
    return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s holds %s, and no signature of the model takes %s: %s", folder, npy ? ".npy files" : "pictures",
                   npy ? "floats" : "pictures", npy ? "give it pictures" : "give it float32 rows in .npy files");
}
