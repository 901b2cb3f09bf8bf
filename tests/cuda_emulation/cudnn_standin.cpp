/* cuDNN's backend (graph) API for one family of graphs, on the host (tests only): a forward convolution followed by pointwise additions and
 * ReLUs.
 *
 * How: a descriptor is a bag of attributes. A table says which attributes a descriptor type takes, of which type and count, and which must
 * be set before it is finalized; the library's state rules (no changes after finalize, only finalized descriptors as values) follow from
 * that alone. Executing a plan walks the operation list and evaluates it with f32 tensors.
 *
 * The heuristics offer the engines of one list: some good, some that a backend must recognise and leave alone. Strides are honoured, so
 * NHWC and NCHW both work; dilation and non-unit alpha are refused as unsupported.
 */
#include "emulated_type.h"
#include "emulation_internal.h"

#include <cudnn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

using rn_emulation::count_object;

struct cudnnContext {
    cudaStream_t stream;
};

namespace
{

struct Descriptor;
using Pointer = std::shared_ptr<Descriptor>;

struct Value {
    cudnnBackendAttributeType_t type;
    int64_t count;
    std::vector<unsigned char> bytes;
    std::vector<Pointer> descriptors;
};

struct Descriptor {
    cudnnBackendDescriptorType_t type;
    bool finalized = false;
    int64_t engine = 0; /* of an engine, a configuration or a plan: index into the list */
    std::map<cudnnBackendAttributeName_t, Value> values;

