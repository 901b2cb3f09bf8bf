/* The JSON reader: whatever arrives, it says where it went wrong or finds members that lie within the body; numbers that are read many at a
 * time are those that are read one by one. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "http/json_number.h"
#include "http/json_reader.h"

enum { MOST = 512 };

static const char *check_row(const char *array, const char *limit, const float *read)
{
    const char *end = array;
    for (const char *at = rn_json_first(array); at; at = rn_json_next(end)) {
        const float value = rn_json_float(at, limit, &end);
        assert(memcmp(&value, read++, sizeof value) == 0);
    }
    return rn_json_skip(array, limit);
}

static void read_numbers(const char *array, int64_t count, const char *limit)
{
    float out[MOST];
    if (*array != '[' || count == 0 || count > MOST) return;
    const char *end = rn_json_floats(array, limit, count, out);
    if (end) assert(end == check_row(array, limit, out));
    const char *first = rn_json_first(array);
    const int64_t row = *first == '[' ? rn_json_count(first, limit) : 0;
    if (row == 0 || row > MOST / count) return;
    end = rn_json_float_rows(array, limit, count, row, out);
    if (!end) return;
    const float *read = out;
    for (const char *at = first; at; at = rn_json_next(rn_json_skip(at, limit)), read += row) check_row(at, limit, read);
    assert(end == rn_json_skip(array, limit));
}

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
        if (members[0].value) read_numbers(members[0].value, members[0].count, text + size);
    } else {
        assert(strlen(err.message) > 0);
    }
    free(text);
    return 0;
}
