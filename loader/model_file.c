/* model.safetensors: a plan, its labels and its weights in one file that is used as it lies.
 *
 * safetensors allows no gap between tensors, and we want each on a 64-byte boundary: where one ends between boundaries, a tensor of zeros
 * called __padding__ fills the gap. Readers that know nothing of plans see one more small tensor.
 *
 * Loading believes nothing that it has not checked: the header's length and text, that tensors cover the data without gap or overlap, that
 * shapes agree with byte counts, that weights are aligned. What the plan says is then checked by plan_json.c and rn_plan_finish.
 */
#include "loader/model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "kernels/base/version.h"
#include "loader/file_bytes.h"
#include "loader/io_error.h"
#include "loader/plan_json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are used as they lie in the file, which is little-endian");

enum {
    LENGTH_BYTES = 8,            /* of the number in front of the header */
    ALIGNMENT = 64,              /* of the data and of each tensor: a cache line, and the widest vector load */
    MAX_HEADER_BYTES = 32 << 20, /* ResNet-101 needs 0.1 MB; parsed, a header takes about ten times its text */
    SHA256_TEXT_BYTES = 65
};

static const char METADATA_KEY[] = "__metadata__", PADDING_KEY[] = "__padding__", FORMAT[] = "resnetd", FORMAT_VERSION[] = "1";

