/* The converted model file: what is written comes back whole, and no damaged file does anything but fail with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/model_file.h"
#include "tests/support/sample_plan.h"
#include "tests/support/test_file.h"

typedef struct fixture {
    char folder[64], path[128];
    uint8_t *bytes; /* of the written sample, with room behind */
    size_t size, header_bytes;
} fixture;

enum { ROOM = 4096 };

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = calloc(1 << 20, 1);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/rn_model_file_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/model.safetensors", f->folder);
    rn_plan *plan = sample_plan();
    assert_int_equal(rn_model_file_write(plan, "the sample", f->path, NULL), RN_STATUS_OK);
    rn_plan_destroy(plan);
    f->bytes = read_file(f->path, &f->size);
    uint64_t length;
    memcpy(&length, f->bytes, 8);
    f->header_bytes = (size_t)length;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0); /* nothing else was left there */
    free(f->bytes);
    free(f);
    return 0;
}

/* The status of loading these bytes; *err tells why. A plan that loads is destroyed. */
static rn_status load_bytes(const fixture *f, const void *bytes, size_t count, bool verify, rn_error *err)
{
    rn_plan *plan = NULL;
    rn_test_write_file(f->path, bytes, count);
    const rn_status status = rn_model_file_load(f->path, verify, &plan, err);
    if (status == RN_STATUS_OK)
        rn_plan_destroy(plan);
    else
        assert_null(plan);
    return status;
}

/* ---- what is written comes back ---- */

static void assert_spec_equal(const rn_tensor_spec *a, const rn_tensor_spec *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->tf_name, b->tf_name);
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->rank, b->rank);
    assert_memory_equal(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
    assert_int_equal(a->tensor, b->tensor);
    assert_int_equal(a->labels, b->labels);
}

static void assert_plans_equal(const rn_plan *a, const rn_plan *b)
{
    assert_string_equal(a->architecture, b->architecture);
    assert_int_equal(a->tensor_count, b->tensor_count);
    assert_int_equal(a->weights_count, b->weights_count);
    assert_int_equal(a->op_count, b->op_count);
    assert_int_equal(a->signature_count, b->signature_count);
    assert_int_equal(a->label_count, b->label_count);
    for (int32_t i = 0; i < a->tensor_count; i++) assert_memory_equal(&a->tensors[i], &b->tensors[i], sizeof *a->tensors);
    for (int32_t i = 0; i < a->op_count; i++) assert_memory_equal(&a->ops[i], &b->ops[i], sizeof *a->ops);
    for (int32_t i = 0; i < a->label_count; i++) assert_string_equal(a->labels[i], b->labels[i]);
    for (int32_t i = 0; i < a->weights_count; i++) {
        assert_string_equal(a->weights[i].name, b->weights[i].name);
        assert_int_equal(a->weights[i].rank, b->weights[i].rank);
        assert_memory_equal(a->weights[i].dims, b->weights[i].dims, (size_t)a->weights[i].rank * sizeof(int32_t));
        assert_memory_equal(a->weights[i].data, b->weights[i].data, (size_t)a->weights[i].element_count * sizeof(float));
    }
    for (int32_t i = 0; i < a->signature_count; i++) {
        const rn_signature *x = &a->signatures[i], *y = &b->signatures[i];
        assert_string_equal(x->name, y->name);
        assert_string_equal(x->method_name, y->method_name);
        assert_spec_equal(&x->input, &y->input);
        assert_int_equal(x->output_count, y->output_count);
        for (int32_t o = 0; o < x->output_count; o++) assert_spec_equal(&x->outputs[o], &y->outputs[o]);
        assert_int_equal(x->image_op, y->image_op);
        assert_int_equal(x->feed, y->feed);
        assert_int_equal(x->op_count, y->op_count);
        assert_memory_equal(x->ops, y->ops, (size_t)x->op_count * sizeof *x->ops);
    }
}

