/* A loaded model on a pretended device: the self-test before it serves, pictures that cannot be read, cancelled and empty requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <math.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "engine/golden.h"
#include "engine/model.h"

/* ---- a device that copies the first byte of each picture ---- */

static float spoil; /* added to every result */
static int runs, destroyed;
static int32_t last_rows;

static rn_status fake_prepare(const rn_plan *plan, const rn_backend_options *options, rn_executor **out, rn_error *err)
{
    (void)plan, (void)options, (void)err;
    *out = NULL;
    return RN_STATUS_OK;
}

static rn_status fake_run(rn_executor *executor, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count,
                          rn_error *err)
{
    (void)executor, (void)signature, (void)err;
    runs++;
    last_rows = parts[part_count - 1].rows;
    for (int32_t i = 0; i < part_count; i++)
        for (int32_t row = 0; row < parts[i].rows; row++)
            for (int32_t k = 0; k < 12; k++)
                ((float *)parts[i].outputs[0])[12 * row + k] = (float)((const uint8_t *)parts[i].input)[12 * row] + spoil;
    return RN_STATUS_OK;
}

static const char *fake_describe(const rn_executor *executor)
{
    (void)executor;
    return "pretended";
}

static void fake_destroy(rn_executor *executor)
{
    (void)executor;
    destroyed++;
}

static const rn_backend fake = {
    .name = "fake", .prepare = fake_prepare, .run = fake_run, .describe = fake_describe, .destroy = fake_destroy};

/* A device on which batches of three and more run in another way than smaller ones. */
static int32_t fake_next_size(const rn_executor *executor, const rn_signature *signature, int32_t rows)
{
    (void)executor, (void)signature;
    return rows < 3 ? 3 : 0;
}

static const rn_backend two_ways = {.name = "two ways", .prepare = fake_prepare, .run = fake_run, .describe = fake_describe,
                                    .destroy = fake_destroy, .next_size = fake_next_size};

/* ---- pictures: 2x2 bitmaps of one colour ---- */

enum { BMP_BYTES = 54 + 2 * 8 };

static void make_bmp(uint8_t value, uint8_t out[BMP_BYTES])
{
    static const uint8_t head[54] = {'B', 'M', BMP_BYTES, [10] = 54, [14] = 40, [18] = 2, [22] = 2, [26] = 1, [28] = 24};
    memcpy(out, head, sizeof head);
    memset(out + sizeof head, value, BMP_BYTES - sizeof head);
}

/* ---- a plan: picture -> u8 2x2x3 -> float ---- */

