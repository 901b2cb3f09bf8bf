/* Sixteen columns of RGB at a time, without gathering: their neighbours mostly lie within 128 bytes, and one permutation of 16-bit words picks
 * any of them. A pixel of three bytes is inside of two neighbouring words, whether it begins at an even or at an odd byte:
 *
 *     window   | r g | b r | g b | r g | ...      pixel at 0: words 0 and 1; pixel at 3: words 1 and 2, shifted by a byte
 *     picked   | r g b . | r g b . | ...          16 lanes of 32 bits
 *     packed   | r g b r g b r g b ...            48 bytes, which become 3 x 16 floats
 *
 * Where a picture shrinks so much that the window is too narrow (more than 2.7 times), and for other numbers of channels, pixels are gathered.
 * Ends are masked: nothing behind a row is read or written.
 */
#include <immintrin.h>

#include "kernels/image/gather_columns.h"

enum { LANES = 16, WINDOW_BYTES = 128, CHANNELS = 3 };

static inline __mmask16 first_lanes(int32_t count)
{
    return (__mmask16)(count >= LANES ? 0xffff : count > 0 ? (1 << count) - 1 : 0);
}

static inline __mmask64 first_bytes(int32_t count)
{
    return count >= 64 ? ~(__mmask64)0 : count > 0 ? ((__mmask64)1 << count) - 1 : 0;
}

static inline __m512 mix(__m512 a, __m512 b, __m512 weight)
{
    return _mm512_add_ps(a, _mm512_mul_ps(_mm512_sub_ps(b, a), weight));
}

static inline __m512 to_floats(__m128i bytes)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
}

/* ---- columns ---- */

/* Pixels at `offsets` (bytes, less than WINDOW_BYTES - 3) of the window as 48 dense bytes. */
static inline __m512i pick(__m512i low, __m512i high, __m512i offsets)
{
    const __m512i pack = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
    const __m512i join = _mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15);
    const __m512i word = _mm512_srli_epi32(offsets, 1), next = _mm512_add_epi32(word, _mm512_set1_epi32(1));
    const __m512i words = _mm512_or_si512(word, _mm512_slli_epi32(next, 16));
    const __m512i odd = _mm512_slli_epi32(_mm512_and_si512(offsets, _mm512_set1_epi32(1)), 3);
    const __m512i picked = _mm512_srlv_epi32(_mm512_permutex2var_epi16(low, words, high), odd);
    return _mm512_permutexvar_epi32(join, _mm512_shuffle_epi8(picked, pack));
}

static inline void mix_block(const rn_column_pairs *p, const uint8_t *row, int32_t x, float *out)
{
    const int32_t base = p->lower[x], left_bytes = p->row_bytes - base, n = CHANNELS * (p->w - x);
    const __mmask16 columns = first_lanes(p->w - x);
    const __m512i low = _mm512_maskz_loadu_epi8(first_bytes(left_bytes), row + base);
    const __m512i high = _mm512_maskz_loadu_epi8(first_bytes(left_bytes - 64), row + base + 64);
    const __m512i start = _mm512_set1_epi32(base);
    const __m512i l = pick(low, high, _mm512_sub_epi32(_mm512_maskz_loadu_epi32(columns, p->lower + x), start));
    const __m512i r = pick(low, high, _mm512_sub_epi32(_mm512_maskz_loadu_epi32(columns, p->upper + x), start));
#define MIX_THIRD(third)                                                                                                             \
    do {                                                                                                                             \
        const __mmask16 lanes = first_lanes(n - (third) * LANES);                                                                    \
        const __m512 weight = _mm512_maskz_loadu_ps(lanes, p->weights + CHANNELS * x + (third) * LANES);                              \
        const __m512 mixed = mix(to_floats(_mm512_extracti32x4_epi32(l, third)), to_floats(_mm512_extracti32x4_epi32(r, third)), weight); \
        _mm512_mask_storeu_ps(out + CHANNELS * x + (third) * LANES, lanes, mixed);                                                   \
    } while (0)
    MIX_THIRD(0);
    MIX_THIRD(1);
    MIX_THIRD(2);
#undef MIX_THIRD
}

static void mix_gathered(const rn_column_pairs *p, const uint8_t *row, float *out)
{
    const int32_t n = p->w * p->c;
    gather_columns(p, row);
    for (int32_t i = 0; i < n; i += LANES) {
        const __mmask16 lanes = first_lanes(n - i);
        const __m512 l = to_floats(_mm_maskz_loadu_epi8(lanes, p->left + i)), r = to_floats(_mm_maskz_loadu_epi8(lanes, p->right + i));
        _mm512_mask_storeu_ps(out + i, lanes, mix(l, r, _mm512_maskz_loadu_ps(lanes, p->weights + i)));
    }
}

void rn_mix_columns_u8__avx512(const rn_column_pairs *columns, const uint8_t *row, float *out)
{
    if (columns->c != CHANNELS || columns->reach >= WINDOW_BYTES) {
        mix_gathered(columns, row, out);
        return;
    }
    for (int32_t x = 0; x < columns->w; x += RN_COLUMN_BLOCK) mix_block(columns, row, x, out);
}

/* ---- rows ---- */

void rn_mix_rows_f32__avx512(const float *top, const float *bottom, float weight, int32_t n, float *out)
{
    const __m512 weights = _mm512_set1_ps(weight);
    for (int32_t i = 0; i < n; i += LANES) {
        const __mmask16 lanes = first_lanes(n - i);
        const __m512 a = _mm512_maskz_loadu_ps(lanes, top + i), b = _mm512_maskz_loadu_ps(lanes, bottom + i);
        _mm512_mask_storeu_ps(out + i, lanes, mix(a, b, weights));
    }
}

void rn_cast_f32_u8__avx512(const float *in, int32_t n, uint8_t *out)
{
    for (int32_t i = 0; i < n; i += LANES) {
        const __mmask16 lanes = first_lanes(n - i);
        _mm512_mask_cvtepi32_storeu_epi8(out + i, lanes, _mm512_cvttps_epi32(_mm512_maskz_loadu_ps(lanes, in + i)));
    }
}
