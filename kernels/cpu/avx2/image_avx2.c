/* Eight numbers at a time; what is left over is done one by one. AVX2 has no shuffle across 16 bytes, so the pixels are gathered one by
 * one. */
#include <immintrin.h>

#include "kernels/image/gather_columns.h"

enum { LANES = 8 };

static inline __m256 mix(__m256 a, __m256 b, __m256 weight)
{
    return _mm256_add_ps(a, _mm256_mul_ps(_mm256_sub_ps(b, a), weight));
}

static inline __m256 load_bytes(const uint8_t *from)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}

void rn_mix_columns_u8__avx2(const rn_column_pairs *columns, const uint8_t *row, float *out)
{
    const int32_t n = columns->w * columns->c;
    const uint8_t *left = columns->left, *right = columns->right;
    int32_t i = 0;
    gather_columns(columns, row);
    for (; i + LANES <= n; i += LANES)
        _mm256_storeu_ps(out + i, mix(load_bytes(left + i), load_bytes(right + i), _mm256_loadu_ps(columns->weights + i)));
    for (; i < n; i++) out[i] = (float)left[i] + ((float)right[i] - (float)left[i]) * columns->weights[i];
}

void rn_mix_rows_f32__avx2(const float *top, const float *bottom, float weight, int32_t n, float *out)
{
    const __m256 weights = _mm256_set1_ps(weight);
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) _mm256_storeu_ps(out + i, mix(_mm256_loadu_ps(top + i), _mm256_loadu_ps(bottom + i), weights));
    rn_mix_rows_f32__ref(top + i, bottom + i, weight, n - i, out + i);
}

/* Truncated, without what lies above 8 bits, so that packing has nothing to saturate. */
static inline __m256i low_bytes(const float *from)
{
    return _mm256_and_si256(_mm256_cvttps_epi32(_mm256_loadu_ps(from)), _mm256_set1_epi32(UINT8_MAX));
}

void rn_cast_f32_u8__avx2(const float *in, int32_t n, uint8_t *out)
{
    int32_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low_bytes(in + i), low_bytes(in + i + LANES)), 0xd8);
        _mm_storeu_si128((__m128i *)(out + i), _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    }
    rn_cast_f32_u8__ref(in + i, n - i, out + i);
}
