/* What the handlers of the Open Inference Protocol, version 2, share: REST (v2_*.c) and gRPC (grpc_v2_*.c). The contract is KServe's
 * docs/predict-api/v2 with Triton's extensions (docs/protocol); texts of errors follow Triton's where it has one.
 *
 * A model of this protocol has one list of inputs and outputs, a SavedModel has several signatures. A model name stands for its signature
 * "serving_default", or for its first one when none has that name. Another signature is named by the parameter "signature_name": of the
 * request where it has parameters, of the query where it has not (metadata, configuration, a bare tensor).
 */
#ifndef RN_HTTP_V2_H
#define RN_HTTP_V2_H

#include "http/exchange.h"

/* An output that models whose networks can be explained have besides their own: [rows,h,w], the class activation map. It is computed for those who
 * name it among their outputs. An output of the model's own that is called so goes before it. */
#define RN__V2_EXPLANATION "explanation"

/* ---- what a call asks for, whichever way it came ---- */

enum { RN__V2_MAX_DIMS = 8, RN__V2_DATATYPE_BYTES = 16 };

typedef enum {
    RN__V2_NO_DATA,
    RN__V2_RAW,     /* bytes as they lie in memory, little-endian; BYTES: each with its size in front, 32 bits */
    RN__V2_PICTURE, /* the bytes of one element, without a size in front */
    RN__V2_JSON,    /* an array of the query's document */
    RN__V2_TYPED,   /* a list for the type in a message */
} rn__v2_source;

typedef struct rn__v2_input {
    char name[RN_PLAN_NAME_BYTES], datatype[RN__V2_DATATYPE_BYTES];
    int32_t rank;
    int64_t dims[RN__V2_MAX_DIMS]; /* of `rank`; none is negative */
    rn__v2_source source;
    rn_text raw;      /* RAW, PICTURE */
    const char *json; /* JSON: the position of the array */
} rn__v2_input;

typedef struct rn__v2_wanted {
    char name[RN_PLAN_NAME_BYTES];
    int64_t class_count; /* this many best classes as text; 0: the tensor itself */
    bool binary;         /* raw bytes behind the JSON */
    bool has_class;      /* of the explanation: whose map; without it the top class's of each row */
    int64_t class;       /* not negative */
} rn__v2_wanted;

typedef struct rn__v2_query {
    char signature_name[RN_PLAN_NAME_BYTES]; /* empty: the model's */
    int64_t priority;                        /* 1: before calls that say nothing, 2: like them, more: after them; 0: not said */
    int64_t timeout_us;                      /* 0: not said */
    bool binary_outputs;                     /* of outputs that are not asked for by name */
    bool bare;                               /* nothing but the input's bytes: name, type and shape are the signature's */
    int32_t input_count;
    rn__v2_input input; /* the first one: no signature here has two */
    int32_t output_count;
    rn__v2_wanted outputs[RN_PLAN_MAX_OUTPUTS];
    const char *limit; /* JSON: the end of the document */
    const char *id;    /* JSON: the position of a string, or NULL */
} rn__v2_query;

/* v2_parameters.c: a parameter of a request or an output, from JSON or a message. */
typedef struct rn__v2_parameter {
    rn_text name;
    enum { RN__V2_BOOL, RN__V2_INT, RN__V2_STRING, RN__V2_OTHER } kind;
    bool boolean;
    int64_t integer;
    rn_text string;
} rn__v2_parameter;

rn_status rn__v2_set_request_parameter(rn__v2_query *query, const rn__v2_parameter *parameter, rn_error *err);
rn_status rn__v2_set_output_parameter(rn__v2_wanted *output, const rn__v2_parameter *parameter, rn_error *err);
/* Copies a name or type; fails when it cannot be one. `what`: "input name". */
rn_status rn__v2_copy_text(char *out, size_t capacity, rn_text text, const char *what, rn_error *err);

/* v2_query.c: a REST body. `json_bytes` is the header Inference-Header-Content-Length, or without one `at` is NULL. *query points into the
 * body. */
