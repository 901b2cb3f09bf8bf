/* Arrays of numbers in JSON checked 64 bytes at a time, for whoever can tell classes of characters apart quickly: what the entries of
 * text_kernels.def share.
 *
 * Each class of characters becomes a 64-bit mask, a bit for each byte, and the grammar is a few operations on the masks: which class may
 * stand behind which. A block begins where a value is expected and is used up to its last comma, where a value is expected again, so that
 * no state is carried from block to block. */
#ifndef RN_KERNELS_TEXT_JSON_BLOCKS_H
#define RN_KERNELS_TEXT_JSON_BLOCKS_H

#include <stdbool.h>

#include "kernels/text/text_kernels.h"

enum { JSON_BLOCK_BYTES = 64, JSON_MAX_DEPTH = 64 };

typedef struct {
    uint64_t digit, zero, point, minus, comma, blank, open, close;
} json_masks;

/* Bytes that are against the grammar, or outside of the part of it that is known here. */
static inline uint64_t json_wrong(const json_masks *m)
{
    const uint64_t known = m->digit | m->point | m->minus | m->comma | m->blank | m->open | m->close;
    const uint64_t value_due = (m->comma << 1 | 1) | m->blank << 1 | m->open << 1; /* the byte before the block counts as a comma */
    const uint64_t value_over = (m->digit | m->close) << 1;
    const uint64_t first_digit = m->digit & (value_due | m->minus << 1);
    const uint64_t fraction = m->point << 1, behind_fraction = (m->digit + fraction) & ~m->digit; /* the carry runs through the digits */
    uint64_t bad = ~known;
    bad |= m->blank & ~(m->comma << 1);
    bad |= m->minus & ~value_due;
    bad |= m->minus << 1 & ~m->digit;
    bad |= m->digit & ~(value_due | (m->minus | m->digit | m->point) << 1);
    bad |= (m->zero & first_digit) << 1 & m->digit;
    bad |= m->point & ~(m->digit << 1);
    bad |= fraction & ~m->digit;
    bad |= m->point & behind_fraction;
    bad |= m->comma & ~value_over;
    bad |= m->open & ~value_due;
    bad |= m->close & ~value_over;
    return bad;
}

/* Whether the levels from `lowest` to `highest`, all of them arrays, may be skipped in. */
static inline bool json_may_skip(const rn_json_place *place, size_t lowest, size_t highest)
{
    return lowest >= RN_JSON_SKIP_DEPTH && highest <= JSON_MAX_DEPTH && !(place->objects >> (lowest - 1));
}

/* Follows the brackets of the block; false when they lead too low, too high, or out of an object. */
static inline bool json_follow_brackets(uint64_t open, uint64_t close, rn_json_place *place)
{
    /* Rows of numbers: every array that ends is followed by the next one, and all that is left to know is where the block ends. */
    const uint64_t inner = open & ~(uint64_t)1, used = (uint64_t)-1 >> __builtin_clzll(open | close | 1);
    const bool alone = !(close & close << 1), next = inner == (close << 2 & used), next_but_blank = inner == (close << 3 & used);
    if (alone && (next || next_but_blank)) {
        const size_t lowest = place->depth + (open & 1) - (close != 0), highest = place->depth + (open & 1);
        if (!json_may_skip(place, lowest, highest)) return false;
        place->depth += (size_t)__builtin_popcountll(open) - (size_t)__builtin_popcountll(close);
        return true;
    }
    size_t depth = place->depth, lowest = depth, highest = depth;
    for (uint64_t brackets = open | close; brackets; brackets &= brackets - 1) {
        depth += open & brackets & -brackets ? 1 : (size_t)-1;
        if (depth < lowest) lowest = depth;
        if (depth > highest) highest = depth;
        if (depth < RN_JSON_SKIP_DEPTH) return false;
    }
    if (!json_may_skip(place, lowest, highest)) return false;
    place->depth = depth;
    return true;
}

/* rn_json_skip_fn, with the classification of the instruction set. */
static inline void json_skip_blocks(rn_json_place *place, const char *limit, json_masks (*classify)(const char *block))
{
    /* Levels above the depth hold whatever was there before. */
    if (place->depth < JSON_MAX_DEPTH) place->objects &= ((uint64_t)1 << place->depth) - 1;
    while (limit - place->p > JSON_BLOCK_BYTES) {
        const json_masks m = classify(place->p);
        if (!m.comma) return;
        const int last = 63 - __builtin_clzll(m.comma);
        const uint64_t used = (uint64_t)-1 >> (63 - last);
        if ((json_wrong(&m) & used) || !json_follow_brackets(m.open & used, m.close & used, place)) return;
        place->p += last + 1;
        if (*place->p == ' ') place->p++;
    }
}

#endif