    template <class T> T get(cudnnBackendAttributeName_t name, int64_t index = 0) const
    {
        T result;
        std::memcpy(&result, values.at(name).bytes.data() + index * sizeof(T), sizeof(T));
        return result;
    }
    const Descriptor &child(cudnnBackendAttributeName_t name, int64_t index = 0) const
    {
        return *values.at(name).descriptors[index];
    }
};

/* What cudnnBackendDescriptor_t points to. */
struct Handle {
    Pointer descriptor;
};

struct Rule {
    cudnnBackendDescriptorType_t descriptor;
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t least, most;
    bool required;
};

#define TENSOR CUDNN_BACKEND_TENSOR_DESCRIPTOR
#define CONV CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR
#define POINTWISE CUDNN_BACKEND_POINTWISE_DESCRIPTOR
#define OP_CONV CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR
#define OP_POINTWISE CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR
#define GRAPH CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR
#define HEUR CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR
#define PLAN CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR
#define DEVICE CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR
#define PACK CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR
#define DESCRIPTOR CUDNN_TYPE_BACKEND_DESCRIPTOR

const Rule rules[] = {
    {TENSOR, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, 1, true},
    {TENSOR, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
    {TENSOR, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, 4, true},
    {TENSOR, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, 4, true},
    {TENSOR, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, 1, true},
    {TENSOR, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, 1, false},
    {CONV, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
    {CONV, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, 1, true},
    {CONV, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, 1, true},
    {CONV, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, 2, true},
    {CONV, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, 2, true},
    {CONV, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, 2, true},
    {CONV, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, 2, true},
    {POINTWISE, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, 1, true},
    {POINTWISE, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, 1, true},
    {OP_CONV, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, DESCRIPTOR, 1, 1, true},
    {OP_CONV, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, DESCRIPTOR, 1, 1, true},
    {OP_CONV, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, DESCRIPTOR, 1, 1, true},
    {OP_CONV, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, DESCRIPTOR, 1, 1, true},
    {OP_CONV, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, CUDNN_TYPE_FLOAT, 1, 1, true},
    {OP_CONV, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, CUDNN_TYPE_FLOAT, 1, 1, true},
    {OP_POINTWISE, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, DESCRIPTOR, 1, 1, true},
    {OP_POINTWISE, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, DESCRIPTOR, 1, 1, true},
    {OP_POINTWISE, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, DESCRIPTOR, 1, 1, false},
    {OP_POINTWISE, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, DESCRIPTOR, 1, 1, true},
    {GRAPH, CUDNN_ATTR_OPERATIONGRAPH_OPS, DESCRIPTOR, 1, 8, true},
    {HEUR, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, DESCRIPTOR, 1, 1, true},
    {HEUR, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, 1, true},
    {HEUR, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, DESCRIPTOR, 1, 1, true},
    {DEVICE, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1, 1, true},
    {PLAN, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, DESCRIPTOR, 1, 1, true},
    {PLAN, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, DESCRIPTOR, 1, 1, true},
    {PACK, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 1, 32, true},
    {PACK, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 1, 32, true},
    {PACK, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, 1, true},
};

/* What the heuristics offer, in this order. The workspace is a pretended need, to see that the backend asks for it and provides it. */
struct Engine {
    std::vector<cudnnBackendNumericalNote_t> notes;
    int64_t workspace_bytes;
    bool can_be_planned;
};
const Engine engines[] = {
    {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, 4096, true},
    {{CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, 0, true},
    {{CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION}, 0, true},
    {{}, 0, false},
    {{}, 5000, true},
    {{}, int64_t(1) << 40, true},
};
constexpr int64_t engine_count = sizeof engines / sizeof *engines;

size_t size_of(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_INT64:
        return sizeof(int64_t);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
        return sizeof(void *);
    default:
        return 4; /* enums and float */
    }
}

Descriptor &resolve(cudnnBackendDescriptor_t handle)
{
    return *static_cast<Handle *>(handle)->descriptor;
}

struct Tensor {
    int64_t uid;
    cudnnDataType_t type;
    std::array<int64_t, 4> dims, strides; /* N, C, H, W */
    bool is_virtual;

    explicit Tensor(const Descriptor &d)
    {
        uid = d.get<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
        type = d.get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
        for (int i = 0; i < 4; i++) {
            dims[i] = d.get<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, i);
            strides[i] = d.get<int64_t>(CUDNN_ATTR_TENSOR_STRIDES, i);
        }
        is_virtual = d.values.count(CUDNN_ATTR_TENSOR_IS_VIRTUAL) && d.get<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
    }
    rn_emulation::Type element_type() const
    {
        return type == CUDNN_DATA_HALF       ? rn_emulation::Type::f16
               : type == CUDNN_DATA_BFLOAT16 ? rn_emulation::Type::bf16
                                             : rn_emulation::Type::f32;
    }
    int64_t elements() const
    {
        return dims[0] * dims[1] * dims[2] * dims[3];
    }
    int64_t offset(int64_t n, int64_t c, int64_t h, int64_t w) const
    {
        return n * strides[0] + c * strides[1] + h * strides[2] + w * strides[3];
    }
    template <class Visit> void each(Visit visit) const
    {
        int64_t dense = 0;
        for (int64_t n = 0; n < dims[0]; n++)
            for (int64_t h = 0; h < dims[2]; h++)
                for (int64_t w = 0; w < dims[3]; w++)
                    for (int64_t c = 0; c < dims[1]; c++) visit(dense++, offset(n, c, h, w));
    }
};

/* Tensor contents during one execution: dense f32 in N, H, W, C order. */
struct Execution {
    std::map<int64_t, void *> addresses;
    std::map<int64_t, std::vector<float>> contents;

    const std::vector<float> &read(const Tensor &tensor)
    {
        auto found = contents.find(tensor.uid);
        if (found != contents.end()) return found->second;
        std::vector<float> &values = contents[tensor.uid];
        values.resize(tensor.elements());
        const void *from = addresses.at(tensor.uid);
        tensor.each([&](int64_t to, int64_t at) { values[to] = rn_emulation::read_element(tensor.element_type(), from, at); });
        return values;
    }
    void write(const Tensor &tensor, std::vector<float> values)
    {
        if (!tensor.is_virtual) {
            void *to = addresses.at(tensor.uid);
            tensor.each([&](int64_t from, int64_t at) { rn_emulation::write_element(tensor.element_type(), to, at, values[from]); });
        }
        contents[tensor.uid] = std::move(values);
    }
};

/* [k][r][s][c] to [r][s][c][k]: the outputs of a pixel are summed side by side. */
std::vector<float> output_channels_inside(const std::vector<float> &filter, const Tensor &w)
{
    int64_t outputs = w.dims[0], taps = w.elements() / outputs;
    std::vector<float> turned(filter.size());
    for (int64_t k = 0; k < outputs; k++)
        for (int64_t i = 0; i < taps; i++) turned[i * outputs + k] = filter[k * taps + i];
    return turned;
}

void convolve(const Descriptor &op, Execution &execution)
{
    Tensor x(op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X));
    Tensor w(op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W));
    Tensor y(op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y));
    const Descriptor &conv = op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
    int64_t stride_h = conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 0);
    int64_t stride_w = conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, 1);
    int64_t pad_h = conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 0);
    int64_t pad_w = conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, 1);
    const float *input = execution.read(x).data();
    std::vector<float> filter = output_channels_inside(execution.read(w), w);
    int64_t channels = x.dims[1], outputs = y.dims[1], depth = w.dims[1], groups = channels / depth, group_outputs = outputs / groups;
    int64_t height = x.dims[2], width = x.dims[3];
    std::vector<float> result(y.elements());
    float *sums = result.data();
    for (int64_t n = 0; n < y.dims[0]; n++)
        for (int64_t oy = 0; oy < y.dims[2]; oy++)
            for (int64_t ox = 0; ox < y.dims[3]; ox++, sums += outputs)
                for (int64_t r = 0; r < w.dims[2]; r++)
                    for (int64_t s = 0; s < w.dims[3]; s++) {
                        int64_t iy = oy * stride_h + r - pad_h, ix = ox * stride_w + s - pad_w;
                        if (iy < 0 || iy >= height || ix < 0 || ix >= width) continue;
                        const float *pixel = input + ((n * height + iy) * width + ix) * channels;
                        const float *tap = filter.data() + (r * w.dims[3] + s) * depth * outputs;
                        for (int64_t g = 0; g < groups; g++)
                            rn_emulation::add_products(sums + g * group_outputs, group_outputs, pixel + g * depth, depth,
                                                       tap + g * group_outputs, outputs);
                    }
    execution.write(y, std::move(result));
}

