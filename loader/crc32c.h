/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), the checksum of TensorFlow's checkpoints. */
#ifndef RN_LOADER_CRC32C_H
#define RN_LOADER_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of the bytes that gave `crc` (0 for none) followed by `bytes`. Thread-safe. */
uint32_t rn__crc32c(uint32_t crc, const void *bytes, size_t count);

/* The same by table, on any processor: what rn__crc32c is tested against. */
uint32_t rn__crc32c_portable(uint32_t crc, const void *bytes, size_t count);

/* LevelDB stores checksums masked, because the CRC of bytes that hold their own CRC is degenerate. */
static inline uint32_t rn__crc32c_mask(uint32_t crc)
{
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

#endif
