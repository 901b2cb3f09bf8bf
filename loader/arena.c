/* Small pieces are cut from blocks that double up to 4 MiB; a large one gets a block of its own. */
#include "loader/arena.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK_BYTES = 16 << 10, LARGEST_BLOCK_BYTES = 4 << 20, LARGE_PIECE_BYTES = 4 << 10, ALIGNMENT = 64 };

typedef struct block {
    struct block *next;
    char padding[ALIGNMENT - sizeof(struct block *)]; /* so that what follows is aligned */
} block;

struct rn__arena {
    block *blocks;
    char *at, *end;     /* free part of the current block */
    size_t block_bytes; /* of the next one */
    size_t used, limit; /* used <= limit; blocks add at most a few MiB to that */
};

rn__arena *rn__arena_create(size_t limit_bytes)
{
    rn__arena *arena = calloc(1, sizeof *arena);
    if (!arena) return NULL;
    arena->block_bytes = FIRST_BLOCK_BYTES;
    arena->limit = limit_bytes;
    return arena;
}

void rn__arena_destroy(rn__arena *arena)
{
    if (!arena) return;
    for (block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

size_t rn__arena_used(const rn__arena *arena)
{
    return arena->used;
}

/* Memory of a new block, `bytes` being a multiple of ALIGNMENT. */
static char *add_block(rn__arena *arena, size_t bytes)
{
    block *b = aligned_alloc(ALIGNMENT, sizeof *b + bytes);
    if (!b) return NULL;
    b->next = arena->blocks;
    arena->blocks = b;
    return (char *)(b + 1);
}

void *rn__arena_take(rn__arena *arena, size_t bytes)
{
    if (bytes > arena->limit - arena->used) return NULL;
    const size_t rounded = bytes ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0, small = bytes ? (bytes + 15) / 16 * 16 : 16;
    char *memory;
    if (small >= LARGE_PIECE_BYTES) {
        memory = add_block(arena, rounded);
    } else {
        if ((size_t)(arena->end - arena->at) < small) {
            char *fresh = add_block(arena, arena->block_bytes);
            if (!fresh) return NULL;
            arena->at = fresh;
            arena->end = fresh + arena->block_bytes;
            if (arena->block_bytes < LARGEST_BLOCK_BYTES) arena->block_bytes *= 2;
        }
        memory = arena->at;
        arena->at += small;
    }
    if (memory) arena->used += bytes;
    return memory;
}

void *rn__arena_raw_array(rn__arena *arena, uint64_t count, size_t size, const char *what, rn_error *err)
{
    size_t bytes;
    void *memory = __builtin_mul_overflow(count, size, &bytes) ? NULL : rn__arena_take(arena, bytes);
    if (!memory) {
        RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for %s: %llu elements of %zu bytes, %zu of at most %zu bytes are in use", what,
                (unsigned long long)count, size, arena->used, arena->limit);
    }
    return memory;
}

void *rn__arena_array(rn__arena *arena, uint64_t count, size_t size, const char *what, rn_error *err)
{
    void *memory = rn__arena_raw_array(arena, count, size, what, err);
    if (memory) memset(memory, 0, (size_t)count * size);
    return memory;
}