void apply_pointwise(const Descriptor &op, Execution &execution)
{
    Tensor x(op.child(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
    Tensor y(op.child(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    const Descriptor &kind = op.child(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    std::vector<float> values = execution.read(x);
    if (kind.get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE) == CUDNN_POINTWISE_ADD) {
        Tensor b(op.child(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
        const std::vector<float> &added = execution.read(b);
        bool per_channel = b.elements() == b.dims[1];
        for (size_t i = 0; i < values.size(); i++) values[i] += added[per_channel ? i % b.dims[1] : i];
    } else {
        for (float &value : values)
            if (value < 0) value = 0;
    }
    execution.write(y, std::move(values));
}

bool conv_supported(const Descriptor &op)
{
    Tensor x(op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X));
    Tensor w(op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W));
    Tensor y(op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y));
    const Descriptor &conv = op.child(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
    if (op.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA) != 1 ||
        op.get<float>(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA) != 0)
        return false;
    if (x.dims[0] != y.dims[0] || x.dims[1] % w.dims[1] || w.dims[0] % (x.dims[1] / w.dims[1]) || w.dims[0] != y.dims[1]) return false;
    if (x.type != w.type) return false;
    for (int i = 0; i < 2; i++) {
        int64_t padded = x.dims[2 + i] + conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, i) +
                         conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, i);
        int64_t stride = conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, i);
        if (conv.get<int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, i) != 1) return false;
        if (y.dims[2 + i] != (padded - w.dims[2 + i]) / stride + 1) return false;
    }
    return true;
}

