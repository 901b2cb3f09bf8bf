/* Seven bits a byte, lowest first; the top bit says that another byte follows. Ten bytes hold 64 bits. */
#include "loader/varint.h"

bool rn__varint_read(const uint8_t **at, const uint8_t *end, uint64_t *out)
{
    uint64_t value = 0;
    const uint8_t *p = *at;
    for (int shift = 0; p < end && shift < 64; shift += 7) {
        const uint8_t byte = *p++;
        if (shift == 63 && byte > 1) return false; /* bits 64 and up */
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte & 0x80) continue;
        *at = p;
        *out = value;
        return true;
    }
    return false;
}

bool rn__varint_read_u32(const uint8_t **at, const uint8_t *end, uint32_t *out)
{
    const uint8_t *p = *at;
    uint64_t value;
    if (!rn__varint_read(&p, end, &value) || value > UINT32_MAX) return false;
    *at = p;
    *out = (uint32_t)value;
    return true;
}
