/* The real cuDNN, without a GPU: it plans for devices that are only described. Every convolution of ResNet-101 V1 and V2, at the smallest
 * and largest batch buckets, in every precision, must have a way on each generation, and its first ways must build.
 *
 * This shows that the library understands our graphs and has engines for them, not that a device runs them. The descriptions are written
 * after the library's own error messages; a device's real one comes from CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka needs the four above. */
#include <cmocka.h>

#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/conv_cudnn.h"
#include "engine/cuda/conv_matmul.h"
#include "engine/cuda/cuda_executor.h"
#include "engine/passes.h"
#include "engine/synthetic.h"
#include "tests/cuda/cudnn_rules.h"

typedef struct {
    const char *name;
    int version, processors, shared_bytes;
} generation;

static const generation generations[] = {
    {"sm_80", 800, 108, 166912},
    {"sm_90", 900, 132, 232448},
    {"sm_100", 1000, 148, 232448},
    {"sm_120", 1200, 188, 101376},
};

static const struct {
    const char *name;
    rn_dtype storage;
    bool tf32;
} precisions[] = {
    {"fp16", RN_DTYPE_F16, false}, {"bf16", RN_DTYPE_BF16, false}, {"tf32", RN_DTYPE_F32, true}, {"fp32", RN_DTYPE_F32, false}};

static cudnnBackendDescriptor_t describe_device(const generation *g)
{
    cudnnBackendDescriptor_t device = NULL;
    char json[1024];
    const int length = snprintf(
        json, sizeof json,
        "{\"deviceName\":\"described\",\"deviceVer\":%d,\"driverVer\":13000,\"cudaDeviceId\":0,\"pciDeviceId\":0,\"isTccDriver\":0,"
        "\"supportCoopLaunch\":1,\"multiProcessorCount\":%d,\"warpSize\":32,\"regsPerBlock\":65536,\"maxRegistersPerSM\":65536,"
        "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"maxSharedMemoryPerBlock\":49152,"
        "\"maxSharedMemoryPerBlockOptin\":%d,\"reservedSharedMemoryPerBlock\":1024,\"maxGridSize\":[2147483647,65535,65535],"
        "\"maxBlockSize\":[1024,1024,64],\"totalGlobalMem\":80000000000,\"smClockRateKHz\":1700000,\"memClockRateKHz\":2600000,"
        "\"l2CacheSize\":50331648}",
        g->version, g->processors, g->shared_bytes);
    assert_int_equal(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device), CUDNN_STATUS_SUCCESS);
    assert_int_equal(cudnnBackendSetAttribute(device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, length + 1, json),
                     CUDNN_STATUS_SUCCESS);
    assert_int_equal(cudnnBackendFinalize(device), CUDNN_STATUS_SUCCESS);
    return device;
}

/* ---- shapes ---- */

enum { MAX_SHAPES = 256 };

typedef struct {
    rn__conv_shape shapes[MAX_SHAPES];
    const char *names[MAX_SHAPES];
    int count;
} shape_list;

static void add_shape(shape_list *list, const rn__conv_shape *shape, const char *name)
{
    for (int i = 0; i < list->count; i++) {
        if (rn__conv_equal(&list->shapes[i], shape)) return;
    }
    assert_true(list->count < MAX_SHAPES);
    list->names[list->count] = name;
    list->shapes[list->count++] = *shape;
}

/* Dense layers are cuBLASLt's. */
static void collect(const rn_plan *plan, rn_dtype storage, bool tf32, shape_list *list)
{
    rn_executor e = {.plan = plan, .storage = storage, .tf32 = tf32, .bucket_count = 2, .buckets = {1, 64}};
    rn_error err = {0};
    assert_int_equal(rn__cuda_tensors_lay_out(&e, &err), RN_STATUS_OK);
    for (int32_t o = 0; o < plan->op_count; o++) {
        if (plan->ops[o].kind != RN_OP_CONV2D) continue;
        for (int32_t b = 0; b < e.bucket_count; b++) {
            const rn__conv_shape shape = rn__cuda_conv_shape(&e, &plan->ops[o], e.buckets[b]);
            add_shape(list, &shape, plan->ops[o].name);
        }
    }
    free(e.tensors);
}

