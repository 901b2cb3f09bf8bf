/* Base64 by table, a group of four characters at a time: what the other kernels are held against, and the end of their texts. */
#include "kernels/text/text_kernels.h"

enum { NOT_IN_ALPHABET = 0x80 };

/* [character] = value, NOT_IN_ALPHABET for all others. */
static const uint8_t values[256] = {
#define NOT NOT_IN_ALPHABET
#define NOT16 NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT
    /* clang-format off */
    NOT16, NOT16,
    /*  !"#$%&'()*+,-./ */ NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, NOT, 62,  NOT, NOT, NOT, 63,
    /* 0123456789:;<=>  */ 52,  53,  54,  55,  56,  57,  58,  59,  60,  61,  NOT, NOT, NOT, NOT, NOT, NOT,
    /* @ABCDEFGHIJKLMNO */ NOT, 0,   1,   2,   3,   4,   5,   6,   7,   8,   9,   10,  11,  12,  13,  14,
    /* PQRSTUVWXYZ      */ 15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25,  NOT, NOT, NOT, NOT, NOT,
    /* `abcdefghijklmno */ NOT, 26,  27,  28,  29,  30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,
    /* pqrstuvwxyz      */ 41,  42,  43,  44,  45,  46,  47,  48,  49,  50,  51,  NOT, NOT, NOT, NOT, NOT,
    NOT16, NOT16, NOT16, NOT16, NOT16, NOT16, NOT16, NOT16,
/* clang-format on */
#undef NOT16
#undef NOT
};

size_t rn_base64_decode__ref(const char *text, size_t bytes, uint8_t *out)
{
    const uint8_t *p = (const uint8_t *)text, *const begin = p, *const end = p + bytes;
    while (end - p >= 4) {
        const uint32_t a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
        if ((a | b | c | d) & NOT_IN_ALPHABET) break;
        const uint32_t group = a << 18 | b << 12 | c << 6 | d;
        *out++ = (uint8_t)(group >> 16);
        *out++ = (uint8_t)(group >> 8);
        *out++ = (uint8_t)group;
        p += 4;
    }
    return (size_t)(p - begin);
}

size_t rn_base64_encode__ref(const uint8_t *bytes, size_t count, char *text)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t done = 0;
    for (; count - done >= 3; done += 3, text += 4) {
        const uint32_t group = (uint32_t)bytes[done] << 16 | (uint32_t)bytes[done + 1] << 8 | bytes[done + 2];
        text[0] = alphabet[group >> 18];
        text[1] = alphabet[group >> 12 & 63];
        text[2] = alphabet[group >> 6 & 63];
        text[3] = alphabet[group & 63];
    }
    return done;
}
