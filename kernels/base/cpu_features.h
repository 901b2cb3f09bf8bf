/* What the processor can do, read once. */
#ifndef RN_KERNELS_BASE_CPU_FEATURES_H
#define RN_KERNELS_BASE_CPU_FEATURES_H

#include <stdbool.h>

/* Instruction sets in rising order: a kernel entry names the set that it needs, and a machine that has a set has all before it. */
#define RN_ISA_LIST(X)                                                                                                         \
    X(SCALAR, "scalar")                                                                                                        \
    X(AVX2, "avx2")         /* AVX2 and FMA3 */                                                                                \
    X(AVX512, "avx512")     /* AVX-512 F, BW, DQ, VL */                                                                        \
    X(AVX512_VNNI, "avx512_vnni")                                                                                              \
    X(AVX512_BF16, "avx512_bf16")                                                                                              \
    X(AMX, "amx")           /* AMX with bf16 and int8, and the system's leave to use it */

typedef enum {
#define RN_ISA_ENUM(name, text) RN_ISA_##name,
    RN_ISA_LIST(RN_ISA_ENUM)
#undef RN_ISA_ENUM
        RN_ISA_COUNT
} rn_isa;

/* Best set that processor and operating system support. Thread-safe. Asks the system for the tile registers of AMX, for the whole process. */
rn_isa rn_cpu_best_isa(void);
const char *rn_isa_name(rn_isa isa);
/* Whether a set has that name; then *out is it. */
bool rn_isa_by_name(const char *name, rn_isa *out);
/* Every name after a blank, for messages: " scalar avx2 ...". */
extern const char rn_isa_names[];

/* Model name of the processor, as the system reports it ("AMD EPYC ..."); static, never NULL. Thread-safe after the first call. */
const char *rn_cpu_model(void);

#endif