/* ---- planning ---- */

typedef struct {
    int ways, built, without;
} tally;

static void plan_shape(const rn__conv_shape *shape, const char *name, cudnnBackendDescriptor_t device, tally *t)
{
    rn_error err = {0};
    rn__cudnn_conv *conv = NULL;
    if (rn__cudnn_conv_create(shape, device, &conv, &err) != RN_STATUS_OK) fail_msg("%s: %s", name, err.message);
    bool any = false;
    for (int32_t way = 0; way < rn__cudnn_conv_count(conv) && way < 2; way++) {
        size_t bytes;
        t->ways++;
        if (rn__cudnn_conv_build(conv, way, &bytes, &err) != RN_STATUS_OK) continue;
        t->built++;
        any = true;
    }
    if (!any) {
        t->without++;
        print_message("%s, batch %d: cuDNN has no way%s\n", name, shape->n, rn__matmul_fits(shape) ? ", cuBLASLt does it" : "");
        if (!rn__matmul_fits(shape)) fail_msg("%s: %s", name, err.message);
    }
    rn__cudnn_conv_destroy(conv);
}

static void every_convolution_can_be_planned(void **state)
{
    (void)state;
    static const char *const networks[] = {"resnet101_v1", "resnet101_v2"};
    static shape_list list;
    for (size_t n = 0; n < 2; n++) {
        rn_plan *plan;
        rn_error err = {0};
        assert_int_equal(rn_synthetic_by_name(networks[n], &plan, &err), RN_STATUS_OK);
        assert_int_equal(rn_plan_optimize(plan, &err), RN_STATUS_OK);
        for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++) {
            list.count = 0;
            collect(plan, precisions[p].storage, precisions[p].tf32, &list);
            printf("%s %s, %d convolutions:", networks[n], precisions[p].name, list.count);
            for (size_t g = 0; g < sizeof generations / sizeof *generations; g++) {
                tally t = {0};
                cudnnBackendDescriptor_t device = describe_device(&generations[g]);
                for (int i = 0; i < list.count; i++) plan_shape(&list.shapes[i], list.names[i], device, &t);
                cudnnBackendDestroyDescriptor(device);
                printf("  %s %d of %d ways built", generations[g].name, t.built, t.ways);
            }
            printf("\n");
        }
        rn_plan_destroy(plan);
    }
}

/* Facts about cuDNN that this backend is built on; when one changes, there is something to gain. */
static void what_cudnn_does_not_do(void **state)
{
    (void)state;
    cudnnBackendDescriptor_t device = describe_device(&generations[1]);
    const rn__conv_shape mixed = {.n = 8,
                                  .h = 1,
                                  .w = 1,
                                  .c = 2048,
                                  .k = 1000,
                                  .p = 1,
                                  .q = 1,
                                  .r = 1,
                                  .s = 1,
                                  .stride_h = 1,
                                  .stride_w = 1,
                                  .groups = 1,
                                  .x_dtype = RN_DTYPE_F16,
                                  .y_dtype = RN_DTYPE_F32};
    rn__cudnn_conv *conv = NULL;
    rn_error err = {0};
    assert_int_equal(rn__cudnn_conv_create(&mixed, device, &conv, &err), RN_STATUS_OK);
    printf("f16 in, f32 out: %d ways (dense layers are left to cuBLASLt)\n", rn__cudnn_conv_count(conv));
    rn__cudnn_conv_destroy(conv);
    cudnnBackendDestroyDescriptor(device);
}

static void the_library_keeps_its_rules(void **state)
{
    (void)state;
    for (size_t g = 0; g < sizeof generations / sizeof *generations; g++) {
        cudnnBackendDescriptor_t device = describe_device(&generations[g]);
        check_cudnn_rules(device);
        cudnnBackendDestroyDescriptor(device);
    }
}

int main(void)
{
    printf("cuDNN %zu\n", cudnnGetVersion());
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_convolution_can_be_planned), cmocka_unit_test(what_cudnn_does_not_do),
                                       cmocka_unit_test(the_library_keeps_its_rules)};
    return cmocka_run_group_tests_name("cuDNN plans", tests, NULL, NULL);
}