rn_status rn__v2_parse(rn_text body, rn_text json_bytes, rn__v2_query *query, rn_error *err);

/* ---- models ---- */

#define RN__V2_PLATFORM "tensorflow_savedmodel"

enum { RN__V2_MAX_VERSIONS = 256 };

typedef struct rn__v2_versions {
    int32_t count;
    char text[RN__V2_MAX_VERSIONS][24]; /* rising */
} rn__v2_versions;

/* The versions that answer. */
rn_status rn__v2_list_versions(rn_serving *serving, rn_text name, rn__v2_versions *out, rn_error *err);

/* v2_model.c: as rn_serving_acquire, with Triton's words for a model that is not there. */
rn_status rn__v2_acquire(const rn_service *service, rn_text name, int64_t version, rn_text label, rn_model **out, int64_t *found,
                         rn_error *err);
/* What GET /v2 and ServerMetadata list. */
extern const char *const rn__v2_extensions[];
extern const int32_t rn__v2_extension_count;

/* The signature that `name` (empty: none was given) stands for. */
rn_status rn__v2_signature(const rn_model *model, const char *name, const rn_signature **out, rn_error *err);
const char *rn__v2_datatype(const rn_tensor_spec *spec); /* "FP32": static */

/* ---- one call ---- */

typedef struct rn__v2_output {
    int32_t index;       /* of the signature's; RN_NONE: the explanation */
    int32_t class_count; /* 0: the tensor itself */
    bool binary;
} rn__v2_output;

typedef struct rn__v2_call {
    int64_t version;
    rn_request *request;
    int32_t output_count;
    rn__v2_output outputs[RN_PLAN_MAX_OUTPUTS]; /* those that are sent, in this order */
} rn__v2_call;

/* v2_call.c: checks everything that the query says and makes the request. Its input is filled in, unless it is TYPED. Bytes that the query
 * points to must live as long as the request. model_name is for messages. */
rn_status rn__v2_prepare(const rn__v2_query *query, rn_text model_name, rn_model *model, rn__v2_call *out, rn_error *err);

/* Why a request failed, which it did: a picture that cannot be read is named by its place. */
rn_status rn__v2_request_error(const rn_request *request, rn_error *err);

/* v2_input.c: the number of rows that the query's input has, after a look at its type and shape. */
rn_status rn__v2_check_input(const rn__v2_query *query, rn_text model_name, const rn_plan *plan, const rn_signature *signature,
                             int64_t *rows, rn_error *err);
/* Fills in RAW, PICTURE and JSON data. */
rn_status rn__v2_read_input(const rn__v2_query *query, rn_request *request, rn_error *err);

/* v2_output.c: an output of a finished request as a tensor in memory. */
typedef struct rn__v2_tensor {
    const char *name, *datatype; /* static or the signature's */
    int32_t rank;
    int64_t dims[RN_PLAN_MAX_RANK];
    size_t element_count;
    rn_text raw;  /* little-endian; BYTES: each with its size in front */
    char *memory; /* of raw, when the request does not hold it */
} rn__v2_tensor;

rn_status rn__v2_tensor_init(rn__v2_tensor *out, const rn_request *request, const rn__v2_output *output, rn_error *err);
void rn__v2_tensor_deinit(rn__v2_tensor *tensor);                         /* zeroed allowed */
void rn__v2_write_data(rn_json_writer *out, const rn__v2_tensor *tensor); /* a flat array */

/* v2_repository.c: Triton's word for a state: static. */
const char *rn__v2_version_state(rn_version_state state);

/* ---- REST ---- */

/* v2_model.c: {"error": message} on one line, and the value of a query parameter ("" without it, longer ones are cut). */
void rn__v2_fail(rn_exchange *x, const rn_error *err);
void rn__v2_fail_code(rn_exchange *x, int32_t code, const char *format, ...) __attribute__((format(printf, 3, 4)));
void rn__v2_query_value(const rn_exchange *x, const char *name, char *out, size_t capacity);

#endif
