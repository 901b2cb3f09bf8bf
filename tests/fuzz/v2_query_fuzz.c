/* Bodies of the Open Inference Protocol: the first line of the input is the header Inference-Header-Content-Length ("-": there is none),
 * the rest the body. Whatever is taken for good lies within the body. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/v2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_within(rn_text inner, rn_text outer)
{
    return inner.at >= outer.at && inner.at + inner.bytes <= outer.at + outer.bytes;
}

static void check(const rn__v2_query *query, rn_text body)
{
    const rn__v2_input *input = &query->input;
    assert(query->input_count >= 0 && query->output_count >= 0 && query->output_count <= RN_PLAN_MAX_OUTPUTS);
    assert(!query->id || lies_within((rn_text){query->id, 1}, body));
    if (query->input_count == 0) return;
    assert(input->rank >= 0 && input->rank <= RN__V2_MAX_DIMS);
    for (int32_t i = 0; i < input->rank; i++) assert(input->dims[i] >= 0);
    if (input->source == RN__V2_JSON)
        assert(lies_within((rn_text){input->json, 2}, body) && *input->json == '[');
    else
        assert(input->source == (query->bare ? RN__V2_PICTURE : RN__V2_RAW) && lies_within(input->raw, body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    if (!line) return 0;
    const rn_text header = {(const char *)data, (size_t)(line - data)};
    const rn_text none = {NULL, 0};
    const size_t bytes = size - header.bytes - 1;
    char *body = malloc(bytes ? bytes : 1); /* of its own, so that a byte too many is seen on both sides */
    if (!body) return 0;
    memcpy(body, line + 1, bytes);
    static rn__v2_query query;
    rn_error err;
    if (rn__v2_parse((rn_text){body, bytes}, rn_text_equals(header, "-") ? none : header, &query, &err) == RN_STATUS_OK)
        check(&query, (rn_text){body, bytes});
    else
        assert(strlen(err.message) > 0);
    free(body);
    return 0;
}
