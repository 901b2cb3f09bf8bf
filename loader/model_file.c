/* Reading model.safetensors: a plan, its labels and its weights in one file that is used as it lies.
 *
 * Loading believes nothing that it has not checked: the header's length and text, that tensors cover the data without gap or overlap, that
 * shapes agree with byte counts, that weights are aligned. What the plan says is then checked by plan_json.c and rn_plan_finish.
 */
#include "loader/model_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <jansson.h>

#include "engine/golden.h"
#include "kernels/base/bf16.h"
#include "kernels/base/f16.h"
#include "loader/data_hash.h"
#include "loader/file_bytes.h"
#include "loader/model_file_private.h"
#include "loader/plan_json.h"

enum {
    LENGTH_BYTES = RN__MODEL_FILE_LENGTH_BYTES,
    ALIGNMENT = RN__MODEL_FILE_ALIGNMENT,
    MAX_HEADER_BYTES = RN__MODEL_FILE_MAX_HEADER_BYTES,
    SHA256_TEXT_BYTES = RN__SHA256_TEXT_BYTES
};

static const char METADATA_KEY[] = RN__MODEL_FILE_METADATA, FORMAT[] = RN__MODEL_FILE_FORMAT, FORMAT_VERSION[] = RN__MODEL_FILE_VERSION;

