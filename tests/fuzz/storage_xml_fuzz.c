/* What S3 and STS send: listings, errors, credentials. */
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
    char *next, code[64], message[64];
    rn_error err = {0};
    const rn_status listed = rn__s3_parse_page(bytes, size, "m/", &objects, &next, &err);
    assert(listed == RN_STATUS_OK || (!next && err.message[0]));
    for (int32_t i = 0; i < objects.count; i++) assert(objects.at[i].name[0] && !strstr(objects.at[i].name, "//"));
    rn__objects_deinit(&objects);
    free(next);
    if (rn__aws_parse_sts(bytes, size, &keys, NULL) == RN_STATUS_OK) assert(keys.id && keys.secret && keys.token);
    rn__aws_keys_deinit(&keys);
    rn__s3_parse_error(bytes, size, code, sizeof code, message, sizeof message);
    assert(strlen(code) < sizeof code && strlen(message) < sizeof message);
    return 0;
}
