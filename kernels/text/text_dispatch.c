/* The list is in rising order: the last entry that the instruction set allows stays. */
#include "kernels/text/text_kernels.h"

void rn_text_kernels_select(rn_isa isa, rn_text_kernels *out)
{
#define RN_TEXT_KERNEL(slot, symbol, needs) \
    if (RN_ISA_##needs <= isa) out->slot = symbol;
#include "kernels/text/text_kernels.def"
#undef RN_TEXT_KERNEL
}

static rn_text_kernels best;
const rn_text_kernels *const rn_text_kernels_best = &best;

/* Kernels are called for a few bytes at a time: none of these calls asks what the processor can do. */
__attribute__((constructor)) static void choose(void)
{
    rn_text_kernels_select(rn_cpu_best_isa(), &best);
}