static size_t padding_after(size_t bytes)
{
    return (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT;
}

static void hex(const uint8_t digest[32], char out[SHA256_TEXT_BYTES])
{
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* ---- writing ---- */

static size_t weights_bytes(const rn_plan_weights *weights)
{
    return (size_t)weights->element_count * rn_dtype_bytes(weights->dtype);
}

/* Zeros between weights i and the next; none after the last. */
static size_t padding_after_weights(const rn_plan *plan, int32_t i)
{
    return i + 1 < plan->weights_count ? padding_after(weights_bytes(&plan->weights[i])) : 0;
}

static const uint8_t zeros[ALIGNMENT];

/* Calls put(context, bytes, count) for the data section from front to back; stops when it returns false. */
static bool put_data(const rn_plan *plan, bool (*put)(void *context, const void *bytes, size_t count), void *context)
{
    for (int32_t i = 0; i < plan->weights_count; i++) {
        if (!put(context, plan->weights[i].data, weights_bytes(&plan->weights[i]))) return false;
        if (!put(context, zeros, padding_after_weights(plan, i))) return false;
    }
    return true;
}

static bool put_digest(void *context, const void *bytes, size_t count)
{
    return EVP_DigestUpdate(context, bytes, count) == 1;
}

static rn_status hash_data(const rn_plan *plan, char out[SHA256_TEXT_BYTES], rn_error *err)
{
    uint8_t digest[32];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const bool good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 && put_data(plan, put_digest, context) &&
                      EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (!good) return RN_FAIL(err, RN_STATUS_INTERNAL, "SHA-256 is not to be had from OpenSSL");
    hex(digest, out);
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

/* Adds an entry for every weight and every padding to `header`; `names` gets the weights' keys in the plan's order. */
static rn_status list_tensors(json_t *header, json_t *names, const rn_plan *plan, rn_error *err)
{
    size_t at = 0;
    for (int32_t i = 0; i < plan->weights_count; i++) {
        const rn_plan_weights *weights = &plan->weights[i];
        const size_t end = at + weights_bytes(weights);
        const int32_t padding = (int32_t)padding_after_weights(plan, i);
        char key[RN_PLAN_NAME_BYTES], padding_key[RN_PLAN_NAME_BYTES];
        unused_key(header, weights->name, i, key);
        bool good = json_array_append_new(names, json_string(key)) == 0 &&
                    add_entry(header, key, weights->dtype, weights->rank, weights->dims, at, end);
        if (good && padding > 0) {
            unused_key(header, PADDING_KEY, i, padding_key);
            good = add_entry(header, padding_key, RN_DTYPE_U8, 1, &padding, end, end + (size_t)padding);
        }
        if (!good) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "weights %s: the name is not UTF-8, or no memory", weights->name);
        at = end + (size_t)padding;
    }
    return RN_STATUS_OK;
}

/* metadata[key] = the list as JSON text. */
static rn_status set_list(json_t *metadata, const char *key, const json_t *list, rn_error *err)
{
    char *text = json_dumps(list, JSON_COMPACT);
    const int failed = text ? json_object_set_new(metadata, key, json_string(text)) : -1;
    free(text);
    return failed ? RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the header of a model file") : RN_STATUS_OK;
}

static rn_status describe(json_t *metadata, const rn_plan *plan, const char *source, rn_error *err)
{
    char sha256[SHA256_TEXT_BYTES], converter[64], *text = NULL;
    RN_TRY(hash_data(plan, sha256, err));
    RN_TRY(rn__plan_json_write(plan, &text, err));
    snprintf(converter, sizeof converter, "resnetd %s", rn_version);
    const int failed =
        json_object_set_new(metadata, "format", json_string(FORMAT)) |
        json_object_set_new(metadata, "format_version", json_string(FORMAT_VERSION)) |
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

/* The header's text in *out, for the caller to free. */
static rn_status make_header(const rn_plan *plan, const char *source, char **out, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    json_t *header = json_object(), *metadata = json_object(), *names = json_array();
    json_object_set(header, METADATA_KEY, metadata); /* first, as readers expect */
    RN_TRY_CLEANUP(status, list_tensors(header, names, plan, err));
    RN_TRY_CLEANUP(status, describe(metadata, plan, source, err));
    RN_TRY_CLEANUP(status, set_list(metadata, "weights", names, err));
    *out = json_dumps(header, JSON_COMPACT);
    if (!*out) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for the header of a model file");

cleanup:
    json_decref(header);
    json_decref(metadata);
    json_decref(names);
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

rn_status rn_model_file_write(const rn_plan *plan, const char *source, const char *path, rn_error *err)
{
    struct stat info;
    if (lstat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode)) { /* a folder: rename says so */
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: exists and is not a regular file, which is all that is replaced", path);
    }
    char *header = NULL, beside[4096];
    if (snprintf(beside, sizeof beside, "%s.%ld.tmp", path, (long)getpid()) >= (int)sizeof beside) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", path);
    }
    RN_TRY(make_header(plan, source, &header, err));
    rn_status status = RN_STATUS_OK;
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = rn__io_error(beside, err);
        goto cleanup;
    }
    const bool written = put_header(fd, header) && put_data(plan, put_file, &fd) && fsync(fd) == 0;
    if (!written || rename(beside, path) != 0 || !sync_folder(path)) {
        status = rn__io_error(path, err);
        unlink(beside);
    }

cleanup:
    if (fd >= 0) close(fd);
    free(header);
    return status;
}

/* ---- reading ---- */

/* The file being loaded. The plan owns its bytes. */
typedef struct model_reader {
    const uint8_t *bytes, *data;
    size_t size_bytes, data_bytes;
    json_t *header;
    const json_t *metadata;
} model_reader;

/* One entry of the header; begin and end are bytes of the data. */
typedef struct tensor_entry {
    const char *name;
    rn_dtype dtype;
    int32_t rank, dims[RN_PLAN_MAX_RANK];
    size_t begin, end;
} tensor_entry;

#define CORRUPT(...) RN_FAIL(err, RN_STATUS_DATA_LOSS, __VA_ARGS__)

static rn_status read_header(model_reader *reader, rn_error *err)
{
    if (reader->size_bytes < LENGTH_BYTES + 2) {
        return CORRUPT("%zu bytes, too few for a safetensors file", reader->size_bytes);
    }
    if (reader->bytes[LENGTH_BYTES] != '{') {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "not a safetensors file: byte 8 is 0x%02x, expected the header's '{'",
                       reader->bytes[LENGTH_BYTES]);
    }
    uint64_t length;
    memcpy(&length, reader->bytes, LENGTH_BYTES);
    const size_t most = reader->size_bytes - LENGTH_BYTES;
    if (length > most) return CORRUPT("the header at byte 8 has %" PRIu64 " bytes, the file only %zu more", length, most);
    if (length > MAX_HEADER_BYTES) return CORRUPT("the header has %" PRIu64 " bytes, at most %d are read", length, MAX_HEADER_BYTES);
    reader->data = reader->bytes + LENGTH_BYTES + length;
    reader->data_bytes = most - (size_t)length;

    json_error_t where;
    reader->header = json_loadb((const char *)reader->bytes + LENGTH_BYTES, (size_t)length, JSON_REJECT_DUPLICATES, &where);
    if (!reader->header) return CORRUPT("the header at byte %d: %s", LENGTH_BYTES + where.position, where.text);
    if (!json_is_object(reader->header)) return CORRUPT("the header at byte 8 is no JSON object");
    reader->metadata = json_object_get(reader->header, METADATA_KEY);
    return RN_STATUS_OK;
}

