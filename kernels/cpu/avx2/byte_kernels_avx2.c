/* The memory-bound kernels for bytes, compiled for AVX2. */
#define RN_PLAIN_KERNEL(name) name##__avx2
#include "kernels/cpu/byte_kernels.h"
