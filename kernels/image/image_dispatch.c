/* The list is in rising order: the last entry that the instruction set allows stays. */
#include "kernels/image/image_kernels.h"

void rn_image_kernels_select(rn_isa isa, rn_image_kernels *out)
{
#define RN_IMAGE_KERNEL(slot, symbol, needs) \
    if (RN_ISA_##needs <= isa) out->slot = symbol;
#include "kernels/image/image_kernels.def"
#undef RN_IMAGE_KERNEL
}

static rn_image_kernels best;
const rn_image_kernels *const rn_image_kernels_best = &best;

/* As for text: a kernel works on one row of a picture, and no such call asks what the processor can do. */
__attribute__((constructor)) static void choose(void)
{
    rn_image_kernels_select(rn_cpu_best_isa(), &best);
}