bool pointwise_supported(const Descriptor &op)
{
    Tensor x(op.child(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
    Tensor y(op.child(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    auto mode = op.child(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR).get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
    if (x.dims != y.dims) return false;
    if (mode == CUDNN_POINTWISE_RELU_FWD) return true;
    if (mode != CUDNN_POINTWISE_ADD || !op.values.count(CUDNN_ATTR_OPERATION_POINTWISE_BDESC)) return false;
    Tensor b(op.child(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
    return b.dims == x.dims || (b.elements() == b.dims[1] && b.dims[1] == x.dims[1]);
}

bool graph_supported(const Descriptor &graph)
{
    const std::vector<Pointer> &ops = graph.values.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors;
    for (const Pointer &op : ops) {
        if (op->type == OP_CONV ? !conv_supported(*op) : op->type != OP_POINTWISE || !pointwise_supported(*op)) return false;
    }
    return ops[0]->type == OP_CONV;
}

/* Every tensor of the graph, for address checks. */
void each_tensor(const Descriptor &graph, const std::function<void(const Tensor &)> &visit)
{
    for (const Pointer &op : graph.values.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors)
        for (const auto &[name, value] : op->values)
            for (const Pointer &child : value.descriptors)
                if (child->type == TENSOR) visit(Tensor(*child));
}

} // namespace

extern "C" {

size_t cudnnGetVersion(void)
{
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS ? "no error" : "emulated cuDNN error";
}

void cudnnGetLastErrorString(char *message, size_t max_size)
{
    if (max_size > 0) *message = 0;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    RN_EMULATION_CALL(cudnnStatus_t);
    *handle = new cudnnContext();
    count_object(1);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    if (handle) count_object(-1);
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    RN_EMULATION_CALL(cudnnStatus_t);
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *result)
{
    RN_EMULATION_CALL(cudnnStatus_t);
    Handle *handle = new Handle{std::make_shared<Descriptor>()};
    handle->descriptor->type = type;
    *result = handle;
    count_object(1);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t handle)
{
    if (handle) count_object(-1);
    delete static_cast<Handle *>(handle);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t handle, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                       int64_t count, const void *elements)
{
    RN_EMULATION_CALL(cudnnStatus_t);
    Descriptor &descriptor = resolve(handle);
    if (descriptor.finalized) return CUDNN_STATUS_BAD_PARAM;
    for (const Rule &rule : rules) {
        if (rule.descriptor != descriptor.type || rule.name != name) continue;
        if (rule.type != type) return CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE;
        if (count < rule.least || count > rule.most || !elements) return CUDNN_STATUS_BAD_PARAM;
        Value value{type, count, {}, {}};
        if (type == DESCRIPTOR) {
            auto *children = static_cast<const cudnnBackendDescriptor_t *>(elements);
            for (int64_t i = 0; i < count; i++) {
                if (!resolve(children[i]).finalized) return CUDNN_STATUS_BAD_PARAM;
                value.descriptors.push_back(static_cast<Handle *>(children[i])->descriptor);
            }
        } else {
            auto *bytes = static_cast<const unsigned char *>(elements);
            value.bytes.assign(bytes, bytes + count * size_of(type));
        }
        descriptor.values[name] = std::move(value);
        return CUDNN_STATUS_SUCCESS;
    }
    return CUDNN_STATUS_BAD_PARAM;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t handle)
{
    RN_EMULATION_CALL(cudnnStatus_t);
    Descriptor &descriptor = resolve(handle);
    if (descriptor.finalized) return CUDNN_STATUS_BAD_PARAM;
    for (const Rule &rule : rules)
        if (rule.descriptor == descriptor.type && rule.required && !descriptor.values.count(rule.name)) return CUDNN_STATUS_BAD_PARAM;
    if (descriptor.type == TENSOR)
        for (int64_t dimension : Tensor(descriptor).dims)
            if (dimension < 1) return CUDNN_STATUS_BAD_PARAM;
    if (descriptor.type == HEUR && !graph_supported(descriptor.child(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH)))
        return CUDNN_STATUS_NOT_SUPPORTED;
    if (descriptor.type == PACK &&
        descriptor.values[CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS].count != descriptor.values[CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS].count)
        return CUDNN_STATUS_BAD_PARAM;
    if (descriptor.type == PLAN) {
        descriptor.engine = descriptor.child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).engine;
        if (!engines[descriptor.engine].can_be_planned) return CUDNN_STATUS_NOT_SUPPORTED;
    }
    descriptor.finalized = true;
    return CUDNN_STATUS_SUCCESS;
}

/* The queries of the planning sequence. A configuration is a graph and the index of an engine. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const handle, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t requested, int64_t *returned, void *elements)
{
    RN_EMULATION_CALL(cudnnStatus_t);
    const Descriptor &descriptor = resolve(handle);
    if (!descriptor.finalized) return CUDNN_STATUS_NOT_INITIALIZED;
    int64_t ignored;
    int64_t &count = returned ? *returned : ignored;
    const Engine &engine = engines[descriptor.engine];
    if (descriptor.type == HEUR && name == CUDNN_ATTR_ENGINEHEUR_RESULTS && type == DESCRIPTOR && requested >= 1) {
        auto *configs = static_cast<cudnnBackendDescriptor_t *>(elements);
        for (int64_t i = 0; i < requested && i < engine_count; i++) {
            Descriptor &config = resolve(configs[i]);
            config.values[CUDNN_ATTR_ENGINECFG_ENGINE] = descriptor.values.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
            config.engine = i;
            config.finalized = true;
        }
        count = engine_count; /* as the library does: how many there are */
        return CUDNN_STATUS_SUCCESS;
    }
    if (descriptor.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR && name == CUDNN_ATTR_ENGINECFG_ENGINE && type == DESCRIPTOR &&
        requested >= 1) {
        Descriptor &result = resolve(*static_cast<cudnnBackendDescriptor_t *>(elements));
        result.engine = descriptor.engine;
        result.finalized = true;
        count = 1;
        return CUDNN_STATUS_SUCCESS;
    }
    if (descriptor.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR && name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE &&
        type == CUDNN_TYPE_NUMERICAL_NOTE) {
        count = std::min<int64_t>(requested, static_cast<int64_t>(engine.notes.size()));
        std::copy_n(engine.notes.begin(), count, static_cast<cudnnBackendNumericalNote_t *>(elements));
        return CUDNN_STATUS_SUCCESS;
    }
    const bool of_config = descriptor.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR && name == CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE;
    if ((of_config || (descriptor.type == PLAN && name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE)) && type == CUDNN_TYPE_INT64 &&
        requested >= 1) {
        *static_cast<int64_t *>(elements) = engine.workspace_bytes;
        count = 1;
        return CUDNN_STATUS_SUCCESS;
    }
    return CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t context, cudnnBackendDescriptor_t plan_handle, cudnnBackendDescriptor_t pack_handle)
{
    RN_EMULATION_CALL(cudnnStatus_t);
    const Descriptor &plan = resolve(plan_handle), &pack = resolve(pack_handle);
    if (plan.type != PLAN || pack.type != PACK || !plan.finalized || !pack.finalized) return CUDNN_STATUS_BAD_PARAM;
    Pointer graph = plan.child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).values.at(CUDNN_ATTR_ENGINECFG_ENGINE).descriptors[0];
    Execution start;
    for (int64_t i = 0; i < pack.values.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count; i++)
        start.addresses[pack.get<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, i)] =
            pack.get<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, i);
    each_tensor(*graph, [&](const Tensor &tensor) {
        if (tensor.is_virtual) return;
        auto found = start.addresses.find(tensor.uid);
        rn_emulation::require_device_range(found == start.addresses.end() ? nullptr : found->second,
                                           static_cast<size_t>(tensor.elements()) * rn_emulation::bytes_of(tensor.element_type()),
                                           "cuDNN tensor");
    });
    const int64_t workspace_bytes = engines[plan.engine].workspace_bytes;
    if (workspace_bytes > 0)
        rn_emulation::require_device_range(pack.get<void *>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE), workspace_bytes, "cuDNN workspace");
    for (cudnnBackendNumericalNote_t note : engines[plan.engine].notes)
        if (note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC || note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION)
            rn_emulation::die("an engine that a backend must not choose is executed");
    cudaError_t error = rn_emulation::enqueue(context->stream, [graph, start] {
        Execution execution = start;
        for (const Pointer &op : graph->values.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors) {
            if (op->type == OP_CONV)
                convolve(*op, execution);
            else
                apply_pointwise(*op, execution);
        }
    });
    return error ? CUDNN_STATUS_EXECUTION_FAILED : CUDNN_STATUS_SUCCESS;
}

} // extern "C"
