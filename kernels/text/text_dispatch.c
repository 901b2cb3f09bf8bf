/* The list is in rising order: the last entry that the instruction set allows stays. */
#include "kernels/text/text_kernels.h"

void rn_text_kernels_select(rn_isa isa, rn_text_kernels *out)
{
#define RN_TEXT_KERNEL(slot, symbol, needs) \
    if (RN_ISA_##needs <= isa) out->slot = symbol;
#include "kernels/text/text_kernels.def"
#undef RN_TEXT_KERNEL
}
