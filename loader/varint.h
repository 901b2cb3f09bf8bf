/* Base-128 integers of protocol buffers and of LevelDB tables, read from untrusted bytes. */
#ifndef RN_LOADER_VARINT_H
#define RN_LOADER_VARINT_H

#include <stdbool.h>
#include <stdint.h>

/* Reads one varint at *at, which it moves past it. False, with *at unmoved, when it runs over `end` or past 64 bits. */
bool rn__varint_read(const uint8_t **at, const uint8_t *end, uint64_t *out);

/* The same, for a value that must fit in 32 bits. */
bool rn__varint_read_u32(const uint8_t **at, const uint8_t *end, uint32_t *out);

#endif
