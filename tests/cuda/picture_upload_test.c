/* Pictures that the emulated device resizes against the same pictures resized on the host: equal to the bit, whatever their sizes, alone,
 * beside rows and with two batches under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda_backend.h"
#include "engine/image/image.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/cuda_emulation/emulation_control.h"

enum { SIDE = 16, CHANNELS = 3, ROW_BYTES = SIDE * SIDE * CHANNELS, MAX_BATCH = 6, CLASSES = 7 };

static const rn_backend *const cuda = &rn_cuda_backend;
static const rn_synthetic_options network = {
    .version = 1, .blocks = {1}, .width = 8, .groups = 1, .side = SIDE, .classes = CLASSES, .u8_input = true, .seed = 21};
static const rn_image_op image = {.crop = RN_CROP_CENTER_SQUARE_ROUND_UP, .full_h = SIDE, .full_w = SIDE, .h = SIDE, .w = SIDE, .c = CHANNELS};

static rn_plan *plan;
static rn_executor *executor;

/* The network has two ways in: rows of pixels, and pictures. */
static void make_plan(void)
{
    rn_error err = {0};
    int32_t tensor;
    assert_int_equal(rn_synthetic_resnet(&network, &plan, &err), RN_STATUS_OK);
    rn_signature pictures = plan->signatures[0];
    assert_int_equal(rn_plan_add_tensor(plan, "encoded", RN_DTYPE_STRING, 1, 1, 1, &tensor, &err), RN_STATUS_OK);
    const rn_op op = {
        .kind = RN_OP_IMAGE, .name = "image", .inputs = {tensor, RN_NONE}, .outputs = {pictures.input.tensor, RN_NONE}, .u.image = image};
    if (rn_plan_add_op(plan, &op, NULL, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    strcpy(pictures.name, "pictures");
    pictures.input = (rn_tensor_spec){.name = "b64", .dtype = RN_DTYPE_STRING, .rank = 1, .dims = {-1}, .tensor = tensor};
    assert_int_equal(rn_plan_add_signature(plan, &pictures, NULL, &err), RN_STATUS_OK);
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
}

static int setup(void **state)
{
    (void)state;
    rn_error err = {0};
    make_plan();
    const rn_backend_options options = {.max_batch = MAX_BATCH, .thread_count = 1, .precision = "fp16"};
    if (cuda->prepare(plan, &options, &executor, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cuda->destroy(executor);
    rn_plan_destroy(plan);
    assert_int_equal(rn_emulation_live_objects(), 0);
    return 0;
}

/* A batch of pictures, the rows that the host makes of them, and results. */
typedef struct {
    int32_t count;
    rn_picture pictures[MAX_BATCH];
    rn_picture_window windows[MAX_BATCH];
    unsigned char rows[MAX_BATCH * ROW_BYTES];
    float expected[MAX_BATCH * CLASSES], found[MAX_BATCH * CLASSES];
    rn_batch_part part;
} batch;

static void fill(batch *b, int32_t count, const int32_t (*sizes)[2])
{
    memset(b, 0, sizeof *b);
    b->count = count;
    for (int32_t i = 0; i < count; i++) {
        const size_t bytes = (size_t)sizes[i][0] * (size_t)sizes[i][1] * CHANNELS;
        b->pictures[i] = (rn_picture){.h = sizes[i][0], .w = sizes[i][1], .c = CHANNELS, .pixels = malloc(bytes)};
        for (size_t j = 0; j < bytes; j++) b->pictures[i].pixels[j] = (uint8_t)rand();
        assert_int_equal(rn_picture_crop(&image, &b->pictures[i], &b->windows[i], NULL), RN_STATUS_OK);
        assert_int_equal(rn_picture_fit(&image, &b->pictures[i], b->rows + i * ROW_BYTES, NULL), RN_STATUS_OK);
    }
    const rn_batch_part rows = {.rows = count, .input = b->rows, .outputs = {b->expected}};
    assert_int_equal(cuda->run(executor, rn_plan_signature(plan, "serving_default"), &rows, 1, NULL), RN_STATUS_OK);
    memset(b->found, 0xff, sizeof b->found);
    b->part = (rn_batch_part){.rows = count, .pictures = b->windows, .outputs = {b->found}};
}

static void check(batch *b)
{
    assert_memory_equal(b->found, b->expected, (size_t)b->count * CLASSES * sizeof(float));
    for (int32_t i = 0; i < b->count; i++) rn_picture_deinit(&b->pictures[i]);
}

static const int32_t sizes[][2] = {{40, 23}, {16, 16}, {1, 1}, {19, 31}, {7, 90}, {32, 32}};

static void pictures_of_any_size(void **state)
{
    (void)state;
    const rn_signature *signature = rn_plan_signature(plan, "pictures");
    batch b;
    assert_int_equal(cuda->picture_bytes(executor, signature), 4 * ROW_BYTES);
    assert_int_equal(cuda->picture_bytes(executor, rn_plan_signature(plan, "serving_default")), 0);
    for (int32_t count = 1; count <= MAX_BATCH; count++) {
        fill(&b, count, sizes + MAX_BATCH - count);
        assert_int_equal(cuda->run(executor, signature, &b.part, 1, NULL), RN_STATUS_OK);
        check(&b);
    }
}

/* What the host has resized is a row. */
static void rows_beside_pictures(void **state)
{
    (void)state;
    batch b;
    fill(&b, MAX_BATCH, sizes);
    const rn_batch_part parts[] = {{.rows = 2, .pictures = b.windows, .outputs = {b.found}},
                                   {.rows = 3, .input = b.rows + 2 * ROW_BYTES, .outputs = {b.found + 2 * CLASSES}},
                                   {.rows = 1, .pictures = b.windows + 5, .outputs = {b.found + 5 * CLASSES}}};
    assert_int_equal(cuda->run(executor, rn_plan_signature(plan, "pictures"), parts, 3, NULL), RN_STATUS_OK);
    check(&b);
}

static void two_under_way(void **state)
{
    (void)state;
    const rn_signature *signature = rn_plan_signature(plan, "pictures");
    batch b[4];
    for (int i = 0; i < 4; i++) fill(&b[i], i + 2, sizes + i % 2);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(cuda->begin(executor, signature, &b[i].part, 1, NULL), RN_STATUS_OK);
        if (i == 0) continue;
        assert_int_equal(cuda->finish(executor, NULL), RN_STATUS_OK);
        check(&b[i - 1]);
    }
    assert_int_equal(cuda->finish(executor, NULL), RN_STATUS_OK);
    check(&b[3]);
}

static void what_is_too_large(void **state)
{
    (void)state;
    const int32_t large[][2] = {{20, 20}, {33, 40}};
    rn_error err;
    batch b;
    fill(&b, 2, large);
    assert_int_equal(cuda->run(executor, rn_plan_signature(plan, "pictures"), &b.part, 1, &err), RN_STATUS_INVALID_ARGUMENT);
    assert_string_equal(err.message, "signature pictures: a picture of 33 x 33 pixels, at most 3072 bytes are taken");
    b.part.rows = 1;
    assert_int_equal(cuda->run(executor, rn_plan_signature(plan, "pictures"), &b.part, 1, &err), RN_STATUS_OK);
    b.count = 1;
    check(&b);
    rn_picture_deinit(&b.pictures[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_of_any_size),
        cmocka_unit_test(rows_beside_pictures),
        cmocka_unit_test(two_under_way),
        cmocka_unit_test(what_is_too_large),
    };
    return cmocka_run_group_tests_name("pictures on their way to the device, emulated", tests, setup, teardown);
}
