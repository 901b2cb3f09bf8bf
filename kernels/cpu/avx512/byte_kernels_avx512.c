/* The memory-bound kernels for bytes, compiled for AVX-512. */
#define RN_PLAIN_KERNEL(name) name##__avx512
#include "kernels/cpu/byte_kernels.h"
