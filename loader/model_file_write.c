/* Writing a model file: a list of everything that becomes a tensor, which the header, the checksum and the data follow alike.
 *
 * safetensors allows no gap between tensors, and we want each on a 64-byte boundary: where one ends between boundaries, a tensor of zeros
 * called __padding__ fills the gap. Readers that know nothing of plans see one more small tensor.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "engine/golden.h"
#include "kernels/base/bf16.h"
#include "kernels/base/f16.h"
#include "kernels/base/version.h"
#include "loader/io_error.h"
#include "loader/model_file.h"
#include "loader/model_file_private.h"
#include "loader/plan_json.h"

enum { ALIGNMENT = RN__MODEL_FILE_ALIGNMENT, LENGTH_BYTES = RN__MODEL_FILE_LENGTH_BYTES, CHUNK = 1 << 14 };

/* ---- what is written ---- */

/* One tensor of the file. Floats of `data` are rounded to `as` where that is another type. */
typedef struct item {
    char name[RN_PLAN_NAME_BYTES];
    rn_dtype from, as;
    int32_t rank, dims[RN_PLAN_MAX_RANK];
    size_t count;
    const void *data;
} item;

typedef struct content {
    item *items; /* the plan's weights, then the golden inputs and outputs */
    int32_t count;
} content;

static size_t padding_after(size_t bytes)
{
    return (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT;
}

static size_t item_bytes(const item *x)
{
    return x->count * rn_dtype_bytes(x->as);
}

/* Zeros between item i and the next; none after the last. */
static size_t padding_after_item(const content *content, int32_t i)
{
    return i + 1 < content->count ? padding_after(item_bytes(&content->items[i])) : 0;
}

static item weights_item(const rn_plan_weights *weights, rn_dtype filters)
{
    item x = {.from = weights->dtype, .as = weights->dtype, .rank = weights->rank, .data = weights->data};
    if (weights->dtype == RN_DTYPE_F32 && weights->rank > 1) x.as = filters; /* vectors are few, and their rounding would cost most */
    snprintf(x.name, sizeof x.name, "%s", weights->name);
    memcpy(x.dims, weights->dims, sizeof x.dims);
    x.count = (size_t)weights->element_count;
    return x;
}

static item golden_item(int32_t golden, const char *role, rn_dtype dtype, int32_t rows, int64_t elements, const void *data)
{
    item x = {.from = dtype, .as = dtype, .rank = 2, .dims = {rows, (int32_t)elements}, .count = (size_t)(rows * elements), .data = data};
    snprintf(x.name, sizeof x.name, "__golden__/%d/%.200s", golden, role);
    return x;
}

static rn_status collect(const rn_plan *plan, rn_dtype filters, content *out, rn_error *err)
{
    const size_t most = (size_t)plan->weights_count + (size_t)plan->golden_count * (1 + RN_PLAN_MAX_OUTPUTS);
    out->items = calloc(most + 1, sizeof *out->items);
    if (!out->items) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a list of %zu tensors", most);
    for (int32_t i = 0; i < plan->weights_count; i++) out->items[out->count++] = weights_item(&plan->weights[i], filters);
    for (int32_t g = 0; g < plan->golden_count; g++) {
        const rn_golden *golden = &plan->goldens[g];
        const rn_signature *signature = &plan->signatures[golden->signature];
        const rn_plan_tensor *feed = &plan->tensors[signature->feed];
        out->items[out->count++] = golden_item(g, "input", feed->dtype, golden->rows, rn_plan_tensor_elements(feed), golden->input);
        for (int32_t o = 0; o < signature->output_count; o++) {
            if (!golden->outputs[o]) continue;
            const int64_t elements = rn_golden_output_elements(plan, signature, o);
            char role[RN_PLAN_NAME_BYTES + 16];
            snprintf(role, sizeof role, "output/%s", signature->outputs[o].name);
            out->items[out->count++] = golden_item(g, role, RN_DTYPE_F32, golden->rows, elements, golden->outputs[o]);
        }
    }
    return RN_STATUS_OK;
}

/* ---- the data ---- */

typedef bool put_fn(void *context, const void *bytes, size_t count);

static bool put_rounded(const item *x, put_fn *put, void *context)
{
    const float *from = x->data;
    uint16_t chunk[CHUNK];
    for (size_t done = 0, count; done < x->count; done += count) {
        count = x->count - done < CHUNK ? x->count - done : CHUNK;
        for (size_t i = 0; i < count; i++) {
            chunk[i] = x->as == RN_DTYPE_F16 ? rn_f16_from_f32(from[done + i]) : rn_bf16_from_f32(from[done + i]);
        }
        if (!put(context, chunk, count * sizeof *chunk)) return false;
    }
    return true;
}

/* Calls put(context, bytes, count) for the data section from front to back; stops when it returns false. */
static bool put_data(const content *content, put_fn *put, void *context)
{
    static const uint8_t zeros[ALIGNMENT];
    for (int32_t i = 0; i < content->count; i++) {
        const item *x = &content->items[i];
        if (!(x->as == x->from ? put(context, x->data, item_bytes(x)) : put_rounded(x, put, context))) return false;
        if (!put(context, zeros, padding_after_item(content, i))) return false;
    }
    return true;
}

static bool put_digest(void *context, const void *bytes, size_t count)
{
    return EVP_DigestUpdate(context, bytes, count) == 1;
}

static rn_status hash_data(const content *content, char out[RN__SHA256_TEXT_BYTES], rn_error *err)
{
    uint8_t digest[32];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 && put_data(content, put_digest, context) &&
                      EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (!good) return RN_FAIL(err, RN_STATUS_INTERNAL, "SHA-256 is not to be had from OpenSSL");
    rn__sha256_text(digest, out);
    return RN_STATUS_OK;
}

/* `wanted`, or with a number behind where the header has that key already. */
static void unused_key(const json_t *header, const char *wanted, int32_t number, char out[RN_PLAN_NAME_BYTES])
{
    snprintf(out, RN_PLAN_NAME_BYTES, "%s", wanted);
    for (; json_object_get(header, out); number++) snprintf(out, RN_PLAN_NAME_BYTES, "%.*s#%d", RN_PLAN_NAME_BYTES - 16, wanted, number);
}

/* False when out of memory, or when the key is not UTF-8. */
static bool add_entry(json_t *header, const char *key, rn_dtype dtype, int32_t rank, const int32_t *dims, size_t begin, size_t end)
{
    json_t *shape = json_array();
    for (int32_t d = 0; d < rank; d++) json_array_append_new(shape, json_integer(dims[d]));
    return json_object_set_new(header, key,
                               json_pack("{s:s, s:o, s:[I,I]}", "dtype", rn_dtype_name(dtype), "shape", shape, "data_offsets",
                                         (json_int_t)begin, (json_int_t)end)) == 0;
}

/* Adds an entry for every item and every padding to `header`; keys[i]: that of item i. */
static rn_status list_tensors(json_t *header, json_t *keys, const content *content, rn_error *err)
{
    size_t at = 0;
    for (int32_t i = 0; i < content->count; i++) {
        const item *x = &content->items[i];
        const size_t end = at + item_bytes(x);
        const int32_t padding = (int32_t)padding_after_item(content, i);
        char key[RN_PLAN_NAME_BYTES], padding_key[RN_PLAN_NAME_BYTES];
        unused_key(header, x->name, i, key);
        bool good = json_array_append_new(keys, json_string(key)) == 0 && add_entry(header, key, x->as, x->rank, x->dims, at, end);
        if (good && padding > 0) {
            unused_key(header, "__padding__", i, padding_key);
            good = add_entry(header, padding_key, RN_DTYPE_U8, 1, &padding, end, end + (size_t)padding);
        }
        if (!good) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "weights %s: the name is not UTF-8, or no memory", x->name);
        at = end + (size_t)padding;
    }
    return RN_STATUS_OK;
}