void rn__sha256_text(const uint8_t digest[32], char out[RN__SHA256_TEXT_BYTES])
{
    for (int i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

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

/* Weights of 16 bits as the floats that they stand for. */
static rn_status add_widened(const char *name, const tensor_entry *entry, const void *stored, rn_plan *plan, rn_error *err)
{
    void *memory;
    int32_t index;
    RN_TRY(rn_plan_new_weights(plan, name, RN_DTYPE_F32, entry->rank, entry->dims, &memory, &index, err));
    const uint16_t *from = stored;
    float *to = memory;
    const int64_t count = plan->weights[index].element_count;
    for (int64_t i = 0; i < count; i++) to[i] = entry->dtype == RN_DTYPE_F16 ? rn_f16_to_f32(from[i]) : rn_bf16_to_f32(from[i]);
    return RN_STATUS_OK;
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
    const void *stored = reader->data + entry.begin;
    if (entry.dtype == RN_DTYPE_F16 || entry.dtype == RN_DTYPE_BF16) return add_widened(name, &entry, stored, plan, err);
    return rn_plan_add_weights(plan, name, entry.dtype, entry.rank, entry.dims, stored, &index, err);
}

static rn_status add_label(const model_reader *reader, const char *label, rn_plan *plan, rn_error *err)
{
    (void)reader;
    return rn_plan_add_label(plan, label, err);
}

/* ---- golden inputs and outputs ---- */

/* A tensor of a golden record: [rows][elements] of that type, where it lies. */
static rn_status golden_tensor(const model_reader *reader, const json_t *key, rn_dtype dtype, int64_t elements, int32_t *rows, const void **out,
                               rn_error *err)
{
    const char *name = json_string_value(key);
    const json_t *json = name ? json_object_get(reader->header, name) : NULL;
    tensor_entry entry;
    if (!json || json == reader->metadata) return CORRUPT("a golden record names no tensor");
    RN_TRY(read_entry(reader, name, json, &entry, err));
    const bool fits = entry.dtype == dtype && entry.rank == 2 && entry.dims[0] >= 1 && entry.dims[1] == elements && entry.begin % ALIGNMENT == 0;
    if (!fits || (*rows && entry.dims[0] != *rows)) return CORRUPT("tensor %s does not fit its signature", name);
    *rows = entry.dims[0];
    *out = reader->data + entry.begin;
    return RN_STATUS_OK;
}

static rn_status read_golden(const model_reader *reader, const json_t *json, rn_plan *plan, rn_error *err)
{
    const char *source = json_string_value(json_object_get(json, "source"));
    const json_t *outputs = json_object_get(json, "outputs"), *index = json_object_get(json, "signature");
    const json_int_t s = json_integer_value(index);
    rn_golden golden = {.allowed = json_real_value(json_object_get(json, "allowed"))};
    if (!source || !json_is_integer(index) || s < 0 || s >= plan->signature_count) return CORRUPT("a golden record of no signature");
    const rn_signature *signature = &plan->signatures[s];
    const rn_plan_tensor *feed = &plan->tensors[signature->feed];
    golden.signature = (int32_t)s;
    snprintf(golden.source, sizeof golden.source, "%s", source);
    RN_TRY(golden_tensor(reader, json_object_get(json, "input"), feed->dtype, rn_plan_tensor_elements(feed), &golden.rows, &golden.input, err));
    for (int32_t o = 0; o < signature->output_count; o++) {
        const json_t *key = json_array_get(outputs, (size_t)o);
        const void *values;
        if (json_is_null(key)) continue;
        RN_TRY(golden_tensor(reader, key, RN_DTYPE_F32, rn_golden_output_elements(plan, signature, o), &golden.rows, &values, err));
        golden.outputs[o] = values;
    }
    return rn_plan_add_golden(plan, &golden, err);
}

/* Files of earlier versions have none. */
static rn_status read_goldens(const model_reader *reader, rn_plan *plan, rn_error *err)
{
    const char *text = json_string_value(json_object_get(reader->metadata, "golden"));
    if (!text) return RN_STATUS_OK;
    json_t *list = json_loads(text, 0, NULL);
    rn_status status = json_is_array(list) ? RN_STATUS_OK : CORRUPT("%s.golden is no JSON array", METADATA_KEY);
    for (size_t i = 0; i < json_array_size(list) && status == RN_STATUS_OK; i++)
        status = read_golden(reader, json_array_get(list, i), plan, err);
    json_decref(list);
    return status;
}

/* The plan on the checked data. */
static rn_status build_plan(const model_reader *reader, rn_plan *plan, rn_error *err)
{
    const char *text;
    RN_TRY(read_strings(reader, "weights", plan, add_weights, err));
    RN_TRY(read_strings(reader, "labels", plan, add_label, err));
    RN_TRY(read_metadata(reader, "plan", &text, err));
    RN_TRY(rn__plan_json_read(text, plan, err));
    RN_TRY(rn_plan_finish(plan, err));
    return read_goldens(reader, plan, err);
}

/* `err` is there. A plan that its own rules refuse was no plan when it was written: whatever they call it, the file is damaged. */
static rn_status read_model(model_reader *reader, rn_plan *plan, rn_error *err)
{
    RN_TRY(read_header(reader, err));
    RN_TRY(check_format(reader, err));
    RN_TRY(check_extents(reader, err));
    const rn_status status = build_plan(reader, plan, err);
    if (status == RN_STATUS_OK || status == RN_STATUS_OUT_OF_MEMORY) return status;
    return CORRUPT("the plan does not fit: %s", err->message);
}

static void unmap(void *memory, size_t bytes)
{
    munmap(memory, bytes);
}

/* ---- the hash ---- */

/* A hash that follows the reading and goes on while the plan is used. */
typedef struct {
    rn__data_hash *hash;
    char *path, *expected;
} hash_check;

static void drop_check(hash_check *check)
{
    uint8_t digest[32];
    if (!check) return;
    rn__data_hash_finish(check->hash, digest);
    free(check->path);
    free(check->expected);
    free(check);
}

static hash_check *start_check(const char *path)
{
    hash_check *check = calloc(1, sizeof *check);
    if (!check) return NULL;
    check->path = strdup(path);
    check->hash = check->path ? rn__data_hash_start() : NULL;
    if (check->hash) return check;
    drop_check(check);
    return NULL;
}

/* For rn_plan_expect. */
static rn_status finish_check(void *context, rn_error *err)
{
    hash_check *check = context;
    char found[SHA256_TEXT_BYTES];
    uint8_t digest[32];
    rn_status status = RN_STATUS_OK;
    const bool hashed = rn__data_hash_finish(check->hash, digest);
    check->hash = NULL;
    if (hashed) rn__sha256_text(digest, found);
    if (!hashed) status = RN_FAIL(err, RN_STATUS_INTERNAL, "%s: SHA-256 is not to be had from OpenSSL", check->path);
    else if (!check->expected || strcmp(found, check->expected) != 0)
        status = CORRUPT("%s: the data's SHA-256 is %s, expected %.80s", check->path, found, check->expected ? check->expected : "another");
    drop_check(check);
    return status;
}

/* ---- loading ---- */

/* The plan takes the file's bytes. check: NULL where nobody looks at the hash. */
static rn_status build(const rn__file_bytes *file, hash_check *check, rn_plan *plan, rn_error *err)
{
    const char *expected;
    model_reader reader = {.bytes = file->bytes, .size_bytes = file->size_bytes};
    rn_status status;
    RN_TRY(rn_plan_adopt(plan, (void *)file->bytes, file->size_bytes, unmap, err));
    RN_TRY_CLEANUP(status, read_model(&reader, plan, err));
    if (!check) goto cleanup;
    RN_TRY_CLEANUP(status, read_metadata(&reader, "sha256", &expected, err));
    check->expected = strdup(expected);
    if (!check->expected) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for a hash");
cleanup:
    json_decref(reader.header);
    return status;
}

/* Takes the check, which may be NULL. */
static rn_status load(const char *path, hash_check *check, rn_plan **out, rn_error *err)
{
    rn__file_bytes file = {0};
    rn_status status = check ? rn__file_bytes_open_followed(path, rn__data_hash_advance, check->hash, &file, err) : rn__file_bytes_open(path, &file, err);
    if (status == RN_STATUS_OK && file.size_bytes == 0) status = CORRUPT("%s: an empty file", path);
    rn_plan *plan = status == RN_STATUS_OK ? rn_plan_create() : NULL;
    if (status == RN_STATUS_OK && !plan) status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for a plan", path);
    if (status != RN_STATUS_OK) {
        drop_check(check);
        rn__file_bytes_close(&file);
        return status;
    }
    rn_error cause = {0};
    if (check) rn_plan_expect(plan, finish_check, check);
    status = build(&file, check, plan, &cause);
    if (status == RN_STATUS_OK) {
        *out = plan;
        return RN_STATUS_OK;
    }
    rn_plan_destroy(plan);
    return RN_FAIL(err, status, "%s: %s", path, cause.message);
}

rn_status rn_model_file_load_ahead(const char *path, rn_plan **out, rn_error *err)
{
    hash_check *check = start_check(path);
    return check ? load(path, check, out, err) : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory for a hash", path);
}

rn_status rn_model_file_load(const char *path, bool verify_hash, rn_plan **out, rn_error *err)
{
    if (!verify_hash) return load(path, NULL, out, err);
    rn_plan *plan;
    RN_TRY(rn_model_file_load_ahead(path, &plan, err));
    const rn_status status = rn_plan_await(plan, err);
    if (status == RN_STATUS_OK) *out = plan;
    else rn_plan_destroy(plan);
    return status;
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

/* The header and what is before it. A length that no header has is left to read_header. */
static rn_status open_header(const char *path, rn__file_bytes *out, rn_error *err)
{
    uint64_t length = 0;
    RN_TRY(rn__file_bytes_open_head(path, LENGTH_BYTES, out, err));
    if (out->size_bytes == LENGTH_BYTES) memcpy(&length, out->bytes, LENGTH_BYTES);
    rn__file_bytes_close(out);
    return rn__file_bytes_open_head(path, LENGTH_BYTES + 1 + (length < MAX_HEADER_BYTES ? (size_t)length : MAX_HEADER_BYTES), out, err);
}

rn_status rn_model_file_read_origin(const char *path, rn_model_file_origin *out, rn_error *err)
{
    rn__file_bytes file;
    RN_TRY(open_header(path, &file, err));
    model_reader reader = {.bytes = file.bytes, .size_bytes = file.size_bytes};
    const rn_status status = read_origin(&reader, out, err);
    if (status != RN_STATUS_OK) rn_error_prefix(err, "%s", path);
    json_decref(reader.header);
    rn__file_bytes_close(&file);
    return status;
}
