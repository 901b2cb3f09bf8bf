/* What writing and reading a model file share: its layout. */
#ifndef RN_LOADER_MODEL_FILE_PRIVATE_H
#define RN_LOADER_MODEL_FILE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "weights are used as they lie in the file, which is little-endian");

enum {
    RN__MODEL_FILE_LENGTH_BYTES = 8,            /* of the number in front of the header */
    RN__MODEL_FILE_ALIGNMENT = 64,              /* of the data and of each tensor: a cache line, and the widest vector load */
    RN__MODEL_FILE_MAX_HEADER_BYTES = 32 << 20, /* ResNet-101 needs 0.1 MB; parsed, a header takes about ten times its text */
    RN__SHA256_TEXT_BYTES = 65
};

#define RN__MODEL_FILE_METADATA "__metadata__"
#define RN__MODEL_FILE_FORMAT "resnetd"
#define RN__MODEL_FILE_VERSION "1"

/* Lower-case hexadecimal. */
void rn__sha256_text(const uint8_t digest[32], char out[RN__SHA256_TEXT_BYTES]);

#endif
