#include <immintrin.h>

#include "tools/bench/peak/peak_loop.h"

#define DPBUSD(a) _mm512_dpbusd_epi32(a, _mm512_set1_epi32(0x01010101), _mm512_set1_epi32(0x01010101))
BENCH_DEFINE_PEAK(bench_peak_u8__avx512_vnni, __m512i, _mm512_set1_epi32, DPBUSD, 128)
