/* Checksums by which a storage says what an object holds. */
#ifndef RN_LOADER_STORAGE_CHECK_H
#define RN_LOADER_STORAGE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/base/error.h"

/* Name, size, and how good: an object that has several is checked by the last of these. CRCs are big-endian in digests, as in headers. */
#define RN__CHECK_LIST(X)    \
    X(MD5, "MD5", 16)        \
    X(CRC32, "CRC32", 4)     \
    X(CRC32C, "CRC32C", 4)   \
    X(CRC64, "CRC64NVME", 8) \
    X(SHA256, "SHA-256", 32)

typedef enum {
    RN__CHECK_NONE,
#define RN__CHECK_ENUM(name, text, bytes) RN__CHECK_##name,
    RN__CHECK_LIST(RN__CHECK_ENUM)
#undef RN__CHECK_ENUM
        RN__CHECK_COUNT
} rn__check_kind;

enum { RN__CHECK_MOST_BYTES = 32 };

typedef struct rn__check {
    rn__check_kind kind;
    uint8_t digest[RN__CHECK_MOST_BYTES];
} rn__check;

/* Takes the checksum where it is well-formed and better than what is known. */
void rn__check_improve_base64(rn__check *check, rn__check_kind kind, const char *text);
void rn__check_improve_hex(rn__check *check, rn__check_kind kind, const char *text);

/* Reads the file. DATA_LOSS names `what`, the kind and both values. */
rn_status rn__check_file(const char *path, const rn__check *check, const char *what, rn_error *err);

/* CRC-64/NVME (NVM Express NVM Command Set 1.0, 5.2.1.3.4) of the bytes that gave `crc` (0 for none) followed by `bytes`. */
uint64_t rn__crc64(uint64_t crc, const void *bytes, size_t count);

#endif
