/* The memory-bound kernels, compiled for AVX2. */
#define RN_PLAIN_KERNEL(name) name##__avx2
#include "kernels/cpu/plain_kernels.h"
