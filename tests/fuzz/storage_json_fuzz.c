/* What Google Cloud Storage, token endpoints and metadata services send, and SHA256SUMS. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "loader/storage_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    rn__objects objects = {0};
    rn__aws_keys keys;
    char *next, *token, message[64];
    int64_t lifetime_s;
    rn_error err = {0};
    const rn_status listed = rn__gs_parse_page(bytes, size, "m/", &objects, &next, &err);
    assert(listed == RN_STATUS_OK || (!next && err.message[0]));
    rn__objects_deinit(&objects);
    free(next);
    if (rn__http_parse_sums(bytes, size, &objects, &err) == RN_STATUS_OK)
        for (int32_t i = 0; i < objects.count; i++) assert(objects.at[i].check.kind == RN__CHECK_SHA256 && objects.at[i].name[0]);
    rn__objects_deinit(&objects);
    if (rn__google_parse_token(bytes, size, &token, &lifetime_s, NULL) == RN_STATUS_OK) {
        assert(token[0] && !strpbrk(token, "\r\n"));
        free(token);
    }
    if (rn__aws_parse_keys_json(bytes, size, &keys, NULL) == RN_STATUS_OK) assert(keys.id && keys.secret && keys.token);
    rn__aws_keys_deinit(&keys);
    rn__gs_parse_error(bytes, size, message, sizeof message);
    assert(strlen(message) < sizeof message);
    return 0;
}