static void test_round_trip(void **state)
{
    fixture *f = *state;
    rn_plan *written = sample_plan(), *loaded;
    assert_int_equal(rn_model_file_load(f->path, true, &loaded, NULL), RN_STATUS_OK);
    assert_plans_equal(written, loaded);
    for (int32_t i = 0; i < loaded->weights_count; i++) assert_int_equal((uintptr_t)loaded->weights[i].data % 64, 0);

    /* The same plan gives the same bytes, also when it is written over the file that it is mapped from. */
    size_t size;
    assert_int_equal(rn_model_file_write(loaded, "the sample", f->path, NULL), RN_STATUS_OK);
    uint8_t *again = read_file(f->path, &size);
    assert_int_equal(size, f->size);
    assert_memory_equal(again, f->bytes, size);
    assert_plans_equal(written, loaded);
    free(again);
    rn_plan_destroy(loaded);
    rn_plan_destroy(written);
}

static void test_names_twice(void **state)
{
    fixture *f = *state;
    rn_plan *plan = sample_plan(), *loaded;
    for (int i = 0; i < 4; i++) strcpy(plan->weights[i].name, i % 2 ? "w" : "__metadata__");
    strcpy(plan->weights[4].name, "w#3");
    assert_int_equal(rn_model_file_write(plan, "", f->path, NULL), RN_STATUS_OK);
    assert_int_equal(rn_model_file_load(f->path, true, &loaded, NULL), RN_STATUS_OK);
    assert_string_equal(loaded->weights[0].name, "__metadata__#0");
    assert_string_equal(loaded->weights[1].name, "w");
    assert_string_equal(loaded->weights[3].name, "w#3");
    assert_string_equal(loaded->weights[4].name, "w#3#4");
    for (int32_t i = 0; i < plan->weights_count; i++) strcpy(plan->weights[i].name, loaded->weights[i].name);
    assert_plans_equal(plan, loaded);
    rn_plan_destroy(loaded);
    rn_plan_destroy(plan);
}

static void test_names_that_are_not_utf8(void **state)
{
    fixture *f = *state;
    rn_plan *plan = sample_plan();
    rn_error err;
    assert_int_equal(rn_model_file_write(plan, "\xff", f->path, &err), RN_STATUS_INVALID_ARGUMENT);
    strcpy(plan->ops[1].name, "\xc3");
    assert_int_equal(rn_model_file_write(plan, "", f->path, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "ops[1]"));
    strcpy(plan->weights[2].name, "\x80");
    assert_int_equal(rn_model_file_write(plan, "", f->path, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "weights"));
    rn_plan_destroy(plan);
}

static void test_places_that_cannot_be_written(void **state)
{
    fixture *f = *state;
    char path[256];
    rn_plan *plan = sample_plan();
    rn_error err;
    snprintf(path, sizeof path, "%s/no/such/folder", f->folder);
    assert_int_equal(rn_model_file_write(plan, "", path, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, path));
    snprintf(path, sizeof path, "%s/folder", f->folder);
    mkdir(path, 0777);
    assert_int_equal(rn_model_file_write(plan, "", path, &err), RN_STATUS_UNAVAILABLE); /* a folder in the way; nothing is left beside it */
    rmdir(path);
    rn_plan_destroy(plan);
}

/* ---- damaged files ---- */

static void test_every_truncation(void **state)
{
    fixture *f = *state;
    for (size_t count = 0; count < f->size; count++) {
        rn_error err;
        assert_int_equal(load_bytes(f, f->bytes, count, false, &err), RN_STATUS_DATA_LOSS);
        assert_non_null(strstr(err.message, f->path));
    }
    assert_int_equal(load_bytes(f, f->bytes, f->size + 1, false, NULL), RN_STATUS_DATA_LOSS);
    assert_int_equal(load_bytes(f, f->bytes, f->size, false, NULL), RN_STATUS_OK);
}

/* Any byte of length and header changed in any way must not do worse than fail. */
static void test_changed_headers(void **state)
{
    fixture *f = *state;
    static const uint8_t changes[] = {0x01, 0x20, 0xff};
    int refused = 0, all = 0;
    for (size_t at = 0; at < 8 + f->header_bytes; at++) {
        for (size_t i = 0; i < sizeof changes; i++, all++) {
            f->bytes[at] ^= changes[i];
            refused += load_bytes(f, f->bytes, f->size, false, NULL) != RN_STATUS_OK;
            f->bytes[at] ^= changes[i];
        }
    }
    print_message("%d of %d changed headers refused; the others change names, labels and numbers that fit\n", refused, all);
    assert_true(refused > all / 2);
}

