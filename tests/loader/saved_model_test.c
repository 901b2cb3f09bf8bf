/* The bundled SavedModel becomes the plan that it should, and no damaged one does anything but fail with a reason.
 *
 * RN_DAMAGE=N tries N cuts and 4N flipped bits of each file; the default is a sample of both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/crc32c.h"
#include "loader/saved_model.h"
#include "tests/support/test_file.h"

static const char model_path[] = "tests/data/fashion_resnet101/1";
static const char *const files[] = {"saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"};
enum { FILES = 3 };

typedef struct fixture {
    char folder[64];
    uint8_t *bytes[FILES];
    size_t sizes[FILES];
    uint32_t sum; /* of all weights of the undamaged plan */
} fixture;

static void write_bytes(const fixture *f, int file, const uint8_t *bytes, size_t count)
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", f->folder, files[file]);
    rn_test_write_file(path, bytes, count);
}

static uint32_t weight_sum(const rn_plan *plan)
{
    uint32_t sum = 0;
    for (int32_t i = 0; i < plan->weights_count; i++) {
        const rn_plan_weights *w = &plan->weights[i];
        sum = rn__crc32c(sum, w->data, (size_t)w->element_count * rn_dtype_bytes(w->dtype));
    }
    return sum;
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/rn_saved_model_XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    char path[160];
    snprintf(path, sizeof path, "%s/variables", f->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", model_path, files[i]);
        FILE *in = fopen(path, "rb");
        assert_non_null(in);
        fseek(in, 0, SEEK_END);
        f->sizes[i] = (size_t)ftell(in);
        rewind(in);
        f->bytes[i] = malloc(f->sizes[i]);
        assert_int_equal(fread(f->bytes[i], 1, f->sizes[i], in), f->sizes[i]);
        fclose(in);
        write_bytes(f, i, f->bytes[i], f->sizes[i]);
    }
    rn_plan *plan;
    assert_int_equal(rn_saved_model_load(f->folder, NULL, &plan, NULL), RN_STATUS_OK);
    f->sum = weight_sum(plan);
    rn_plan_destroy(plan);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    char path[160];
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", f->folder, files[i]);
        unlink(path);
        free(f->bytes[i]);
    }
    snprintf(path, sizeof path, "%s/variables", f->folder);
    rmdir(path);
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

static int32_t count_ops(const rn_plan *plan, rn_op_kind kind)
{
    int32_t count = 0;
    for (int32_t i = 0; i < plan->op_count; i++) count += plan->ops[i].kind == kind;
    return count;
}

typedef struct seen {
    uint64_t done, total;
} seen;

static void see(void *context, const char *stage, uint64_t done, uint64_t total)
{
    seen *s = context;
    assert_string_equal(stage, "reading weights");
    assert_true(done > s->done && done <= total);
    *s = (seen){done, total};
}

