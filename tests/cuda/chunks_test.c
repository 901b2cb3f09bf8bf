/* A large batch whose early layers are run a few rows at a time, emulated: results are those of the whole batch to the bit, whatever is
 * chunked, and what fails while chunks are measured is reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/cuda/cuda_backend.h"
#include "engine/cuda/cuda_executor.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/cuda_emulation/emulation_control.h"

enum { MAX_BATCH = 40, SIDE = 32, CLASSES = 5, ROW_BYTES = SIDE * SIDE * 3 };

#ifdef RN_EMULATION_ASAN
enum { VERSIONS = 1 }; /* it takes ten times as long */
#else
enum { VERSIONS = 2 };
#endif

static const rn_backend *const cuda = &rn_cuda_backend;
static char folder[] = "/tmp/resnetd-chunks-XXXXXX"; /* of measured choices: only the first prepare measures convolutions */
static unsigned char pixels[MAX_BATCH * ROW_BYTES];

static rn_plan *make_plan(int32_t version)
{
    const rn_synthetic_options options = {
        .version = version, .blocks = {1, 1, 1}, .width = 8, .groups = 1, .side = SIDE, .classes = CLASSES, .u8_input = true, .seed = 31};
    rn_plan *plan;
    rn_error err = {0};
    assert_int_equal(rn_synthetic_resnet(&options, &plan, &err), RN_STATUS_OK);
    assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
    return plan;
}

static char last_line[1024];

static void listen(void *context, const char *line)
{
    (void)context;
    snprintf(last_line, sizeof last_line, "%s", line);
}

static rn_status prepare(const rn_plan *plan, rn_executor **out, rn_error *err)
{
    const rn_backend_options options = {
        .max_batch = MAX_BATCH, .thread_count = 2, .precision = "fp16", .cache_directory = folder, .log = listen};
    last_line[0] = 0;
    return cuda->prepare(plan, &options, out, err);
}

static void run(rn_executor *e, int32_t rows, float *out)
{
    rn_error err = {0};
    const rn_batch_part part = {.rows = rows, .input = pixels, .outputs = {out}};
    memset(out, 0xff, (size_t)rows * CLASSES * sizeof *out);
    if (cuda->run(e, &e->plan->signatures[0], &part, 1, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
}

/* Records both slots of the largest bucket anew, divided like this. */
static void divide(rn_executor *e, rn__cuda_chunks chunks)
{
    const rn_signature *signature = &e->plan->signatures[0];
    const int32_t bucket = e->bucket_count - 1;
    *rn__cuda_chunks_of(e, signature, bucket) = chunks;
    for (int i = 0; i < RN__CUDA_SLOTS; i++) {
        cudaGraphExec_t *graph = rn__cuda_graph(e, signature, bucket, &e->slots[i]);
        assert_int_equal(cudaGraphExecDestroy(*graph), cudaSuccess);
        assert_int_equal(rn__cuda_schedule_record_slot(e, signature, bucket, &e->slots[i], NULL), RN_STATUS_OK);
    }
}

/* The first operation whose output is of that height or less. */
static int32_t first_of_height(const rn_plan *plan, int32_t height)
{
    const rn_signature *signature = &plan->signatures[0];
    for (int32_t i = 0; i < signature->op_count; i++) {
        const rn_op *op = &plan->ops[signature->ops[i]];
        if (plan->tensors[op->outputs[op->outputs[0] == RN_NONE]].h <= height) return i;
    }
    return 0;
}

static void chunks_change_nothing(void **state)
{
    (void)state;
    static float whole[MAX_BATCH * CLASSES], found[MAX_BATCH * CLASSES];
    rn_error err = {0};
    for (int32_t version = 1; version <= VERSIONS; version++) {
        rn_plan *plan = make_plan(version);
        rn_executor *e;
        if (prepare(plan, &e, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
        assert_non_null(e->chunk_arena);
        assert_true(e->chunk_bytes < e->arena_bytes);
        divide(e, (rn__cuda_chunks){0});
        run(e, MAX_BATCH, whole);
        const int32_t ends[] = {first_of_height(plan, SIDE / 8), first_of_height(plan, SIDE / 16)};
        assert_true(0 < ends[0] && ends[0] < ends[1]);
        for (int i = 0; i < 2; i++) {
            divide(e, (rn__cuda_chunks){.ops = ends[i], .bucket = 4}); /* 16 rows: the last of three chunks overlaps the second */
            for (int32_t rows = MAX_BATCH; rows > 32; rows -= 3) {     /* twice through each slot */
                run(e, rows, found);
                assert_memory_equal(found, whole, (size_t)rows * CLASSES * sizeof *found);
            }
        }
        cuda->destroy(e);
        assert_int_equal(rn_emulation_live_objects(), 0);
        rn_plan_destroy(plan);
    }
}

static void what_fails_while_chunks_are_measured(void **state)
{
    (void)state;
    static const char *const calls[] = {"cudaEventElapsedTime", "cudaGraphLaunch", "cudaGraphInstantiate"};
    rn_plan *plan = make_plan(1);
    rn_executor *e;
    rn_error err = {0};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        rn_emulation_fail(calls[i], 1, cudaErrorNotReady);
        assert_int_equal(prepare(plan, &e, &err), RN_STATUS_DEVICE_FAILED);
        rn_emulation_fail_none();
        assert_int_equal(rn_emulation_live_objects(), 0);
    }
    rn_plan_destroy(plan);
}

/* The third block of device memory, after weights and feature maps. */
static void no_memory_for_chunks(void **state)
{
    (void)state;
    rn_plan *plan = make_plan(1);
    rn_executor *e;
    rn_error err = {0};
    float found[CLASSES];
    rn_emulation_fail("cudaMalloc", 3, cudaErrorMemoryAllocation);
    if (prepare(plan, &e, &err) != RN_STATUS_OK) fail_msg("%s", err.message);
    rn_emulation_fail_none();
    assert_memory_equal(last_line, "batches are not run in chunks: CUDA: memory for chunks of a batch", 65);
    assert_null(e->chunk_arena);
    run(e, 1, found);
    cuda->destroy(e);
    assert_int_equal(rn_emulation_live_objects(), 0);
    rn_plan_destroy(plan);
}

static int make_folder(void **state)
{
    (void)state;
    srand(5);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (unsigned char)rand();
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[sizeof folder + 16];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_change_nothing),
        cmocka_unit_test(what_fails_while_chunks_are_measured),
        cmocka_unit_test(no_memory_for_chunks),
    };
    return cmocka_run_group_tests_name("chunks of a batch, emulated", tests, make_folder, remove_folder);
}