/* The golden inputs and outputs as JSON: which tensors they are. `key`: index of the first golden item's key. */
static json_t *goldens_to_json(const rn_plan *plan, const json_t *keys, int32_t key)
{
    json_t *list = json_array();
    for (int32_t g = 0; g < plan->golden_count; g++) {
        const rn_golden *golden = &plan->goldens[g];
        json_t *outputs = json_array(), *input = json_array_get(keys, (size_t)key++);
        for (int32_t o = 0; o < plan->signatures[golden->signature].output_count; o++) {
            if (golden->outputs[o])
                json_array_append(outputs, json_array_get(keys, (size_t)key++));
            else
                json_array_append_new(outputs, json_null());
        }
        json_array_append_new(list, json_pack("{s:s, s:i, s:f, s:O, s:o}", "source", golden->source, "signature", golden->signature,
                                              "allowed", golden->allowed, "input", input, "outputs", outputs));
    }
    return list;
}

/* metadata[key] = the list as JSON text. */
static rn_status set_list(json_t *metadata, const char *key, const json_t *list, rn_error *err)
{
    char *text = json_dumps(list, JSON_COMPACT);
    const int failed = text ? json_object_set_new(metadata, key, json_string(text)) : -1;
    free(text);
    return failed ? RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the header of a model file") : RN_STATUS_OK;
}