static void test_changed_data_is_the_hash_s_to_find(void **state)
{
    fixture *f = *state;
    rn_error err;
    for (size_t at = 8 + f->header_bytes; at < f->size; at += 37) {
        f->bytes[at] ^= 1;
        assert_int_equal(load_bytes(f, f->bytes, f->size, false, NULL), RN_STATUS_OK);
        assert_int_equal(load_bytes(f, f->bytes, f->size, true, &err), RN_STATUS_DATA_LOSS);
        assert_non_null(strstr(err.message, "SHA-256"));
        f->bytes[at] ^= 1;
    }
}

/* The plan is there before the verdict on its data, which comes once; a plan that nobody asks for it goes as quietly. */
static void test_loading_ahead_of_the_hash(void **state)
{
    fixture *f = *state;
    rn_error err;
    rn_plan *plan;
    for (int damaged = 0; damaged < 2; damaged++) {
        f->bytes[f->size - 1] ^= damaged;
        rn_test_write_file(f->path, f->bytes, f->size);
        for (int asked = 0; asked < 3; asked++) {
            assert_int_equal(rn_model_file_load_ahead(f->path, &plan, &err), RN_STATUS_OK);
            for (int i = 0; i < asked; i++) {
                const rn_status verdict = damaged && i == 0 ? RN_STATUS_DATA_LOSS : RN_STATUS_OK;
                assert_int_equal(rn_plan_await(plan, &err), verdict);
                if (verdict != RN_STATUS_OK) assert_true(strstr(err.message, f->path) == err.message && strstr(err.message, "SHA-256"));
            }
            rn_plan_destroy(plan);
        }
    }
}

static void test_lengths_that_claim_too_much(void **state)
{
    fixture *f = *state;
    const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX - 7, 1ull << 63, 1ull << 32, f->size, f->size - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        rn_error err;
        memcpy(f->bytes, &lengths[i], 8);
        assert_int_equal(load_bytes(f, f->bytes, f->size, false, &err), RN_STATUS_DATA_LOSS);
        assert_non_null(strstr(err.message, "the header at byte 8 has"));
    }
}

static void test_what_is_no_model_file(void **state)
{
    fixture *f = *state;
    rn_error err;
    rn_plan *plan;
    unlink(f->path);
    assert_int_equal(rn_model_file_load(f->path, false, &plan, &err), RN_STATUS_NOT_FOUND);
    assert_int_equal(load_bytes(f, "PK\3\4 this is a zip file", 24, false, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "not a safetensors file"));
    char plain[128] = "\x40";
    snprintf(plain + 8, sizeof plain - 8, "%-64s1234", "{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
    assert_int_equal(load_bytes(f, plain, 76, false, &err), RN_STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.message, "a safetensors file without a plan"));
}

/* ---- headers that are well-formed and wrong ---- */

/* The sample with the first `from` of its header replaced by `to`, and the header padded anew. */
static size_t edit(const fixture *f, const char *from, const char *to, uint8_t *out)
{
    const char *header = (const char *)f->bytes + 8, *place = memmem(header, f->header_bytes, from, strlen(from));
    if (!place) fail_msg("the header has no %s", from);
    char *text = (char *)out + 8;
    const size_t before = (size_t)(place - header), after = f->header_bytes - before - strlen(from);
    memcpy(text, header, before);
    memcpy(text + before, to, strlen(to));
    memcpy(text + before + strlen(to), place + strlen(from), after);
    uint64_t length = before + strlen(to) + after;
    while ((8 + length) % 64 != 0) text[length++] = ' ';
    memcpy(out, &length, 8);
    memcpy(text + length, f->bytes + 8 + f->header_bytes, f->size - 8 - f->header_bytes);
    return 8 + length + f->size - 8 - f->header_bytes;
}

/* A hash is the whole string: not one that begins with it, nor the beginning of it. */
static void test_hashes_of_another_length(void **state)
{
    fixture *f = *state;
    rn_error err;
    rn_model_file_origin origin;
    assert_int_equal(rn_model_file_read_origin(f->path, &origin, NULL), RN_STATUS_OK);
    uint8_t *bytes = malloc(f->size + ROOM);
    char longer[80], shorter[80];
    snprintf(longer, sizeof longer, "%s0", origin.sha256);
    snprintf(shorter, sizeof shorter, "%.63s", origin.sha256);
    const char *const others[] = {longer, shorter, ""};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const size_t size = edit(f, origin.sha256, others[i], bytes);
        assert_int_equal(load_bytes(f, bytes, size, false, NULL), RN_STATUS_OK);
        assert_int_equal(load_bytes(f, bytes, size, true, &err), RN_STATUS_DATA_LOSS);
        assert_non_null(strstr(err.message, "SHA-256"));
    }
    free(bytes);
}

