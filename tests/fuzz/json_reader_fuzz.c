/* The JSON reader: whatever arrives, it says where it went wrong or finds members that lie within the body. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/json_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    rn_json_member members[] = {{.name = "instances"}, {.name = "signature_name"}};
    const char *root;
    rn_error err;
    char *text = malloc(size ? size : 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    if (rn_json_check((rn_text){text, size}, members, 2, &root, &err) == RN_STATUS_OK) {
        assert(root >= text && root < text + size);
        for (int i = 0; i < 2; i++) assert(!members[i].value || (members[i].value > root && members[i].value < text + size));
    } else {
        assert(strlen(err.message) > 0);
    }
    free(text);
    return 0;
}
