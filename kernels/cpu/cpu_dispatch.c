/* Fills the kernel table from THE list: reference kernels first, then whatever the allowed instruction set has better. The list is in rising
 * order, so that the last entry that fits stays. */
#include <string.h>
#include <unistd.h>

#include "kernels/cpu/cpu_kernels.h"

enum { USUAL_L2_BYTES = 1 << 20 };

void rn_cpu_kernels_select(rn_isa isa, rn_cpu_kernels *out)
{
    const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE); /* 0 or -1 where it is not known */
    memset(out, 0, sizeof *out);
    out->l2_bytes = l2 > 0 ? l2 : USUAL_L2_BYTES;
#define RN_CPU_KERNEL(slot, dtype, symbol, needs, rows, lanes)                                                                             \
    if (RN_ISA_##needs <= isa) out->slot[RN_DTYPE_##dtype] = (rn_##slot##_kernel){symbol, #symbol, RN_ISA_##needs, rows, lanes};
#include "kernels/cpu/cpu_kernels.def"
#undef RN_CPU_KERNEL
}
