/* What the handlers of TensorFlow Serving's gRPC services (grpc_*.c) share. The contract is the messages in tensorflow_serving/apis as
 * implemented by model_servers/ and servables/tensorflow/; texts of errors are theirs. */
#ifndef RN_HTTP_GRPC_TFS_H
#define RN_HTTP_GRPC_TFS_H

#include "http/grpc_call.h"
#include "http/grpc_message.h"
#include "http/proto/tfs.pb-c.h"

#define RN__GRPC_PREDICTION_SERVICE "tensorflow.serving.PredictionService"
#define RN__GRPC_MODEL_SERVICE "tensorflow.serving.ModelService"

/* grpc_model_spec.c */

/* The model that `spec` (NULL: none was sent) names, with a reference for the caller, and its version. */
rn_status rn__grpc_acquire(rn__grpc_call *call, const Tfs__ModelSpec *spec, rn_model **out, int64_t *version, rn_error *err);

/* The name of the signature that is asked for: "serving_default" without one. */
rn_text rn__grpc_signature_name(const Tfs__ModelSpec *spec);
const rn_signature *rn__grpc_signature(const rn_model *model, rn_text name); /* NULL: there is none of that name */

/* A ModelSpec for an answer, in one piece of memory that must stay where it is. */
typedef struct rn__grpc_model_spec {
    Tfs__ModelSpec message;
    Tfs__Int64Value version;
} rn__grpc_model_spec;

void rn__grpc_model_spec_init(rn__grpc_model_spec *out, ProtobufCBinaryData name, int64_t version);

/* grpc_predict.c: the signature that a predict request asks for, and the only tensor that it may send. */
rn_status rn__grpc_predict_input(const Tfs__PredictRequest *message, const rn_model *model, const rn_signature **signature,
                                 const Sm__Tensor **tensor, rn_error *err);

/* grpc_tensor_input.c: a request whose input is `tensor`, which must live as long as the request. A tensor counts as large as it would be
 * without shorthand for repeated values: OUT_OF_MEMORY beyond max_bytes. */
rn_status rn__grpc_read_input(const Sm__Tensor *tensor, rn_model *model, const rn_signature *signature, size_t max_bytes, rn_request **out,
                              rn_error *err);

/* grpc_tensor_output.c: tensors of answers, each in one piece of memory that must stay where it is. */
typedef struct rn__grpc_shape {
    Sm__TensorShape message;
    Sm__TensorShape__Dim dims[RN_PLAN_MAX_RANK], *list[RN_PLAN_MAX_RANK];
} rn__grpc_shape;

void rn__grpc_shape_init(rn__grpc_shape *out, const rn_tensor_spec *spec, int64_t rows); /* rows: -1 for any number */

typedef struct rn__grpc_tensor {
    Sm__Tensor message;
    rn__grpc_shape shape;
    void *memory; /* what `message` points to and the request does not hold; NULL: nothing */
} rn__grpc_tensor;

/* Output `index` of a finished request, which must outlive *out. as_content: raw bytes in tensor_content instead of a list of values. */
rn_status rn__grpc_tensor_init(rn__grpc_tensor *out, const rn_request *request, int32_t index, bool as_content, rn_error *err);
void rn__grpc_tensor_deinit(rn__grpc_tensor *tensor);

#endif
