/* The SHA-256 of a converted file's data, computed while the file is being read: either alone takes a tenth of a second for a ResNet-101. */
#ifndef RN_LOADER_DATA_HASH_H
#define RN_LOADER_DATA_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct rn__data_hash rn__data_hash;

/* Starts the thread that hashes. NULL: no memory. Without a thread to be had rn__data_hash_finish does all of it. */
rn__data_hash *rn__data_hash_start(void);
/* The first `done` of the file's bytes are there and do not change any more. hash: a rn__data_hash; bytes: the same in every call. */
void rn__data_hash_advance(void *hash, const uint8_t *bytes, size_t done);
/* Ends the thread and frees it all; NULL allowed. Whether digest holds the hash of everything after the header, which is empty where the file ends
 * before. */
bool rn__data_hash_finish(rn__data_hash *hash, uint8_t digest[32]);

#endif
