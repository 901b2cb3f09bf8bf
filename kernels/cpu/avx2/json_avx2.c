/* Classes of characters, 32 bytes to a comparison. */
#include "kernels/cpu/avx2/json_floats.h"
#include "kernels/text/json_blocks.h"

typedef struct {
    __m256i low, high;
} block64;

static inline block64 load(const char *at)
{
    return (block64){_mm256_loadu_si256((const __m256i *)at), _mm256_loadu_si256((const __m256i *)(at + 32))};
}

static inline uint64_t join(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

static inline uint64_t equal(block64 b, char c)
{
    const __m256i wanted = _mm256_set1_epi8(c);
    return join(_mm256_cmpeq_epi8(b.low, wanted), _mm256_cmpeq_epi8(b.high, wanted));
}

static inline __m256i is_digit(__m256i v)
{
    const __m256i value = _mm256_sub_epi8(v, _mm256_set1_epi8('0'));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(value, _mm256_set1_epi8(9)), value);
}

static inline json_masks classify(const char *block)
{
    const block64 b = load(block);
    return (json_masks){.digit = join(is_digit(b.low), is_digit(b.high)),
                        .zero = equal(b, '0'),
                        .point = equal(b, '.'),
                        .minus = equal(b, '-'),
                        .comma = equal(b, ','),
                        .blank = equal(b, ' '),
                        .open = equal(b, '['),
                        .close = equal(b, ']')};
}

static inline json_number_masks classify_numbers(const char *window)
{
    const block64 b = load(window);
    const uint64_t point = equal(b, '.'), minus = equal(b, '-');
    return (json_number_masks){.number = join(is_digit(b.low), is_digit(b.high)) | point | minus, .point = point, .minus = minus};
}

void rn_json_skip__avx2(rn_json_place *place, const char *limit)
{
    json_skip_blocks(place, limit, classify);
}

int64_t rn_json_floats__avx2(const char **at, const char *limit, int64_t count, int64_t row, int64_t left, float *out)
{
    return json_read_floats(at, limit, count, row, left, out, classify_numbers);
}
