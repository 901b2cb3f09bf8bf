/* 64 characters at a time, as base64_avx2.c has it; the store is masked, so that nothing but the 48 bytes is written. */
#include <immintrin.h>

#include "kernels/text/text_kernels.h"

enum { BLOCK = 64 };

static inline __m512i four_times(__m128i table)
{
    return _mm512_broadcast_i32x4(table);
}

size_t rn_base64_decode__avx512(const char *text, size_t bytes, uint8_t *out)
{
    const __m512i added = four_times(_mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m512i high_bad = four_times(_mm_setr_epi8(16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16));
    const __m512i low_bad = four_times(_mm_setr_epi8(21, 17, 17, 17, 17, 17, 17, 17, 17, 17, 19, 26, 27, 27, 27, 26));
    const __m512i order = four_times(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
    const __m512i nibble = _mm512_set1_epi8(15), slash = _mm512_set1_epi8('/'), one = _mm512_set1_epi8(1);
    size_t done = 0;
    for (; bytes - done >= BLOCK; done += BLOCK, out += BLOCK / 4 * 3) {
        const __m512i c = _mm512_loadu_si512(text + done);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi32(c, 4), nibble), low = _mm512_and_si512(c, nibble);
        if (_mm512_test_epi8_mask(_mm512_shuffle_epi8(high_bad, high), _mm512_shuffle_epi8(low_bad, low))) break;
        const __m512i range = _mm512_mask_sub_epi8(high, _mm512_cmpeq_epi8_mask(c, slash), high, one);
        const __m512i six = _mm512_add_epi8(c, _mm512_shuffle_epi8(added, range));
        const __m512i twelve = _mm512_maddubs_epi16(six, _mm512_set1_epi32(0x01400140));
        const __m512i joined = _mm512_shuffle_epi8(_mm512_madd_epi16(twelve, _mm512_set1_epi32(0x00011000)), order);
        _mm512_mask_storeu_epi8(out, ((__mmask64)1 << (BLOCK / 4 * 3)) - 1, _mm512_permutexvar_epi32(lanes, joined));
    }
    return done + rn_base64_decode__ref(text + done, bytes - done, out);
}