static void the_sample_is_a_resnet(void **state)
{
    (void)state;
    rn_plan *plan;
    rn_error err = {0};
    seen s = {0};
    if (rn_saved_model_load(model_path, &(rn_progress){see, &s}, &plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    assert_string_equal(plan->architecture, "ResNet-101 v2, 64x64x3, 10 classes");
    assert_true(s.done > s.total / 3); /* the exporter stores each weight twice */

    assert_int_equal(count_ops(plan, RN_OP_IMAGE), 1);
    assert_int_equal(count_ops(plan, RN_OP_CONV2D), 104); /* one network for both signatures */
    assert_int_equal(count_ops(plan, RN_OP_ADD), 0);
    assert_int_equal(count_ops(plan, RN_OP_MAX_POOL), 4);
    assert_int_equal(count_ops(plan, RN_OP_GLOBAL_AVERAGE_POOL), 1);
    assert_int_equal(count_ops(plan, RN_OP_DENSE), 1);
    assert_int_equal(count_ops(plan, RN_OP_SOFTMAX), 1);
    assert_int_equal(count_ops(plan, RN_OP_TOP_K), 1);

    assert_int_equal(plan->signature_count, 2);
    const rn_signature *floats = rn_plan_signature(plan, "serving_default"), *pictures = rn_plan_signature(plan, "serving_preprocess");
    assert_non_null(floats);
    assert_non_null(pictures);
    assert_string_equal(floats->input.name, "inputs");
    assert_string_equal(floats->input.tf_name, "serving_default_inputs:0");
    assert_int_equal(floats->input.dtype, RN_DTYPE_F32);
    assert_int_equal(floats->input.rank, 4);
    assert_memory_equal(floats->input.dims, ((int64_t[]){-1, 64, 64, 3}), 4 * sizeof(int64_t));
    assert_string_equal(floats->outputs[0].name, "logits");
    assert_memory_equal(floats->outputs[0].dims, ((int64_t[]){-1, 10}), 2 * sizeof(int64_t));
    assert_string_equal(floats->method_name, "tensorflow/serving/predict");

    assert_int_equal(pictures->input.dtype, RN_DTYPE_STRING);
    assert_int_equal(pictures->output_count, 2);
    assert_string_equal(pictures->outputs[0].name, "labels");
    assert_true(pictures->outputs[0].labels);
    assert_string_equal(pictures->outputs[1].name, "probabilities");
    assert_memory_equal(pictures->outputs[1].dims, ((int64_t[]){-1, 5}), 2 * sizeof(int64_t));
    assert_true(pictures->image_op != RN_NONE);
    const rn_image_op *image = &plan->ops[pictures->image_op].u.image;
    assert_int_equal(image->crop, RN_CROP_CENTER_SQUARE_ROUND_UP);
    assert_int_equal(image->h, 64);
    assert_int_equal(image->w, 64);
    assert_int_equal(image->c, 3);
    assert_int_equal(image->decode_channels, 3);
    assert_int_equal(plan->label_count, 10);
    assert_string_equal(plan->labels[9], "Ankle boot");
    rn_plan_destroy(plan);
}

/* convert_image_dtype multiplies by float32(1/255): the constant has to arrive to the bit. */
static void the_front_end_keeps_its_constant(void **state)
{
    (void)state;
    rn_plan *plan;
    assert_int_equal(rn_saved_model_load(model_path, NULL, &plan, NULL), RN_STATUS_OK);
    const rn_signature *pictures = rn_plan_signature(plan, "serving_preprocess"), *floats = rn_plan_signature(plan, "serving_default");
    for (int32_t i = 0; i < plan->op_count; i++) {
        const rn_op *op = &plan->ops[i];
        if (op->inputs[0] != pictures->feed) continue;
        assert_int_equal(op->kind, RN_OP_SCALE_SHIFT);
        assert_int_equal(op->outputs[0], floats->feed); /* what one signature computes, the other is given */
        const rn_plan_weights *scale = &plan->weights[op->u.scale_shift.scale];
        assert_true(*(const float *)scale->data == 0x1.010102p-8f);
        const int32_t shift = op->u.scale_shift.shift;
        assert_true(shift == RN_NONE || *(const float *)plan->weights[shift].data == 0);
    }
    rn_plan_destroy(plan);
}

static void missing_and_foreign_forms(void **state)
{
    fixture *f = *state;
    rn_plan *plan;
    rn_error err = {0};
    char path[160];
    assert_int_equal(rn_saved_model_load("/nonexistent", NULL, &plan, &err), RN_STATUS_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent"));

    snprintf(path, sizeof path, "%s/variables", f->folder);
    assert_int_equal(rn_saved_model_load(path, NULL, &plan, &err), RN_STATUS_NOT_FOUND);
    snprintf(path, sizeof path, "%s/variables/saved_model.pbtxt", f->folder);
    fclose(fopen(path, "w"));
    char folder[160];
    snprintf(folder, sizeof folder, "%s/variables", f->folder);
    assert_int_equal(rn_saved_model_load(folder, NULL, &plan, &err), RN_STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.message, "saved_model.pbtxt"));
    unlink(path);

    for (int i = 1; i < FILES; i++) { /* without its index or its data */
        char hidden[168];
        snprintf(path, sizeof path, "%s/%s", f->folder, files[i]);
        snprintf(hidden, sizeof hidden, "%s.hidden", path);
        rename(path, hidden);
        assert_int_not_equal(rn_saved_model_load(f->folder, NULL, &plan, &err), RN_STATUS_OK);
        assert_non_null(strstr(err.message, "variables"));
        rename(hidden, path);
    }
}

/* Loads the damaged model: whatever comes of it, it is an error with words or a plan. Returns whether the weights are what they were. */
static bool survives(fixture *f, const char *what, size_t at, bool must_fail)
{
    rn_plan *plan = NULL;
    rn_error err = {0};
    const rn_status status = rn_saved_model_load(f->folder, NULL, &plan, &err);
    if (status != RN_STATUS_OK) {
        if (!err.message[0] || err.status != status) fail_msg("%s at %zu: an error without words", what, at);
        return true;
    }
    const bool same = weight_sum(plan) == f->sum;
    rn_plan_destroy(plan);
    if (must_fail) fail_msg("%s at %zu was not noticed", what, at);
    return same;
}

static int amount(void)
{
    const char *text = getenv("RN_DAMAGE");
    return text ? atoi(text) : 24;
}

static void cut_files(void **state)
{
    fixture *f = *state;
    srand(7);
    for (int i = 0; i < FILES; i++) {
        for (int n = 0; n < amount(); n++) {
            const size_t span = n % 2 ? f->sizes[i] : 64 < f->sizes[i] ? 64 : f->sizes[i]; /* every other one near the end */
            const size_t cut = f->sizes[i] - 1 - (size_t)rand() % span;
            write_bytes(f, i, f->bytes[i], n == 0 ? 0 : cut);
            survives(f, files[i], cut, i < 2); /* the data file ends in bytes that no signature needs */
        }
        write_bytes(f, i, f->bytes[i], f->sizes[i]);
    }
}

static void flipped_bits(void **state)
{
    fixture *f = *state;
    srand(11);
    for (int i = 0; i < FILES; i++) {
        for (int n = 0; n < 4 * amount(); n++) {
            const size_t at = ((size_t)rand() * 32768 + (size_t)rand()) % f->sizes[i];
            const uint8_t bit = (uint8_t)(1u << rand() % 8);
            f->bytes[i][at] ^= bit;
            write_bytes(f, i, f->bytes[i], f->sizes[i]);
            const bool same = survives(f, files[i], at, false);
            if (!same && i > 0) fail_msg("%s: bit flipped at %zu changed a weight unnoticed", files[i], at); /* the graph has no checksum */
            f->bytes[i][at] ^= bit;
        }
        write_bytes(f, i, f->bytes[i], f->sizes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_is_a_resnet),
        cmocka_unit_test(the_front_end_keeps_its_constant),
        cmocka_unit_test(missing_and_foreign_forms),
        cmocka_unit_test(cut_files),
        cmocka_unit_test(flipped_bits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
