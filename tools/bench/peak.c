/* The peak of an instruction is that of its loop in peak/; that of memory is memcpy. */
#include "tools/bench/peak.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench/failure.h"
#include "tools/bench/peak/peak_loop.h"
#include "tools/bench/timing.h"

enum { PEAK_TRIES = 50, COPY_BYTES = 64 << 20 };

double bench_peak_bandwidth(void)
{
    char *from = bench_allocate(COPY_BYTES), *to = bench_allocate(COPY_BYTES);
    double best = 0;
    memset(from, 1, COPY_BYTES); /* pages of its own, not all one page of zeros */
    for (int i = 0; i < PEAK_TRIES; i++) {
        const double start = bench_now();
        memcpy(to, from, COPY_BYTES);
        best = fmax(best, 2.0 * COPY_BYTES / (bench_now() - start));
    }
    free(from);
    free(to);
    return best;
}

/* Of AMX none is known: its kernels have no share until somebody has measured on such a processor. */
static const struct {
    rn_dtype dtype;
    rn_isa isa;
    double (*measure)(void);
} loops[] = {
#if defined(__x86_64__)
    {RN_DTYPE_F32, RN_ISA_AVX2, bench_peak_f32__avx2},
    {RN_DTYPE_F32, RN_ISA_AVX512, bench_peak_f32__avx512},
    {RN_DTYPE_U8, RN_ISA_AVX512_VNNI, bench_peak_u8__avx512_vnni},
    {RN_DTYPE_BF16, RN_ISA_AVX512_BF16, bench_peak_bf16__avx512_bf16},
#endif
    {RN_DTYPE_F32, RN_ISA_SCALAR, NULL},
};

double bench_peak(rn_dtype dtype, rn_isa isa)
{
    double best = 0;
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        if (loops[i].dtype != dtype || loops[i].isa != isa || !loops[i].measure) continue;
        for (int j = 0; j < PEAK_TRIES; j++) best = fmax(best, loops[i].measure());
    }
    return best;
}
