/* Sixteen columns of RGB at a time, without gathering: their neighbours mostly lie within 128 bytes, and one permutation of 16-bit words
 * picks any of them. A pixel of three bytes is inside of two neighbouring words, whether it begins at an even or at an odd byte:
 *
 *     window   | r g | b r | g b | r g | ...      pixel at 0: words 0 and 1; pixel at 3: words 1 and 2, shifted by a byte
 *     picked   | r g b . | r g b . | ...          16 lanes of 32 bits
 *     packed   | r g b r g b r g b ...            48 bytes, which become 3 x 16 floats
 *
 * Where a picture shrinks so much that the window is too narrow (more than 2.7 times), and for other numbers of channels, pixels are
 * gathered. Ends are masked: nothing behind a row is read or written.
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

/* Sixteen numbers, or the `count` that are left. The compiler makes two functions of it: masked stores cost more than all the rest (EPYC of
 * family 25: 95 us of mixing for a picture of 512 columns, 63 without masks). */
static inline __m512 load(const float *from, int32_t count, bool whole)
{
    return whole ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(first_lanes(count), from);
}

static inline void store(float *to, int32_t count, bool whole, __m512 value)
{
    if (whole)
        _mm512_storeu_ps(to, value);
    else
        _mm512_mask_storeu_ps(to, first_lanes(count), value);
}

/* ---- columns ---- */

/* A macro, because the number has to be a constant. */
#define third(bytes, i) to_floats(_mm512_extracti32x4_epi32(bytes, i))

/* Pixels at `offsets` (bytes, at most WINDOW_BYTES - 3) of the window as 48 dense bytes. */
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

/* Columns x to x + 16: `whole` where there are so many and the row is at least as wide as the window, which then ends within the row. */
static inline __attribute__((always_inline)) void mix_block(const rn_column_pairs *p, const uint8_t *row, int32_t x, bool whole, float *out)
{
    const int32_t last = p->row_bytes - WINDOW_BYTES, base = whole && last < p->lower[x] ? last : p->lower[x];
    const int32_t row_bytes = p->row_bytes - base, n = CHANNELS * (p->w - x);
    const __m512i low = whole ? _mm512_loadu_si512(row + base) : _mm512_maskz_loadu_epi8(first_bytes(row_bytes), row + base);
    const __m512i high =
        whole ? _mm512_loadu_si512(row + base + 64) : _mm512_maskz_loadu_epi8(first_bytes(row_bytes - 64), row + base + 64);
    const __mmask16 columns = whole ? (__mmask16)-1 : first_lanes(p->w - x);
    const __m512i start = _mm512_set1_epi32(base);
    const __m512i l = pick(low, high, _mm512_sub_epi32(_mm512_maskz_loadu_epi32(columns, p->lower + x), start));
    const __m512i r = pick(low, high, _mm512_sub_epi32(_mm512_maskz_loadu_epi32(columns, p->upper + x), start));
    const float *weights = p->weights + CHANNELS * x;
    out += CHANNELS * x;
    store(out, n, whole, mix(third(l, 0), third(r, 0), load(weights, n, whole)));
    store(out + LANES, n - LANES, whole, mix(third(l, 1), third(r, 1), load(weights + LANES, n - LANES, whole)));
    store(out + 2 * LANES, n - 2 * LANES, whole, mix(third(l, 2), third(r, 2), load(weights + 2 * LANES, n - 2 * LANES, whole)));
}

static void mix_gathered(const rn_column_pairs *p, const uint8_t *row, float *out)
{
    const int32_t n = p->w * p->c, whole = n - n % LANES;
    const __mmask16 rest = first_lanes(n - whole);
    gather_columns(p, row);
    for (int32_t i = 0; i < whole; i += LANES) {
        const __m512 l = to_floats(_mm_loadu_si128((const __m128i *)(p->left + i))),
                     r = to_floats(_mm_loadu_si128((const __m128i *)(p->right + i)));
        _mm512_storeu_ps(out + i, mix(l, r, _mm512_loadu_ps(p->weights + i)));
    }
    const __m512 l = to_floats(_mm_maskz_loadu_epi8(rest, p->left + whole)), r = to_floats(_mm_maskz_loadu_epi8(rest, p->right + whole));
    _mm512_mask_storeu_ps(out + whole, rest, mix(l, r, _mm512_maskz_loadu_ps(rest, p->weights + whole)));
}

void rn_mix_columns_u8__avx512(const rn_column_pairs *columns, const uint8_t *row, float *out)
{
    if (columns->c != CHANNELS || columns->reach >= WINDOW_BYTES) {
        mix_gathered(columns, row, out);
        return;
    }
    int32_t x = 0;
    for (; columns->row_bytes >= WINDOW_BYTES && x + RN_COLUMN_BLOCK <= columns->w; x += RN_COLUMN_BLOCK)
        mix_block(columns, row, x, true, out);
    for (; x < columns->w; x += RN_COLUMN_BLOCK) mix_block(columns, row, x, false, out);
}

/* ---- rows ---- */

void rn_mix_rows_f32__avx512(const float *top, const float *bottom, float weight, int32_t n, float *out)
{
    const __m512 weights = _mm512_set1_ps(weight);
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) store(out + i, n, true, mix(load(top + i, n, true), load(bottom + i, n, true), weights));
    store(out + i, n - i, false, mix(load(top + i, n - i, false), load(bottom + i, n - i, false), weights));
}

void rn_cast_f32_u8__avx512(const float *in, int32_t n, uint8_t *out)
{
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm_storeu_si128((__m128i *)(out + i), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(_mm512_loadu_ps(in + i))));
    _mm_mask_storeu_epi8(out + i, first_lanes(n - i), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(load(in + i, n - i, false))));
}
