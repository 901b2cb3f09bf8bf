/* What the TensorFlow Serving REST handlers (tfs_*.c) share. The contract is tensorflow_serving/g3doc/api_rest.md as implemented by
 * model_servers/http_rest_api_handler.cc and util/json_tensor.cc; texts of errors are theirs. */
#ifndef RN_HTTP_TFS_H
#define RN_HTTP_TFS_H

#include "http/exchange.h"
#include "http/json_reader.h"

/* The model that a URL names, with a reference for the caller. NOT_FOUND, or INVALID_ARGUMENT for a label that is not assigned. */
rn_status rn__tfs_acquire(rn_exchange *x, rn_model **out, int64_t *version, rn_error *err);
/* OVERLOADED when the model of the exchange's target has no room for another request: said before the body is read, which may cost more than
 * the answer. OK when there is no such model: that is for others to say. */
rn_status rn__tfs_check_room(rn_exchange *x, rn_error *err);

/* The body, inflated if need be: into *inflated, which the caller frees. */
rn_status rn__tfs_body(rn_exchange *x, rn_text *body, char **inflated, rn_error *err);

/* A predict, classify or regress body after the checks that come before any look at a model. */
enum { RN__TFS_SIGNATURE_NAME, RN__TFS_INSTANCES, RN__TFS_INPUTS, RN__TFS_EXAMPLES, RN__TFS_CONTEXT, RN__TFS_MEMBERS };

typedef struct rn__tfs_document {
    const char *root, *limit;
    rn_json_member members[RN__TFS_MEMBERS];
    char signature_name[RN_PLAN_NAME_BYTES]; /* "serving_default" without one; empty when longer than any name */
} rn__tfs_document;

rn_status rn__tfs_parse(rn_text body, rn__tfs_document *out, rn_error *err);

/* INVALID_ARGUMENT "JSON Value: <the value at `at`, shortened> <message>". */
rn_status rn__tfs_format_error(const char *at, const char *limit, const char *message, rn_error *err);

/* tfs_input.c: the request that the document asks for, its input filled in; `explained`: as rn_request_create_explained makes it. */
typedef enum { RN__TFS_ROWS, RN__TFS_COLUMNS } rn__tfs_format;

rn_status rn__tfs_read_input(const rn__tfs_document *document, rn_model *model, const rn_signature *signature, bool explained,
                             rn__tfs_format *format, rn_request **out, rn_error *err);

/* The position of the string in {"b64": string} without other members; NULL for anything else. */
const char *rn__tfs_base64_string(const char *at, const char *limit);

/* tfs_examples.c: whether the document holds Examples and nothing else where they belong. */
rn_status rn__tfs_check_examples(const rn__tfs_document *document, rn_error *err);

/* tfs_input_error.c: whether the string in such an object is base64. */
rn_status rn__tfs_check_base64(const char *at, const char *limit, rn_error *err);
/* What TensorFlow Serving says about an input that tfs_input.c could not read. Always an error. */
rn_status rn__tfs_explain_input(const rn__tfs_document *document, const rn_signature *signature, rn_error *err);

/* tfs_output.c: the answer of a finished request. */
void rn__tfs_write_output(const rn_request *request, rn__tfs_format format, rn_json_writer *out);
/* The only member of that, into an object that is open. */
void rn__tfs_write_output_member(const rn_request *request, rn__tfs_format format, rn_json_writer *out);

/* The signature that a document names. */
rn_status rn__tfs_signature(const rn__tfs_document *document, const rn_model *model, const rn_signature **out, rn_error *err);
/* A picture that cannot be read is named by its place, as other faulty elements are. */
void rn__tfs_fail_request(rn_exchange *x, const rn_request *request, rn__tfs_format format);

#endif
