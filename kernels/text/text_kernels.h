/* Kernels that work on bytes of text instead of tensors. The list is text_kernels.def; the instruction sets' folders of kernels/cpu hold the
 * code, because they alone are compiled for them.
 */
#ifndef RN_KERNELS_TEXT_TEXT_KERNELS_H
#define RN_KERNELS_TEXT_TEXT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/base/cpu_features.h"

/* Decodes groups of four characters of base64 (RFC 4648, standard alphabet) as long as all four are in the alphabet, and returns how many
 * characters that were. text: [bytes]. out: three quarters of `bytes`, and three more, may be written; it may begin where the text begins. */
typedef size_t rn_base64_decode_fn(const char *text, size_t bytes, uint8_t *out);

#define RN_TEXT_KERNEL(slot, symbol, needs) rn_##slot##_fn symbol;
#include "kernels/text/text_kernels.def"
#undef RN_TEXT_KERNEL

typedef struct rn_text_kernels {
    rn_base64_decode_fn *base64_decode;
} rn_text_kernels;

/* The best kernels of an instruction set; a few instructions. */
void rn_text_kernels_select(rn_isa isa, rn_text_kernels *out);

#endif
