/* Four characters become three bytes by table; whatever is not an alphabet character (blank, padding, mistake) leaves the fast loop and is
 * looked at one by one. */
#include "http/base64.h"

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

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool rn_base64_decode(rn_text text, uint8_t *out, size_t *out_bytes)
{
    const uint8_t *p = (const uint8_t *)text.at, *const end = p + text.bytes;
    uint8_t *const begin = out;
    uint32_t bits = 0;     /* the characters of an unfinished group */
    int held = 0, pad = 0; /* their number; '=' seen */
    while (p < end) {
        while (held == 0 && pad == 0 && end - p >= 4) {
            const uint32_t a = values[p[0]], b = values[p[1]], c = values[p[2]], d = values[p[3]];
            if ((a | b | c | d) & NOT_IN_ALPHABET) break;
            const uint32_t group = a << 18 | b << 12 | c << 6 | d;
            *out++ = (uint8_t)(group >> 16);
            *out++ = (uint8_t)(group >> 8);
            *out++ = (uint8_t)group;
            p += 4;
        }
        if (p == end) break;
        const uint8_t character = *p++;
        if (is_blank(character)) continue;
        if (character == '=') {
            pad++;
            continue;
        }
        if (pad > 0 || values[character] == NOT_IN_ALPHABET) return false;
        bits = bits << 6 | values[character];
        if (++held < 4) continue;
        *out++ = (uint8_t)(bits >> 16);
        *out++ = (uint8_t)(bits >> 8);
        *out++ = (uint8_t)bits;
        held = 0;
    }
    if (held == 1 || (pad > 0 && held + pad != 4)) return false;
    if (held >= 2) *out++ = (uint8_t)(bits >> (6 * held - 8));
    if (held == 3) *out++ = (uint8_t)(bits >> 2);
    *out_bytes = (size_t)(out - begin);
    return true;
}

size_t rn_base64_encode(rn_text bytes, char *out)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *p = (const uint8_t *)bytes.at;
    char *const begin = out;
    for (size_t i = 0; i < bytes.bytes; i += 3, out += 4) {
        const size_t left = bytes.bytes - i;
        const uint32_t group = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        out[0] = alphabet[group >> 18];
        out[1] = alphabet[group >> 12 & 63];
        out[2] = left > 1 ? alphabet[group >> 6 & 63] : '=';
        out[3] = left > 2 ? alphabet[group & 63] : '=';
    }
    return (size_t)(out - begin);
}
