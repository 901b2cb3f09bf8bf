/* The memory-bound kernels, compiled for AVX-512. */
#define RN_PLAIN_KERNEL(name) name##__avx512
#include "kernels/cpu/plain_kernels.h"
