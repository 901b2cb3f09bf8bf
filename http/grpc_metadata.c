/* PredictionService.GetModelMetadata: servables/tensorflow/get_model_metadata_impl.cc. The signatures travel as a packed SignatureDefMap
 * inside an Any. */
#include <stdlib.h>

#include "http/grpc_tfs.h"

/* A tensor of a signature, in one piece of memory that must stay where it is. */
typedef struct {
    Sm__Signature__TensorEntry entry;
    Sm__TensorInfo info;
    rn__grpc_shape shape;
} tensor;

typedef struct {
    Sm__SignatureEntry entry;
    Sm__Signature message;
    tensor input, outputs[RN_PLAN_MAX_OUTPUTS];
    Sm__Signature__TensorEntry *input_list[1], *output_list[RN_PLAN_MAX_OUTPUTS];
} signature;

/* Messages that are encoded only: protobuf-c's structs have no const. */
static char *unconst(const char *text)
{
    return (char *)text;
}

static Sm__Signature__TensorEntry *init_tensor(tensor *t, const rn_tensor_spec *spec)
{
    sm__signature__tensor_entry__init(&t->entry);
    sm__tensor_info__init(&t->info);
    rn__grpc_shape_init(&t->shape, spec, spec->dims[0]);
    t->info.name = unconst(spec->tf_name);
    t->info.dtype = rn_dtype_tf_number(spec->dtype);
    t->info.tensor_shape = &t->shape.message;
    t->entry.key = unconst(spec->name);
    t->entry.value = &t->info;
    return &t->entry;
}

static Sm__SignatureEntry *init_signature(signature *s, const rn_signature *from)
{
    sm__signature_entry__init(&s->entry);
    sm__signature__init(&s->message);
    s->input_list[0] = init_tensor(&s->input, &from->input);
    for (int32_t i = 0; i < from->output_count; i++) s->output_list[i] = init_tensor(&s->outputs[i], &from->outputs[i]);
    s->message.n_inputs = 1;
    s->message.inputs = s->input_list;
    s->message.n_outputs = (size_t)from->output_count;
    s->message.outputs = s->output_list;
    s->message.method_name = unconst(from->method_name);
    s->entry.key = unconst(from->name);
    s->entry.value = &s->message;
    return &s->entry;
}

/* The plan's signatures as an encoded SignatureDefMap, which the caller frees. */
static rn_status encode_signatures(const rn_plan *plan, ProtobufCBinaryData *out, rn_error *err)
{
    const size_t count = (size_t)plan->signature_count;
    Tfs__SignatureDefMap map = TFS__SIGNATURE_DEF_MAP__INIT;
    Sm__SignatureEntry *list[RN_PLAN_MAX_SIGNATURES];
    signature *signatures = malloc(count * sizeof *signatures);
    if (!signatures) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu signatures", count);
    for (size_t i = 0; i < count; i++) list[i] = init_signature(&signatures[i], &plan->signatures[i]);
    map.n_signature_def = count;
    map.signature_def = list;
    out->len = tfs__signature_def_map__get_packed_size(&map);
    out->data = malloc(out->len + 1);
    if (out->data) tfs__signature_def_map__pack(&map, out->data);
    free(signatures);
    return out->data ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %zu signatures", count);
}

static rn_status check_fields(const Tfs__GetModelMetadataRequest *request, rn_error *err)
{
    if (!request->model_spec) return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Missing ModelSpec");
    if (request->n_metadata_field == 0)
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field");
    for (size_t i = 0; i < request->n_metadata_field; i++) {
        const rn_text field = rn__grpc_text(request->metadata_field[i]);
        if (!rn_text_equals(field, "signature_def"))
            return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "Metadata field %.*s is not supported", RN_TEXT_ARG(field));
    }
    return RN_STATUS_OK;
}

static rn_status find_signatures(rn__grpc_call *call, ProtobufCBinaryData *out, int64_t *version, rn_error *err)
{
    const Tfs__GetModelMetadataRequest *request = (const Tfs__GetModelMetadataRequest *)call->request;
    rn_model *model;
    RN_TRY(check_fields(request, err));
    RN_TRY(rn__grpc_acquire(call, request->model_spec, &model, version, err));
    const rn_status status = encode_signatures(rn_model_plan(model), out, err);
    rn_model_release(model);
    return status;
}

void rn__grpc_get_model_metadata(rn__grpc_call *call)
{
    const Tfs__GetModelMetadataRequest *request = (const Tfs__GetModelMetadataRequest *)call->request;
    Tfs__Any any = TFS__ANY__INIT;
    int64_t version;
    rn_error err;
    if (find_signatures(call, &any.value, &version, &err) != RN_STATUS_OK) {
        rn__grpc_fail(call, &err);
        return;
    }
    Tfs__GetModelMetadataResponse response = TFS__GET_MODEL_METADATA_RESPONSE__INIT;
    Tfs__GetModelMetadataResponse__Entry entry = TFS__GET_MODEL_METADATA_RESPONSE__ENTRY__INIT, *list[] = {&entry};
    rn__grpc_model_spec spec;
    rn__grpc_model_spec_init(&spec, request->model_spec->name, version);
    any.type_url = unconst("type.googleapis.com/tensorflow.serving.SignatureDefMap");
    entry.key = unconst("signature_def");
    entry.value = &any;
    response.model_spec = &spec.message;
    response.n_metadata = 1;
    response.metadata = list;
    rn__grpc_answer(call, &response.base);
    free(any.value.data);
}
