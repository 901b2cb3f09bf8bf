/* The part of cuBLASLt that the backend uses, on the host (tests only).
 *
 * What: D = epilogue(alpha * op(A) op(B) + beta * C) for f32, f16 and bf16 matrices in column order with f32 arithmetic; epilogues default,
 * bias, ReLU and both. The heuristics offer two ways.
 *
 * Why it checks more than it computes: a backend mistake (swapped sizes, a leading dimension, a bias pointer that was never set) must fail
 * here as it would on a GPU, so shapes and address ranges are validated on every call and anything outside the list above is refused with
 * NOT_SUPPORTED.
 */
#include "emulated_type.h"
#include "emulation_internal.h"

#include <cublasLt.h>

#include <cstring>
#include <vector>

using rn_emulation::count_object;
using rn_emulation::read_element;
using rn_emulation::Type;

struct cublasLtContext {
};

namespace
{

struct Description {
    cublasComputeType_t compute;
    cudaDataType scale;
    cublasOperation_t transpose_a, transpose_b;
    cublasLtEpilogue_t epilogue;
    cudaDataType bias_type;
    const void *bias;
};

/* Pretended needs of the two ways, to see that the backend asks for them and provides them. */
constexpr size_t workspace_bytes_of_way[] = {0, 3000};

struct Layout {
    cudaDataType type;
    uint64_t rows, columns;
    int64_t stride;
};

struct Preference {
    uint64_t workspace_bytes;
};

/* The opaque public types are large enough to hold these. */
template <class T, class Handle> T &inside(Handle handle)
{
    static_assert(sizeof(T) <= sizeof(*handle), "opaque type too small");
    return *reinterpret_cast<T *>(handle);
}

template <class T> bool assign(T &target, const void *value, size_t bytes)
{
    if (bytes != sizeof target) return false;
    std::memcpy(&target, value, bytes);
    return true;
}

template <class Opaque> cublasStatus_t create(Opaque **result)
{
    *result = new Opaque();
    count_object(1);
    return CUBLAS_STATUS_SUCCESS;
}

template <class Opaque> cublasStatus_t destroy(Opaque *object)
{
    if (object) count_object(-1);
    delete object;
    return CUBLAS_STATUS_SUCCESS;
}

bool has_bias(cublasLtEpilogue_t epilogue)
{
    return epilogue & CUBLASLT_EPILOGUE_BIAS;
}
bool has_relu(cublasLtEpilogue_t epilogue)
{
    return epilogue & CUBLASLT_EPILOGUE_RELU;
}

Type type_of(cudaDataType type)
{
    return type == CUDA_R_32F ? Type::f32 : type == CUDA_R_16F ? Type::f16 : type == CUDA_R_16BF ? Type::bf16 : Type::none;
}

size_t bytes_of(const Layout &layout)
{
    return rn_emulation::bytes_of(type_of(layout.type)) * (layout.stride * (layout.columns - 1) + layout.rows);
}

cublasStatus_t check(const Description &description, const Layout &a, const Layout &b, const Layout &c, const Layout &d)
{
    const bool tf32 = description.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && a.type == CUDA_R_32F;
    if ((description.compute != CUBLAS_COMPUTE_32F && !tf32) || description.scale != CUDA_R_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (a.type != b.type || c.type != d.type || (d.type != a.type && d.type != CUDA_R_32F)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (has_bias(description.epilogue) && description.bias_type != d.type) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (description.epilogue & ~CUBLASLT_EPILOGUE_RELU_BIAS & ~CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_NOT_SUPPORTED;
    for (const Layout *layout : {&a, &b, &c, &d})
        if (type_of(layout->type) == Type::none || layout->rows == 0 || layout->columns == 0 ||
            layout->stride < static_cast<int64_t>(layout->rows))
            return CUBLAS_STATUS_INVALID_VALUE;
    bool ta = description.transpose_a != CUBLAS_OP_N, tb = description.transpose_b != CUBLAS_OP_N;
    uint64_t rows = ta ? a.columns : a.rows, depth_a = ta ? a.rows : a.columns;
    uint64_t columns = tb ? b.rows : b.columns, depth_b = tb ? b.columns : b.rows;
    if (depth_a != depth_b || rows != d.rows || columns != d.columns || c.rows != d.rows || c.columns != d.columns)
        return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

/* Dense f32 copy, depth contiguous for each row of the result. */
std::vector<float> gather(const void *from, const Layout &layout, bool depth_is_rows)
{
    std::vector<float> to(layout.rows * layout.columns);
    for (uint64_t column = 0; column < layout.columns; column++)
        for (uint64_t row = 0; row < layout.rows; row++)
            to[depth_is_rows ? column * layout.rows + row : row * layout.columns + column] =
                read_element(type_of(layout.type), from, column * layout.stride + row);
    return to;
}

} // namespace

extern "C" {

size_t cublasLtGetVersion(void)
{
    return CUBLAS_VERSION;
}

const char *cublasLtGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "no error" : "emulated cuBLASLt error";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    RN_EMULATION_CALL(cublasStatus_t);
    return create(handle);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    return destroy(handle);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *result, cublasComputeType_t compute, cudaDataType_t scale)
{
    RN_EMULATION_CALL(cublasStatus_t);
    create(result);
    inside<Description>(*result) = {compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, CUDA_R_16F, nullptr};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t object)
{
    return destroy(object);
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t object, cublasLtMatmulDescAttributes_t attribute, const void *value,
                                              size_t bytes)
{
    RN_EMULATION_CALL(cublasStatus_t);
    Description &description = inside<Description>(object);
    bool done = false;
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        done = assign(description.transpose_a, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
        done = assign(description.transpose_b, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        done = assign(description.epilogue, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        done = assign(description.bias_type, value, bytes);
        break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        done = assign(description.bias, value, bytes);
        break;
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return done ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *result, cudaDataType type, uint64_t rows, uint64_t columns,
                                          int64_t stride)
{
    RN_EMULATION_CALL(cublasStatus_t);
    create(result);
    inside<Layout>(*result) = {type, rows, columns, stride};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t object)
{
    return destroy(object);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *result)
{
    RN_EMULATION_CALL(cublasStatus_t);
    return create(result);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t object)
{
    return destroy(object);
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t object, cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    RN_EMULATION_CALL(cublasStatus_t);
    uint32_t number;
    bool done = false;
    switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
        done = assign(inside<Preference>(object).workspace_bytes, value, bytes);
        break;
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
        done = assign(number, value, bytes);
        break;
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return done ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int *returned)
{
    RN_EMULATION_CALL(cublasStatus_t);
    *returned = 0;
    cublasStatus_t status =
        check(inside<Description>(description), inside<Layout>(a), inside<Layout>(b), inside<Layout>(c), inside<Layout>(d));
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    if (requested < 1) return CUBLAS_STATUS_INVALID_VALUE;
    for (size_t bytes_needed : workspace_bytes_of_way) {
        if (*returned == requested || bytes_needed > inside<Preference>(preference).workspace_bytes) continue;
        cublasLtMatmulHeuristicResult_t &result = results[(*returned)++];
        std::memset(&result, 0, sizeof result);
        result.workspaceSize = bytes_needed;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t description_handle, const void *alpha, const void *a,
                              cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout, const void *beta,
                              const void *c, cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t *, void *workspace, size_t workspace_bytes, cudaStream_t stream)
{
    RN_EMULATION_CALL(cublasStatus_t);
    Description description = inside<Description>(description_handle);
    Layout la = inside<Layout>(a_layout), lb = inside<Layout>(b_layout);
    Layout lc = inside<Layout>(c_layout), ld = inside<Layout>(d_layout);
    cublasStatus_t status = check(description, la, lb, lc, ld);
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    float scale = *static_cast<const float *>(alpha), keep = *static_cast<const float *>(beta);
    rn_emulation::require_device_range(a, bytes_of(la), "matmul A");
    rn_emulation::require_device_range(b, bytes_of(lb), "matmul B");
    if (keep != 0) rn_emulation::require_device_range(c, bytes_of(lc), "matmul C");
    rn_emulation::require_device_range(d, bytes_of(ld), "matmul D");
    if (has_bias(description.epilogue))
        rn_emulation::require_device_range(description.bias, ld.rows * rn_emulation::bytes_of(type_of(ld.type)), "bias");
    if (workspace_bytes) rn_emulation::require_device_range(workspace, workspace_bytes, "matmul workspace");

    cudaError_t error = rn_emulation::enqueue(stream, [=] {
        bool ta = description.transpose_a != CUBLAS_OP_N;
        bool tb = description.transpose_b != CUBLAS_OP_N;
        uint64_t depth = ta ? la.rows : la.columns;
        std::vector<float> left = gather(a, la, ta);
        std::vector<float> right = gather(b, lb, !tb);
        const Type type = type_of(ld.type);
        for (uint64_t column = 0; column < ld.columns; column++) {
            for (uint64_t row = 0; row < ld.rows; row++) {
                float sum = rn_emulation::dot(&left[row * depth], &right[column * depth], static_cast<int64_t>(depth));
                sum *= scale;
                if (keep != 0) sum += keep * read_element(type, c, column * lc.stride + row);
                if (has_bias(description.epilogue)) sum += read_element(type, description.bias, row);
                if (has_relu(description.epilogue) && sum < 0) sum = 0;
                rn_emulation::write_element(type, d, column * ld.stride + row, sum);
            }
        }
    });
    return error ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

} // extern "C"