static rn_status read_metadata(const model_reader *reader, const char *key, const char **out, rn_error *err)
{
    *out = json_string_value(json_object_get(reader->metadata, key));
    return *out ? RN_STATUS_OK : CORRUPT("%s lacks the string \"%s\"", METADATA_KEY, key);
}

static rn_status check_format(const model_reader *reader, rn_error *err)
{
    const char *format = json_string_value(json_object_get(reader->metadata, "format")), *version;
    if (!format || strcmp(format, FORMAT) != 0) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED,
                       "a safetensors file without a plan: %s.format is %.40s, expected %s. resnet-convert makes files with one",
                       METADATA_KEY, format ? format : "absent", FORMAT);
    }
    RN_TRY(read_metadata(reader, "format_version", &version, err));
    if (strcmp(version, FORMAT_VERSION) != 0) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "format version %.20s, this program reads version %s", version, FORMAT_VERSION);
    }
    if ((reader->data - reader->bytes) % ALIGNMENT != 0) {
        return CORRUPT("the data starts at byte %td, expected a multiple of %d", reader->data - reader->bytes, ALIGNMENT);
    }
    return RN_STATUS_OK;
}

static bool get_size(const json_t *value, size_t *out)
{
    const json_int_t integer = json_integer_value(value);
    *out = (size_t)integer;
    return json_is_integer(value) && integer >= 0;
}

/* One entry of the header, held against the size of the data. */
static rn_status read_entry(const model_reader *reader, const char *name, const json_t *json, tensor_entry *out, rn_error *err)
{
    const json_t *dtype = json_object_get(json, "dtype"), *shape = json_object_get(json, "shape");
    const json_t *offsets = json_object_get(json, "data_offsets");
    *out = (tensor_entry){.name = name, .rank = (int32_t)json_array_size(shape)};
    if (!json_is_string(dtype) || !rn_dtype_from_name(json_string_value(dtype), &out->dtype) || rn_dtype_bytes(out->dtype) == 0) {
        return CORRUPT("tensor %s: no dtype that this version knows", name);
    }
    if (!json_is_array(shape) || json_array_size(shape) > RN_PLAN_MAX_RANK) {
        return CORRUPT("tensor %s: expected a shape of at most %d numbers", name, RN_PLAN_MAX_RANK);
    }
    size_t elements = 1; /* both factors stay below 2^31 */
    for (int32_t i = 0; i < out->rank; i++) {
        size_t dim;
        if (!get_size(json_array_get(shape, (size_t)i), &dim) || dim > INT32_MAX || (elements *= dim) > INT32_MAX) {
            return CORRUPT("tensor %s: number %d of its shape is none, or makes it larger than 2^31 elements", name, i);
        }
        out->dims[i] = (int32_t)dim;
    }
    if (json_array_size(offsets) != 2 || !get_size(json_array_get(offsets, 0), &out->begin) ||
        !get_size(json_array_get(offsets, 1), &out->end) || out->begin > out->end) {
        return CORRUPT("tensor %s: data_offsets are no pair of rising numbers", name);
    }
    if (out->end > reader->data_bytes) {
        return CORRUPT("tensor %s ends at byte %zu of the data, the file holds %zu: it was cut short, or its header is wrong", name,
                       out->end, reader->data_bytes);
    }
    if (out->end - out->begin != elements * rn_dtype_bytes(out->dtype)) {
        return CORRUPT("tensor %s: %zu elements of %s need %zu bytes, found %zu at byte %zu of the data", name, elements,
                       rn_dtype_name(out->dtype), elements * rn_dtype_bytes(out->dtype), out->end - out->begin, out->begin);
    }
    return RN_STATUS_OK;
}

