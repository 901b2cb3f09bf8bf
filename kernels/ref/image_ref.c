/* The bilinear resize as image_kernels.h writes it down. Gathering first leaves loops that a compiler turns into vector instructions. */
#include "kernels/image/gather_columns.h"

static void mix_bytes(const uint8_t *restrict left, const uint8_t *restrict right, const float *restrict weights, int32_t n,
                      float *restrict out)
{
    for (int32_t i = 0; i < n; i++) {
        const float l = (float)left[i], r = (float)right[i];
        out[i] = l + (r - l) * weights[i];
    }
}

void rn_mix_columns_u8__ref(const rn_column_pairs *columns, const uint8_t *row, float *out)
{
    gather_columns(columns, row);
    mix_bytes(columns->left, columns->right, columns->weights, columns->w * columns->c, out);
}

void rn_mix_rows_f32__ref(const float *top, const float *bottom, float weight, int32_t n, float *restrict out)
{
    for (int32_t i = 0; i < n; i++) out[i] = top[i] + (bottom[i] - top[i]) * weight;
}

/* The int between keeps it a vector instruction. */
void rn_cast_f32_u8__ref(const float *restrict in, int32_t n, uint8_t *restrict out)
{
    for (int32_t i = 0; i < n; i++) out[i] = (uint8_t)(int32_t)in[i];
}
