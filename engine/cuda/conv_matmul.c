/* See conv_matmul.h.
 *
 * cuBLASLt thinks in columns. An NHWC map seen so is a matrix of c rows and one column a pixel, a filter [k][c] is c x k, and
 *
 *     y[k x pixels] = relu?(filter^T [k x c] * x [c x pixels] + 1 * residual [k x pixels] + bias [k])
 *
 * is one call: the bias belongs to rows, which are channels, and beta = 1 adds the residual before the epilogue. Sums over split depth are
 * restricted to f32 partial sums in the workspace, so results repeat and round once.
 */
#include "engine/cuda/conv_matmul.h"

#include <stdlib.h>

enum {
    MAX_WAYS = 6,
    ALIGNMENT_BYTES = 64 /* of every operand: what the arena promises */
};

struct rn__matmul {
    rn__conv_shape shape;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t filter, x, y;
    cublasLtMatmulHeuristicResult_t ways[MAX_WAYS];
    int way_count;
};

#define TRY(expression, what)                                                                   \
    do {                                                                                        \
        const cublasStatus_t try_status = (expression);                                         \
        if (try_status != CUBLAS_STATUS_SUCCESS) return rn__cublas_fail(try_status, what, err); \
    } while (0)

rn_status rn__cublas_fail(cublasStatus_t status, const char *what, rn_error *err)
{
    rn_status code = RN_STATUS_DEVICE_FAILED;
    if (status == CUBLAS_STATUS_ALLOC_FAILED) code = RN_STATUS_OUT_OF_MEMORY;
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) code = RN_STATUS_UNSUPPORTED;
    if (status == CUBLAS_STATUS_INVALID_VALUE) code = RN_STATUS_INTERNAL;
    return RN_FAIL(err, code, "cuBLASLt: %s: %s", what, cublasLtGetStatusString(status));
}

bool rn__matmul_fits(const rn__conv_shape *s)
{
    return s->r == 1 && s->s == 1 && s->stride_h == 1 && s->stride_w == 1 && s->groups == 1 && s->p == s->h && s->q == s->w &&
           s->pad_top == 0 && s->pad_left == 0;
}

static cudaDataType_t data_type(rn_dtype dtype)
{
    return dtype == RN_DTYPE_F16 ? CUDA_R_16F : dtype == RN_DTYPE_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static rn_status describe(rn__matmul *m, rn_error *err)
{
    const rn__conv_shape *s = &m->shape;
    const cudaDataType_t x = data_type(s->x_dtype), y = data_type(s->y_dtype);
    const uint64_t pixels = (uint64_t)s->n * (uint64_t)s->p * (uint64_t)s->q, c = (uint64_t)s->c, k = (uint64_t)s->k;
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t epilogue = s->relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    TRY(cublasLtMatmulDescCreate(&m->product, s->tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F), "a product");
    TRY(cublasLtMatmulDescSetAttribute(m->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed), "transposition");
    TRY(cublasLtMatmulDescSetAttribute(m->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue), "an epilogue");
    TRY(cublasLtMatmulDescSetAttribute(m->product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &y, sizeof y), "the type of a bias");
    TRY(cublasLtMatrixLayoutCreate(&m->filter, x, c, k, s->c), "a filter's layout");
    TRY(cublasLtMatrixLayoutCreate(&m->x, x, c, pixels, s->c), "an input's layout");
    TRY(cublasLtMatrixLayoutCreate(&m->y, y, k, pixels, s->k), "an output's layout");
    return RN_STATUS_OK;
}

static rn_status set_preferences(cublasLtMatmulPreference_t preference, rn_error *err)
{
    static const cublasLtMatmulPreferenceAttributes_t operands[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
    };
    const size_t workspace = RN__CONV_WORKSPACE_LIMIT;
    const uint32_t reduction = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, alignment = ALIGNMENT_BYTES;
    TRY(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace),
        "a limit");
    TRY(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reduction, sizeof reduction),
        "the way of reduction");
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        TRY(cublasLtMatmulPreferenceSetAttribute(preference, operands[i], &alignment, sizeof alignment), "an alignment");
    }
    return RN_STATUS_OK;
}

static rn_status find_ways(rn__matmul *m, cublasLtHandle_t handle, rn_error *err)
{
    cublasLtMatmulPreference_t preference;
    TRY(cublasLtMatmulPreferenceCreate(&preference), "preferences");
    rn_status status = set_preferences(preference, err);
    if (status == RN_STATUS_OK) {
        const cublasStatus_t found =
            cublasLtMatmulAlgoGetHeuristic(handle, m->product, m->filter, m->x, m->y, m->y, preference, MAX_WAYS, m->ways, &m->way_count);
        if (found == CUBLAS_STATUS_NOT_SUPPORTED)
            m->way_count = 0;
        else if (found != CUBLAS_STATUS_SUCCESS)
            status = rn__cublas_fail(found, "the heuristics", err);
    }
    cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

rn_status rn__matmul_create(const rn__conv_shape *shape, cublasLtHandle_t handle, rn__matmul **out, rn_error *err)
{
    rn__matmul *m = calloc(1, sizeof *m);
    if (!m) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to describe a matrix product");
    m->shape = *shape;
    rn_status status = describe(m, err);
    if (status == RN_STATUS_OK) status = find_ways(m, handle, err);
    if (status == RN_STATUS_OK)
        *out = m;
    else
        rn__matmul_destroy(m);
    return status;
}

void rn__matmul_destroy(rn__matmul *m)
{
    if (!m) return;
    if (m->y) cublasLtMatrixLayoutDestroy(m->y);
    if (m->x) cublasLtMatrixLayoutDestroy(m->x);
    if (m->filter) cublasLtMatrixLayoutDestroy(m->filter);
    if (m->product) cublasLtMatmulDescDestroy(m->product);
    free(m);
}

int32_t rn__matmul_count(const rn__matmul *m)
{
    return m->way_count;
}

size_t rn__matmul_workspace_bytes(const rn__matmul *m, int32_t way)
{
    return m->ways[way].workspaceSize;
}

rn_status rn__matmul_run(rn__matmul *m, int32_t way, cublasLtHandle_t handle, const rn__conv_buffers *b, cudaStream_t stream, rn_error *err)
{
    const float one = 1, beta = m->shape.residual ? 1 : 0;
    const cublasLtMatmulHeuristicResult_t *algorithm = &m->ways[way];
    TRY(cublasLtMatmulDescSetAttribute(m->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &b->bias, sizeof b->bias), "a bias");
    TRY(cublasLtMatmul(handle, m->product, &one, b->filter, m->filter, b->x, m->x, &beta, m->shape.residual ? b->residual : b->y, m->y,
                       b->y, m->y, &algorithm->algo, b->workspace, algorithm->workspaceSize, stream),
        "a product");
    return RN_STATUS_OK;
}