static void test_wrong_headers(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *from, *to;
        rn_status status;
        const char *words;
    } cases[] = {
        /* the tensors: scale F32 [1] at 0, padding to 64, shift F32 [3] at 64, ... */
        {"\"scale\":{\"dtype\":\"F32\"", "\"scale\":{\"dtype\":\"F64\"", RN_STATUS_DATA_LOSS, "tensor scale: no dtype"},
        {"\"scale\":{\"dtype\":\"F32\"", "\"scale\":{\"dtype\":\"STRING\"", RN_STATUS_DATA_LOSS, "tensor scale: no dtype"},
        {"\"scale\":{\"dtype\":\"F32\"", "\"scale\":{\"dtype\":7", RN_STATUS_DATA_LOSS, "tensor scale: no dtype"},
        {"\"scale\":{\"dtype\":\"F32\"", "\"scale\":{\"dtype\":\"I32\"", RN_STATUS_DATA_LOSS, "scale F32 [3], found scale of I32"},
        {"\"scale\":{\"dtype\":\"F32\"", "\"scale\":{\"dtype\":\"F16\"", RN_STATUS_DATA_LOSS, "1 elements of F16 need 2 bytes, found 4"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[2],\"data_offsets\":[0,4]", RN_STATUS_DATA_LOSS, "need 8 bytes, found 4"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[-1],\"data_offsets\":[0,4]", RN_STATUS_DATA_LOSS, "number 0 of its shape"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[1.0],\"data_offsets\":[0,4]", RN_STATUS_DATA_LOSS, "number 0 of its shape"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[65536,65536,65536,65536],\"data_offsets\":[0,4]", RN_STATUS_DATA_LOSS,
         "number 1"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]", RN_STATUS_DATA_LOSS, "at most 4 numbers"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":\"1\",\"data_offsets\":[0,4]", RN_STATUS_DATA_LOSS, "at most 4 numbers"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[],\"data_offsets\":[0,4]", RN_STATUS_DATA_LOSS, "rank 0"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[1],\"data_offsets\":[4,0]", RN_STATUS_DATA_LOSS, "no pair of rising numbers"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[1],\"data_offsets\":[-4,0]", RN_STATUS_DATA_LOSS, "no pair of rising numbers"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[1],\"data_offsets\":[0,4,8]", RN_STATUS_DATA_LOSS,
         "no pair of rising numbers"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[1],\"data_offsets\":4", RN_STATUS_DATA_LOSS, "no pair of rising numbers"},
        {"\"shape\":[1],\"data_offsets\":[0,4]", "\"shape\":[1],\"data_offsets\":[9223372036854775804,9223372036854775807]",
         RN_STATUS_DATA_LOSS, "the file holds"},
        {"\"data_offsets\":[0,4]", "\"data_offsets\":[0,99999999999999999999]", RN_STATUS_DATA_LOSS, "the header at byte"},
        {"\"shape\":[60],\"data_offsets\":[4,64]", "\"shape\":[56],\"data_offsets\":[4,60]", RN_STATUS_DATA_LOSS,
         "tensor shift starts at byte 64 of the data, the one before it ends at byte 60"},
        {"\"shape\":[60],\"data_offsets\":[4,64]", "\"shape\":[64],\"data_offsets\":[4,68]", RN_STATUS_DATA_LOSS,
         "tensor shift starts at byte 64 of the data, the one before it ends at byte 68"},
        {"\"shape\":[60],\"data_offsets\":[4,64]", "\"shape\":[64],\"data_offsets\":[0,64]", RN_STATUS_DATA_LOSS, "starts at byte 0"},
        {"\"__padding__\":{\"dtype\":\"U8\",\"shape\":[60],\"data_offsets\":[4,64]},\"shift\":{\"dtype\":\"F32\",\"shape\":[3],\"data_"
         "offsets\":[64,76]}",
         "\"__padding__\":{\"dtype\":\"U8\",\"shape\":[60],\"data_offsets\":[16,76]},\"shift\":{\"dtype\":\"F32\",\"shape\":[3],\"data_"
         "offsets\":[4,16]}",
         RN_STATUS_DATA_LOSS, "tensor shift starts at byte 4 of the data, expected a multiple of 64"},
        {"\"shift\":{\"dtype\"", "\"scale\":{\"dtype\"", RN_STATUS_DATA_LOSS, "duplicate object key"},
        {"\"shift\":{\"dtype\"", "\"drift\":{\"dtype\"", RN_STATUS_DATA_LOSS, "weights shift: there is no tensor of that name"},
        {"\"scale\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}", "\"scale\":[]", RN_STATUS_DATA_LOSS, "tensor scale"},
        /* the metadata */
        {"\"format\":\"resnetd\"", "\"format\":\"pt\"", RN_STATUS_UNSUPPORTED, "__metadata__.format is pt, expected resnetd"},
        {"\"__metadata__\":", "\"metadata\":", RN_STATUS_UNSUPPORTED, "a safetensors file without a plan"},
        {"\"format_version\":\"1\"", "\"format_version\":\"2\"", RN_STATUS_UNSUPPORTED, "format version 2, this program reads version 1"},
        {"\"format_version\":\"1\"", "\"format_version\":1", RN_STATUS_DATA_LOSS, "lacks the string \"format_version\""},
        {"\"plan\":", "\"plane\":", RN_STATUS_DATA_LOSS, "lacks the string \"plan\""},
        {"\"labels\":\"[", "\"labels\":\"{", RN_STATUS_DATA_LOSS, "__metadata__.labels is no JSON array"},
        {"\"labels\":\"[\\\"ankle boot\\\"", "\"labels\":\"[7", RN_STATUS_DATA_LOSS, "__metadata__.labels[0] is no string"},
        {"\"labels\":\"[\\\"ankle boot\\\",", "\"labels\":\"[", RN_STATUS_DATA_LOSS, "names 3 classes, the plan has 2 labels"},
        {"\"weights\":\"[\\\"scale\\\"", "\"weights\":\"[\\\"__metadata__\\\"", RN_STATUS_DATA_LOSS,
         "weights __metadata__: there is no tensor"},
        {"\"weights\":\"[\\\"scale\\\",", "\"weights\":\"[", RN_STATUS_DATA_LOSS, "expected a whole number from 0 to 8, found 9"},
        /* the plan */
        {"\\\"architecture\\\":", "\\\"architecture\\\"", RN_STATUS_DATA_LOSS, "of the plan's text"},
        {"\\\"architecture\\\":\\\"sample", "\\\"architecture\\\":7,\\\"x\\\":\\\"sample", RN_STATUS_DATA_LOSS,
         "architecture: expected a string"},
        {"\\\"dtype\\\":\\\"U8\\\"", "\\\"dtype\\\":\\\"U7\\\"", RN_STATUS_DATA_LOSS, "tensors[1] pixels: dtype: found \"U7\""},
        {"\\\"shape\\\":[8,8,3]", "\\\"shape\\\":[8,8]", RN_STATUS_DATA_LOSS, "shape: expected 3 to 3 elements, found 2"},
        {"\\\"shape\\\":[8,8,3]", "\\\"shape\\\":[8,-8,3]", RN_STATUS_DATA_LOSS, "8x-8x3"},
        {"\\\"shape\\\":[8,8,3]", "\\\"shape\\\":[8,4294967304,3]", RN_STATUS_DATA_LOSS, "found 4294967304"},
        {"\\\"kind\\\":\\\"image\\\"", "\\\"kind\\\":\\\"imagine\\\"", RN_STATUS_DATA_LOSS, "ops[0] decode: kind: found \"imagine\""},
        {"\\\"crop\\\":\\\"center_square_round_up\\\"", "\\\"crop\\\":\\\"top_left\\\"", RN_STATUS_DATA_LOSS, "crop: found \"top_left\""},
        {"\\\"crop\\\":\\\"center_square_round_up\\\"", "\\\"crop\\\":1", RN_STATUS_DATA_LOSS, "crop: found 1"},
        {"\\\"stride_h\\\":1", "\\\"stride_h\\\":1.5", RN_STATUS_DATA_LOSS, "ops[2] stem: stride_h: expected a whole number"},
        {"\\\"stride_h\\\":1", "\\\"stride_h\\\":3000000000", RN_STATUS_DATA_LOSS, "found 3000000000"},
        {"\\\"stride_h\\\":1", "\\\"stride_h\\\":0", RN_STATUS_DATA_LOSS, "stem (conv2d): window 3x3 with stride 0x1"},
        {"\\\"stride_h\\\":1,", "", RN_STATUS_DATA_LOSS, "stride_h: expected a whole number"},
        {"\\\"relu\\\":false", "\\\"relu\\\":0", RN_STATUS_DATA_LOSS, "relu: expected true or false, found 0"},
        {"\\\"filter\\\":2", "\\\"filter\\\":10", RN_STATUS_DATA_LOSS, "filter: expected a whole number from 0 to 9, found 10"},
        {"\\\"filter\\\":2", "\\\"filter\\\":-1", RN_STATUS_DATA_LOSS, "filter: expected a whole number from 0 to 9, found -1"},
        {"\\\"filter\\\":2", "\\\"filter\\\":null", RN_STATUS_DATA_LOSS, "stem (conv2d): has no filter"},
        {"\\\"inputs\\\":[0,null]", "\\\"inputs\\\":[15,null]", RN_STATUS_DATA_LOSS, "inputs: expected a whole number from 0 to 14"},
        {"\\\"inputs\\\":[0,null]", "\\\"inputs\\\":[null,null]", RN_STATUS_DATA_LOSS, "decode (image): input 0"},
        {"\\\"inputs\\\":[0,null]", "\\\"inputs\\\":[0]", RN_STATUS_DATA_LOSS, "inputs: expected 2 to 2 elements, found 1"},
        {"\\\"inputs\\\":[0,null]", "\\\"inputs\\\":{}", RN_STATUS_DATA_LOSS, "inputs: expected an array, found an object"},
        {"\\\"dims\\\":[-1,8,8,3]", "\\\"dims\\\":[-1,8,8,8,8]", RN_STATUS_DATA_LOSS, "dims: expected 0 to 4 elements, found 5"},
        {"\\\"dims\\\":[-1,8,8,3]", "\\\"dims\\\":[-2,8,8,3]", RN_STATUS_DATA_LOSS, "signatures[0] serving_default: dims"},
        {"\\\"method_name\\\":", "\\\"method\\\":", RN_STATUS_DATA_LOSS, "method_name: expected a string"},
        {"\\\"labels\\\":true", "\\\"labels\\\":null", RN_STATUS_DATA_LOSS, "labels: expected true or false"},
        {"\\\"signatures\\\":", "\\\"signature\\\":", RN_STATUS_DATA_LOSS, "signatures: expected an array, found nothing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *bytes = malloc(f->size + ROOM);
        rn_error err = {0};
        const size_t size = edit(f, cases[i].from, cases[i].to, bytes);
        const rn_status status = load_bytes(f, bytes, size, false, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].words)) {
            fail_msg("%s -> %s: %s: %s", cases[i].from, cases[i].to, rn_status_text(status), err.message);
        }
        free(bytes);
    }
}

static void test_shifted_data(void **state)
{
    fixture *f = *state;
    rn_error err;
    uint8_t *bytes = malloc(f->size + ROOM);
    size_t size = edit(f, "\"source\"", "\"source\"", bytes);
    uint64_t length = f->header_bytes + 1;
    memmove(bytes + 8 + length, bytes + 8 + f->header_bytes, f->size - 8 - f->header_bytes);
    bytes[8 + f->header_bytes] = ' ';
    memcpy(bytes, &length, 8);
    assert_int_equal(load_bytes(f, bytes, size + 1, false, &err), RN_STATUS_DATA_LOSS);
    assert_non_null(strstr(err.message, "the data starts at byte"));
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_that_are_not_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(test_places_that_cannot_be_written, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_truncation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changed_data_is_the_hash_s_to_find, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loading_ahead_of_the_hash, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lengths_that_claim_too_much, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_model_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hashes_of_another_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shifted_data, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