static rn_plan *make_plan(void)
{
    rn_plan *plan = rn_plan_create();
    int32_t bytes, pixels, result, index;
    rn_plan_add_tensor(plan, "bytes", RN_DTYPE_STRING, 1, 1, 1, &bytes, NULL);
    rn_plan_add_tensor(plan, "pixels", RN_DTYPE_U8, 2, 2, 3, &pixels, NULL);
    rn_plan_add_tensor(plan, "result", RN_DTYPE_F32, 2, 2, 3, &result, NULL);
    const rn_op image = {.kind = RN_OP_IMAGE,
                         .name = "image",
                         .inputs = {bytes, RN_NONE},
                         .outputs = {pixels, RN_NONE},
                         .u.image = {.crop = RN_CROP_NONE, .full_h = 2, .full_w = 2, .h = 2, .w = 2, .c = 3, .decode_channels = 3}};
    const rn_op cast = {.kind = RN_OP_SCALE_SHIFT,
                        .name = "cast",
                        .inputs = {pixels, RN_NONE},
                        .outputs = {result, RN_NONE},
                        .u.scale_shift = {.scale = RN_NONE, .shift = RN_NONE}};
    rn_plan_add_op(plan, &image, &index, NULL);
    rn_plan_add_op(plan, &cast, &index, NULL);
    const rn_signature s = {.name = "pictures",
                            .input = {.name = "x", .dtype = RN_DTYPE_STRING, .rank = 1, .dims = {-1}, .tensor = bytes},
                            .output_count = 1,
                            .outputs = {{.name = "y", .dtype = RN_DTYPE_F32, .rank = 4, .dims = {-1, 2, 2, 3}, .tensor = result}}};
    rn_plan_add_signature(plan, &s, &index, NULL);
    rn_error err;
    if (rn_plan_finish(plan, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    return plan;
}

static rn_workers *workers;
static rn_model *model;
static const rn_model_options options = {.backend = {.max_batch = 4}, .max_waiting_rows = 100};

static int setup(void **state)
{
    (void)state;
    spoil = 0;
    runs = destroyed = 0;
    assert_int_equal(rn_workers_create(3, 100, &workers, NULL), RN_STATUS_OK);
    return rn_model_create(make_plan(), &fake, &options, workers, &model, NULL);
}

static int teardown(void **state)
{
    (void)state;
    rn_model_release(model);
    rn_workers_destroy(workers);
    assert_int_equal(destroyed, 1);
    return 0;
}

/* ---- requests ---- */

static void post(rn_request *request)
{
    sem_post(request->context);
}

/* Submits and waits. */
static void answer(rn_request *request)
{
    sem_t done;
    sem_init(&done, 0, 0);
    request->context = &done;
    request->done = post;
    rn_request_submit(request);
    while (sem_wait(&done) != 0) continue;
    sem_destroy(&done);
}

static rn_request *new_request(int32_t rows)
{
    rn_request *request;
    const rn_signature *signature = rn_plan_signature(rn_model_plan(model), "pictures");
    assert_int_equal(rn_request_create(model, signature, rows, (size_t)rows * BMP_BYTES, &request, NULL), RN_STATUS_OK);
    for (int32_t i = 0; i < rows; i++) {
        make_bmp((uint8_t)(10 + i), request->scratch + i * BMP_BYTES);
        request->pictures[i] = (rn_encoded_picture){request->scratch + i * BMP_BYTES, BMP_BYTES};
    }
    return request;
}

static void test_pictures(void **state)
{
    (void)state;
    assert_string_equal(rn_model_device(model), "pretended");
    rn_request *request = new_request(9);
    answer(request);
    assert_int_equal(request->status, RN_STATUS_OK);
    for (int i = 0; i < 9; i++) assert_true(((float *)request->outputs[0])[12 * i] == (float)(10 + i));
    assert_int_equal(request->batch.batch_rows, 4);
    assert_int_equal((uintptr_t)request->input % 64, 0);
    rn_request_destroy(request);
}

static void test_first_bad_picture_is_named(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        rn_request *request = new_request(8);
        request->pictures[7].byte_count = 10;
        request->pictures[3].byte_count = 10;
        answer(request);
        assert_int_equal(request->status, RN_STATUS_INVALID_ARGUMENT);
        assert_int_equal(request->failed_picture, 3);
        assert_true(request->error.message[0] != '\0');
        rn_request_destroy(request);
    }
    assert_int_equal(runs, 1); /* of the self-test: nothing was run for them */
}

static void test_cancelled(void **state)
{
    (void)state;
    atomic_bool cancelled = true;
    rn_request *request = new_request(2);
    request->cancelled = &cancelled;
    answer(request);
    assert_int_equal(request->status, RN_STATUS_CANCELLED);
    assert_int_equal(request->failed_picture, RN_NONE);
    rn_request_destroy(request);
}

static void test_no_rows(void **state)
{
    (void)state;
    rn_request *request = new_request(0);
    answer(request);
    assert_int_equal(request->status, RN_STATUS_OK);
    rn_request_destroy(request);
}

static void test_a_request_outlives_the_other_references(void **state)
{
    (void)state;
    rn_request *request = new_request(1);
    rn_model_release(model);
    answer(request);
    assert_int_equal(request->status, RN_STATUS_OK);
    rn_model_acquire(request->model); /* for the teardown */
    rn_request_destroy(request);
}

static void test_self_test(void **state)
{
    (void)state;
    rn_error err;
    rn_model *broken;
    assert_int_equal(runs, 1);
    spoil = NAN;
    assert_int_equal(rn_model_create(make_plan(), &fake, &options, workers, &broken, &err), RN_STATUS_INTERNAL);
    assert_string_equal(err.message, "self-test: signature pictures, output y: element 0 is not finite");
    assert_int_equal(destroyed, 1);
    destroyed = 0;
}

/* Every power of two and the largest batch, or the sizes at which the device does something new, up to the largest. */
static void test_sizes_of_the_self_test(void **state)
{
    (void)state;
    static const struct {
        const rn_backend *backend;
        int32_t max_batch;
        bool every_size;
        int runs, last;
    } cases[] = {{&fake, 1, true, 1, 1}, {&fake, 4, true, 3, 4}, {&fake, 5, true, 4, 5}, {&fake, 5, false, 1, 1},
                 {&two_ways, 16, true, 2, 3}, {&two_ways, 3, true, 2, 3}, {&two_ways, 2, true, 2, 2}, {&two_ways, 16, false, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rn_model *tested;
        rn_model_options of = options;
        of.backend.max_batch = cases[i].max_batch;
        of.every_size = cases[i].every_size;
        runs = 0;
        assert_int_equal(rn_model_create(make_plan(), cases[i].backend, &of, workers, &tested, NULL), RN_STATUS_OK);
        assert_int_equal(runs, cases[i].runs);
        assert_int_equal(last_rows, cases[i].last);
        rn_model_release(tested);
    }
    destroyed = 0;
}

/* A recorded answer is asked for; a made-up row is not, of any signature that would run the same. */
static void test_recorded_answers_take_the_place_of_made_up_rows(void **state)
{
    (void)state;
    static const uint8_t pixels[12] = {7};
    static float wanted[12];
    for (int i = 0; i < 12; i++) wanted[i] = 7;
    for (int others = 0; others < 3; others++) {
        rn_plan *plan = make_plan();
        rn_signature second = plan->signatures[0];
        strcpy(second.name, others == 1 ? "the same" : "two outputs");
        if (others == 2) {
            second.outputs[1] = second.outputs[0];
            strcpy(second.outputs[1].name, "again");
            second.output_count = 2;
        }
        if (others > 0) assert_int_equal(rn_plan_add_signature(plan, &second, NULL, NULL), RN_STATUS_OK);
        if (others > 0) assert_int_equal(rn_plan_finish(plan, NULL), RN_STATUS_OK);
        const rn_golden golden = {.source = "test", .signature = 0, .rows = 1, .input = pixels, .outputs = {wanted}};
        assert_int_equal(rn_plan_add_golden(plan, &golden, NULL), RN_STATUS_OK);
        rn_model *tested;
        runs = 0;
        assert_int_equal(rn_model_create(plan, &fake, &options, workers, &tested, NULL), RN_STATUS_OK);
        assert_int_equal(runs, others == 2 ? 2 : 1);
        rn_model_release(tested);
    }
    destroyed = 0;
}

static rn_status find_damage(void *context, rn_error *err)
{
    ++*(int *)context;
    return RN_FAIL(err, RN_STATUS_DATA_LOSS, "the file is damaged");
}

static rn_status refuse_to_prepare(const rn_plan *plan, const rn_backend_options *backend_options, rn_executor **out, rn_error *err)
{
    (void)plan, (void)backend_options, (void)out;
    return RN_FAIL(err, RN_STATUS_INTERNAL, "this cannot be prepared");
}

static const rn_backend choosy = {.name = "choosy", .prepare = refuse_to_prepare, .run = fake_run, .describe = fake_describe, .destroy = fake_destroy};

/* Damage that is found while a device is prepared is what is told, whatever the device made of it, and nothing is run. */
static void test_damage_found_meanwhile(void **state)
{
    (void)state;
    const rn_backend *const backends[] = {&fake, &choosy};
    for (int i = 0; i < 2; i++) {
        rn_error err;
        rn_model *none;
        rn_plan *plan = make_plan();
        int asked = 0;
        rn_plan_expect(plan, find_damage, &asked);
        runs = destroyed = 0;
        assert_int_equal(rn_model_create(plan, backends[i], &options, workers, &none, &err), RN_STATUS_DATA_LOSS);
        assert_string_equal(err.message, "the file is damaged");
        assert_int_equal(asked, 1);
        assert_int_equal(runs, 0);
        assert_int_equal(destroyed, i == 0);
    }
    destroyed = 0;
}

#define WITH_MODEL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MODEL(test_pictures),
        WITH_MODEL(test_first_bad_picture_is_named),
        WITH_MODEL(test_cancelled),
        WITH_MODEL(test_no_rows),
        WITH_MODEL(test_a_request_outlives_the_other_references),
        WITH_MODEL(test_self_test),
        WITH_MODEL(test_sizes_of_the_self_test),
        WITH_MODEL(test_recorded_answers_take_the_place_of_made_up_rows),
        WITH_MODEL(test_damage_found_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
