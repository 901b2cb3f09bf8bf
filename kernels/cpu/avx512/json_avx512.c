/* Classes of characters by comparisons that end in mask registers. */
#include "kernels/cpu/avx2/json_floats.h"
#include "kernels/text/json_blocks.h"

static inline uint64_t equal(__m512i v, char c)
{
    return _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8(c));
}

static inline uint64_t is_digit(__m512i v)
{
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(v, _mm512_set1_epi8('0')), _mm512_set1_epi8(9));
}

static inline json_masks classify(const char *block)
{
    const __m512i v = _mm512_loadu_si512(block);
    return (json_masks){.digit = is_digit(v),
                        .zero = equal(v, '0'),
                        .point = equal(v, '.'),
                        .minus = equal(v, '-'),
                        .comma = equal(v, ','),
                        .blank = equal(v, ' '),
                        .open = equal(v, '['),
                        .close = equal(v, ']')};
}

static inline json_number_masks classify_numbers(const char *window)
{
    const __m512i v = _mm512_loadu_si512(window);
    const uint64_t point = equal(v, '.'), minus = equal(v, '-');
    return (json_number_masks){.number = is_digit(v) | point | minus, .point = point, .minus = minus};
}

void rn_json_skip__avx512(rn_json_place *place, const char *limit)
{
    json_skip_blocks(place, limit, classify);
}

int64_t rn_json_floats__avx512(const char **at, const char *limit, int64_t count, int64_t row, int64_t left, float *out)
{
    return json_read_floats(at, limit, count, row, left, out, classify_numbers);
}
