/* Runs of characters of the alphabet are decoded by a kernel; whatever is something else (blank, padding, mistake) ends a run and is looked
 * at by itself. */
#include "http/base64.h"

#include "kernels/text/text_kernels.h"

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The six bits of a character, or -1. */
static int32_t value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool rn_base64_decode(rn_text text, uint8_t *out, size_t *out_bytes)
{
    const uint8_t *p = (const uint8_t *)text.at, *const end = p + text.bytes;
    uint8_t *const begin = out;
    uint32_t bits = 0;     /* the characters of an unfinished group */
    int held = 0, pad = 0; /* their number; '=' seen */
    while (p < end) {
        if (held == 0 && pad == 0) {
            const size_t run = rn_text_kernels_best->base64_decode((const char *)p, (size_t)(end - p), out);
            p += run;
            out += run / 4 * 3;
        }
        if (p == end) break;
        const uint8_t character = *p++;
        if (is_blank(character)) continue;
        if (character == '=') {
            pad++;
            continue;
        }
        const int32_t value = value_of(character);
        if (pad > 0 || value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
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
    const uint8_t *p = (const uint8_t *)bytes.at;
    const size_t whole = rn_text_kernels_best->base64_encode(p, bytes.bytes, out), left = bytes.bytes - whole;
    size_t used = whole / 3 * 4;
    if (left > 0) {
        const uint8_t last[3] = {p[whole], left > 1 ? p[whole + 1] : 0, 0};
        rn_text_kernels_best->base64_encode(last, sizeof last, out + used);
        if (left == 1) out[used + 2] = '=';
        out[used + 3] = '=';
        used += 4;
    }
    return used;
}