static rn_status describe(json_t *metadata, const rn_plan *plan, const content *content, const char *source, rn_error *err)
{
    char sha256[RN__SHA256_TEXT_BYTES], converter[64], *text = NULL;
    RN_TRY(hash_data(content, sha256, err));
    RN_TRY(rn__plan_json_write(plan, &text, err));
    snprintf(converter, sizeof converter, "resnetd %s", rn_version);
    const int failed =
        json_object_set_new(metadata, "format", json_string(RN__MODEL_FILE_FORMAT)) |
        json_object_set_new(metadata, "format_version", json_string(RN__MODEL_FILE_VERSION)) |
        json_object_set_new(metadata, "converter", json_string(converter)) | json_object_set_new(metadata, "source", json_string(source)) |
        json_object_set_new(metadata, "sha256", json_string(sha256)) | json_object_set_new(metadata, "plan", json_string(text));
    free(text);
    if (failed) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "source %s: not UTF-8, or no memory", source);

    rn_status status = RN_STATUS_OK;
    json_t *labels = json_array();
    for (int32_t i = 0; i < plan->label_count && status == RN_STATUS_OK; i++) {
        if (json_array_append_new(labels, json_string(plan->labels[i])) != 0) {
            status = RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "label %d: not UTF-8, or no memory", i);
        }
    }
    if (status == RN_STATUS_OK) status = set_list(metadata, "labels", labels, err);
    json_decref(labels);
    return status;
}

/* metadata.weights and, where there are any, metadata.golden. */
static rn_status set_tensors(json_t *metadata, const rn_plan *plan, const json_t *keys, rn_error *err)
{
    json_t *weights = json_array(), *goldens = goldens_to_json(plan, keys, plan->weights_count);
    for (int32_t i = 0; i < plan->weights_count; i++) json_array_append(weights, json_array_get(keys, (size_t)i));
    rn_status status = set_list(metadata, "weights", weights, err);
    if (status == RN_STATUS_OK && plan->golden_count > 0) status = set_list(metadata, "golden", goldens, err);
    json_decref(weights);
    json_decref(goldens);
    return status;
}

/* The header's text in *out, for the caller to free. */
static rn_status make_header(const rn_plan *plan, const content *content, const char *source, char **out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    json_t *header = json_object(), *metadata = json_object(), *keys = json_array();
    json_object_set(header, RN__MODEL_FILE_METADATA, metadata); /* first, as readers expect */
    RN_TRY_CLEANUP(status, list_tensors(header, keys, content, err));
    RN_TRY_CLEANUP(status, describe(metadata, plan, content, source, err));
    RN_TRY_CLEANUP(status, set_tensors(metadata, plan, keys, err));
    *out = json_dumps(header, JSON_COMPACT);
    if (!*out) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the header of a model file");

cleanup:
    json_decref(header);
    json_decref(metadata);
    json_decref(keys);
    return status;
}

static bool put_file(void *context, const void *bytes, size_t count)
{
    const int fd = *(const int *)context;
    for (const char *at = bytes; count > 0;) {
        const ssize_t written = write(fd, at, count);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        at += written;
        count -= (size_t)written;
    }
    return true;
}

static bool put_header(int fd, const char *header)
{
    const size_t text_bytes = strlen(header), total = text_bytes + padding_after(LENGTH_BYTES + text_bytes);
    const uint64_t length = total;
    char spaces[ALIGNMENT];
    memset(spaces, ' ', sizeof spaces);
    return put_file(&fd, &length, LENGTH_BYTES) && put_file(&fd, header, text_bytes) && put_file(&fd, spaces, total - text_bytes);
}

/* A renamed file is safe only when its folder is on disk too. */
static bool sync_folder(const char *path)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    const int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool good = fsync(fd) == 0;
    close(fd);
    return good;
}

static rn_status write_file(const char *path, const content *content, const char *header, rn_error *err)
{
    char beside[4096];
    if (snprintf(beside, sizeof beside, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof beside) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", path);
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) return rn__io_error(beside, err);
    const bool written = put_header(fd, header) && put_data(content, put_file, &fd) && fsync(fd) == 0;
    rn_status status = RN_STATUS_OK;
    if (!written || rename(beside, path) != 0 || !sync_folder(path)) {
        status = rn__io_error(path, err);
        unlink(beside);
    }
    close(fd);
    return status;
}

rn_status rn_model_file_write_as(const rn_plan *plan, const char *source, rn_dtype filters, const char *path, rn_error *err)
{
    struct stat info;
    if (lstat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) { /* a folder: rename says so */
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: exists and is not a regular file, which is all that is replaced", path);
    }
    char *header = NULL;
    content content = {0};
    rn_status status = collect(plan, filters, &content, err);
    if (status == RN_STATUS_OK) status = make_header(plan, &content, source, &header, err);
    if (status == RN_STATUS_OK) status = write_file(path, &content, header, err);
    free(header);
    free(content.items);
    return status;
}

rn_status rn_model_file_write(const rn_plan *plan, const char *source, const char *path, rn_error *err)
{
    return rn_model_file_write_as(plan, source, RN_DTYPE_F32, path, err);
}
