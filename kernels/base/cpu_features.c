/* Processor detection through the compiler's own run-time support, which also asks the system whether it saves the wide registers. */
#include "kernels/base/cpu_features.h"

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__x86_64__)
/* Of tiles and of their bf16 and int8 products. Read here because not every compiler's run-time support knows the names. */
static int has_tiles(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, ALL = AMX_BF16 | AMX_TILE | AMX_INT8 }; /* leaf 7, EDX */
    uint32_t a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & ALL) == ALL;
}

/* Linux saves the tile registers only for processes that asked for them (since 5.16; older ones refuse). Documentation/arch/x86/xstate.rst. */
static int may_use_tiles(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

rn_isa rn_cpu_best_isa(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const int vnni = avx2 && avx512 && __builtin_cpu_supports("avx512vnni"), bf16 = vnni && __builtin_cpu_supports("avx512bf16");
    if (bf16 && has_tiles() && may_use_tiles()) return RN_ISA_AMX;
    if (bf16) return RN_ISA_AVX512_BF16;
    if (vnni) return RN_ISA_AVX512_VNNI;
    if (avx2 && avx512) return RN_ISA_AVX512;
    if (avx2) return RN_ISA_AVX2;
#endif
    return RN_ISA_SCALAR;
}

const char *rn_isa_name(rn_isa isa)
{
    static const char *const names[RN_ISA_COUNT] = {
#define RN_ISA_TEXT(name, text) [RN_ISA_##name] = text,
        RN_ISA_LIST(RN_ISA_TEXT)
#undef RN_ISA_TEXT
    };
    return names[isa];
}

const char rn_isa_names[] =
#define RN_ISA_NAME(name, text) " " text
    RN_ISA_LIST(RN_ISA_NAME)
#undef RN_ISA_NAME
    ;

bool rn_isa_by_name(const char *name, rn_isa *out)
{
    for (int isa = 0; isa < RN_ISA_COUNT; isa++) {
        if (strcmp(rn_isa_name((rn_isa)isa), name) != 0) continue;
        *out = (rn_isa)isa;
        return true;
    }
    return false;
}

const char *rn_cpu_model(void)
{
#if defined(__x86_64__)
    static char model[49]; /* the same bytes whoever writes them first */
    uint32_t words[12];
    for (uint32_t leaf = 0; leaf < 3; leaf++) {
        uint32_t *w = words + 4 * leaf;
        if (!__get_cpuid(0x80000002u + leaf, &w[0], &w[1], &w[2], &w[3])) return "unknown x86-64 processor";
    }
    memcpy(model, words, 48);
    const char *start = model;
    while (*start == ' ') start++;
    return start;
#else
    return "unknown processor";
#endif
}
