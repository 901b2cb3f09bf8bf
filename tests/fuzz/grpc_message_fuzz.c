/* Messages of gRPC calls: the first byte of the input picks a type, the second whether the rest is compressed. What is a message is packed
 * again, and an infer request is read as one. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/grpc_v2.h"
#include "http/proto/health.pb-c.h"
#include "http/proto/tfs.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 1 << 20 };

static const ProtobufCMessageDescriptor *const types[] = {
    &v2__model_infer_request__descriptor,       &v2__model_request__descriptor,
    &tfs__predict_request__descriptor,          &tfs__get_model_metadata_request__descriptor,
    &tfs__get_model_status_request__descriptor, &tfs__examples_request__descriptor,
    &tfs__multi_inference_request__descriptor,  &tfs__reload_config_request__descriptor,
    &health__check_request__descriptor,
};

static void read_infer(const V2__ModelInferRequest *message)
{
    static rn__v2_query query;
    rn_error err;
    if (rn__grpc_v2_parse(message, &query, &err) != RN_STATUS_OK) {
        assert(strlen(err.message) > 0);
        return;
    }
    assert(query.output_count <= RN_PLAN_MAX_OUTPUTS && query.input.rank <= RN__V2_MAX_DIMS);
    assert((size_t)query.input_count == message->n_inputs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof types / sizeof types[0])];
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)data + 2, size - 2);
    grpc_byte_buffer *bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    if (data[1] & 1) bytes->data.raw.compression = GRPC_COMPRESS_GZIP;
    ProtobufCMessage *message;
    rn_error err;
    if (rn__grpc_unpack(type, bytes, MAX_BYTES, &message, &err) == RN_STATUS_OK) {
        if (type == types[0]) read_infer((const V2__ModelInferRequest *)message);
        grpc_byte_buffer_destroy(rn__grpc_pack(message));
        rn__grpc_free_message(message);
    } else {
        assert(strlen(err.message) > 0);
    }
    grpc_byte_buffer_destroy(bytes);
    return 0;
}
