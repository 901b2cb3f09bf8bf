/* 32 characters at a time. The high four bits of a character tell its range, and a table of sixteen bytes what to add to it; '/' alone
 * shares its range with another character ('+') and takes the entry below. Two more tables, by the high and the low four bits, have a common
 * bit where a character is none of the alphabet. Then multiplications by powers of two join the bits: 4 x 6 become 24. */
#include <immintrin.h>

#include "kernels/text/text_kernels.h"

enum { BLOCK = 32, SLACK = 8 }; /* SLACK: 32 bytes are stored for 24, and room is for three quarters of what is left */

/* Bits of the tables: 1 for the range of + and /, 2 for the digits, 4 for @ABC.. and `abc.., 8 for PQR.. and pqr.., 16 for all others. */
size_t rn_base64_decode__avx2(const char *text, size_t bytes, uint8_t *out)
{
    const __m256i added = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i high_bad = _mm256_broadcastsi128_si256(_mm_setr_epi8(16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16));
    const __m256i low_bad = _mm256_broadcastsi128_si256(_mm_setr_epi8(21, 17, 17, 17, 17, 17, 17, 17, 17, 17, 19, 26, 27, 27, 27, 26));
    const __m256i order = _mm256_broadcastsi128_si256(_mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1));
    const __m256i nibble = _mm256_set1_epi8(15), slash = _mm256_set1_epi8('/');
    size_t done = 0;
    for (; bytes - done >= BLOCK + SLACK; done += BLOCK, out += BLOCK / 4 * 3) {
        const __m256i c = _mm256_loadu_si256((const __m256i *)(text + done));
        const __m256i high = _mm256_and_si256(_mm256_srli_epi32(c, 4), nibble), low = _mm256_and_si256(c, nibble);
        if (!_mm256_testz_si256(_mm256_shuffle_epi8(high_bad, high), _mm256_shuffle_epi8(low_bad, low))) break;
        const __m256i range = _mm256_add_epi8(high, _mm256_cmpeq_epi8(c, slash));
        const __m256i six = _mm256_add_epi8(c, _mm256_shuffle_epi8(added, range));
        const __m256i twelve = _mm256_maddubs_epi16(six, _mm256_set1_epi32(0x01400140));
        const __m256i joined = _mm256_shuffle_epi8(_mm256_madd_epi16(twelve, _mm256_set1_epi32(0x00011000)), order);
        _mm256_storeu_si256((__m256i *)out, _mm256_permutevar8x32_epi32(joined, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7)));
    }
    return done + rn_base64_decode__ref(text + done, bytes - done, out);
}

/* The way back, 24 bytes at a time: three bytes are spread over four by multiplications that shift two groups of six bits each. A table holds
 * what is to be added to a value by the range that it lies in: 13 for A to Z, 0 for a to z, 1 to 10 for the digits, 11 for +, 12 for /. */
size_t rn_base64_encode__avx2(const uint8_t *bytes, size_t count, char *text)
{
    enum { IN = 24, READ = 28 }; /* the upper half is read from byte 12 on */
    const __m256i spread = _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10));
    const __m256i added = _mm256_broadcastsi128_si256(_mm_setr_epi8(71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0));
    size_t done = 0;
    for (; count - done >= READ; done += IN, text += IN / 3 * 4) {
        const __m256i in = _mm256_set_m128i(_mm_loadu_si128((const __m128i *)(bytes + done + 12)), _mm_loadu_si128((const __m128i *)(bytes + done)));
        const __m256i v = _mm256_shuffle_epi8(in, spread);
        const __m256i ac = _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
        const __m256i bd = _mm256_mullo_epi16(_mm256_and_si256(v, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
        const __m256i six = _mm256_or_si256(ac, bd);
        const __m256i small = _mm256_and_si256(_mm256_cmpgt_epi8(_mm256_set1_epi8(26), six), _mm256_set1_epi8(13));
        const __m256i range = _mm256_or_si256(_mm256_subs_epu8(six, _mm256_set1_epi8(51)), small);
        _mm256_storeu_si256((__m256i *)text, _mm256_add_epi8(six, _mm256_shuffle_epi8(added, range)));
    }
    return done + rn_base64_encode__ref(bytes + done, count - done, text);
}