static int by_begin(const void *a, const void *b)
{
    const tensor_entry *first = a, *second = b;
    if (first->begin != second->begin) return first->begin < second->begin ? -1 : 1;
    return (first->end > second->end) - (first->end < second->end);
}

/* Every byte of the data belongs to exactly one tensor. */
static rn_status check_extents(const model_reader *reader, rn_error *err)
{
    rn_status status = RN_STATUS_OK;
    const size_t most = json_object_size(reader->header);
    tensor_entry *entries = malloc((most + 1) * sizeof *entries);
    if (!entries) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a list of %zu tensors", most);

    size_t count = 0, at = 0;
    const char *name;
    json_t *json;
    json_object_foreach(reader->header, name, json)
    {
        if (strcmp(name, METADATA_KEY) == 0) continue;
        RN_TRY_CLEANUP(status, read_entry(reader, name, json, &entries[count], err));
        count++;
    }
    qsort(entries, count, sizeof *entries, by_begin);
    for (size_t i = 0; i < count; at = entries[i++].end) {
        if (entries[i].begin == at) continue;
        status =
            CORRUPT("tensor %s starts at byte %zu of the data, the one before it ends at byte %zu", entries[i].name, entries[i].begin, at);
        goto cleanup;
    }
    if (at != reader->data_bytes) status = CORRUPT("the tensors have %zu bytes, the file holds %zu bytes of data", at, reader->data_bytes);

cleanup:
    free(entries);
    return status;
}

static rn_status check_hash(const model_reader *reader, rn_error *err)
{
    uint8_t digest[32];
    char found[SHA256_TEXT_BYTES];
    const char *expected;
    RN_TRY(read_metadata(reader, "sha256", &expected, err));
    if (EVP_Digest(reader->data, reader->data_bytes, digest, NULL, EVP_sha256(), NULL) != 1) {
        return RN_FAIL(err, RN_STATUS_INTERNAL, "SHA-256 is not to be had from OpenSSL");
    }
    hex(digest, found);
    if (strcmp(found, expected) == 0) return RN_STATUS_OK;
    return CORRUPT("the data's SHA-256 is %s, expected %.64s", found, expected);
}

/* Calls add(reader, text, plan, err) for every string of the JSON list in metadata[key]. */
static rn_status read_strings(const model_reader *reader, const char *key, rn_plan *plan,
                              rn_status (*add)(const model_reader *reader, const char *text, rn_plan *plan, rn_error *err), rn_error *err)
{
    const char *text;
    RN_TRY(read_metadata(reader, key, &text, err));
    json_t *list = json_loads(text, 0, NULL);
    rn_status status = json_is_array(list) ? RN_STATUS_OK : CORRUPT("%s.%s is no JSON array", METADATA_KEY, key);
    for (size_t i = 0; i < json_array_size(list) && status == RN_STATUS_OK; i++) {
        const char *string = json_string_value(json_array_get(list, i));
        status = string ? add(reader, string, plan, err) : CORRUPT("%s.%s[%zu] is no string", METADATA_KEY, key, i);
    }
    json_decref(list);
    return status;
}

static rn_status add_weights(const model_reader *reader, const char *name, rn_plan *plan, rn_error *err)
{
    const json_t *json = json_object_get(reader->header, name);
    tensor_entry entry;
    int32_t index;
    if (!json || json == reader->metadata) return CORRUPT("weights %s: there is no tensor of that name", name);
    RN_TRY(read_entry(reader, name, json, &entry, err));
    if (entry.begin % ALIGNMENT != 0) {
        return CORRUPT("tensor %s starts at byte %zu of the data, expected a multiple of %d", name, entry.begin, ALIGNMENT);
    }
    return rn_plan_add_weights(plan, name, entry.dtype, entry.rank, entry.dims, reader->data + entry.begin, &index, err);
}

static rn_status add_label(const model_reader *reader, const char *label, rn_plan *plan, rn_error *err)
{
    (void)reader;
    return rn_plan_add_label(plan, label, err);
}

/* The plan on the checked data. */
static rn_status build_plan(const model_reader *reader, rn_plan *plan, rn_error *err)
{
    const char *text;
    RN_TRY(read_strings(reader, "weights", plan, add_weights, err));
    RN_TRY(read_strings(reader, "labels", plan, add_label, err));
    RN_TRY(read_metadata(reader, "plan", &text, err));
    RN_TRY(rn__plan_json_read(text, plan, err));
    return rn_plan_finish(plan, err);
}

/* `err` is there. A plan that its own rules refuse was no plan when it was written: whatever they call it, the file is damaged. */
static rn_status read_model(model_reader *reader, bool verify_hash, rn_plan *plan, rn_error *err)
{
    RN_TRY(read_header(reader, err));
    RN_TRY(check_format(reader, err));
    RN_TRY(check_extents(reader, err));
    if (verify_hash) RN_TRY(check_hash(reader, err));
    const rn_status status = build_plan(reader, plan, err);
    if (status == RN_STATUS_OK || status == RN_STATUS_OUT_OF_MEMORY) return status;
    return CORRUPT("the plan does not fit: %s", err->message);
}

static void unmap(void *memory, size_t bytes)
{
    munmap(memory, bytes);
}

rn_status rn_model_file_load(const char *path, bool verify_hash, rn_plan **out, rn_error *err)
{
    rn__file_bytes file;
    RN_TRY(rn__file_bytes_open(path, &file, err));
    if (file.size_bytes == 0) return CORRUPT("%s: an empty file", path);
    rn_plan *plan = rn_plan_create();
    if (!plan) {
        rn__file_bytes_close(&file);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for a plan", path);
    }
    rn_error cause = {0};
    model_reader reader = {.bytes = file.bytes, .size_bytes = file.size_bytes};
    rn_status status = rn_plan_adopt(plan, (void *)file.bytes, file.size_bytes, unmap, &cause);
    if (status == RN_STATUS_OK) status = read_model(&reader, verify_hash, plan, &cause);
    json_decref(reader.header);
    if (status == RN_STATUS_OK) {
        *out = plan;
        return RN_STATUS_OK;
    }
    rn_plan_destroy(plan);
    return RN_FAIL(err, status, "%s: %s", path, cause.message);
}

static rn_status read_origin(model_reader *reader, rn_model_file_origin *out, rn_error *err)
{
    const char *source, *converter, *sha256;
    RN_TRY(read_header(reader, err));
    RN_TRY(check_format(reader, err));
    RN_TRY(read_metadata(reader, "source", &source, err));
    RN_TRY(read_metadata(reader, "converter", &converter, err));
    RN_TRY(read_metadata(reader, "sha256", &sha256, err));
    snprintf(out->source, sizeof out->source, "%s", source);
    snprintf(out->converter, sizeof out->converter, "%s", converter);
    snprintf(out->sha256, sizeof out->sha256, "%s", sha256);
    return RN_STATUS_OK;
}

rn_status rn_model_file_read_origin(const char *path, rn_model_file_origin *out, rn_error *err)
{
    rn__file_bytes file;
    RN_TRY(rn__file_bytes_open(path, &file, err));
    model_reader reader = {.bytes = file.bytes, .size_bytes = file.size_bytes};
    const rn_status status = read_origin(&reader, out, err);
    if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", path);
    json_decref(reader.header);
    rn__file_bytes_close(&file);
    return status;
}
