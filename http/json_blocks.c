/* Each class of characters becomes a 64-bit mask, a bit for each byte, and the grammar is a few operations on the masks: which class may
 * stand behind which. A block begins where a value is expected and is used up to its last comma, where a value is expected again, so that
 * no state is carried from block to block. */
#include "http/json_blocks.h"

#include <stdbool.h>

#if defined(__SSE2__)
#include <emmintrin.h>

enum { BLOCK_BYTES = 64, MAX_DEPTH = 64 };

typedef struct {
    uint64_t digit, zero, point, minus, comma, blank, open, close;
} masks;

static inline uint64_t equal(const __m128i v[4], char c)
{
    const __m128i wanted = _mm_set1_epi8(c);
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], wanted)) << (16 * i);
    return mask;
}

/* '0' to '9': the signed comparison needs both ends, bytes above 0x7f are negative. */
static inline uint64_t digits(const __m128i v[4])
{
    const __m128i below = _mm_set1_epi8('0' - 1), above = _mm_set1_epi8('9' + 1);
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++)
        mask |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_and_si128(_mm_cmpgt_epi8(v[i], below), _mm_cmplt_epi8(v[i], above))) << (16 * i);
    return mask;
}

static inline masks classify(const char *p)
{
    __m128i v[4];
    for (int i = 0; i < 4; i++) v[i] = _mm_loadu_si128((const __m128i *)(p + 16 * i));
    return (masks){.digit = digits(v), .zero = equal(v, '0'), .point = equal(v, '.'), .minus = equal(v, '-'),
                   .comma = equal(v, ','), .blank = equal(v, ' '), .open = equal(v, '['), .close = equal(v, ']')};
}

/* Bytes that are against the grammar, or outside of the part of it that is known here. */
static inline uint64_t wrong(const masks *m)
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

/* Follows the brackets of the block; false when they lead too low, too high, or out of an object. */
static inline bool follow_brackets(const masks *m, uint64_t used, rn__json_place *place)
{
    size_t depth = place->depth, lowest = depth;
    for (uint64_t brackets = (m->open | m->close) & used; brackets; brackets &= brackets - 1) {
        const bool opens = m->open & brackets & -brackets;
        depth += opens ? 1 : (size_t)-1;
        if (depth < lowest) lowest = depth;
        if (depth < RN__JSON_BLOCK_DEPTH || depth > MAX_DEPTH) return false;
    }
    if (place->objects >> (lowest - 1)) return false; /* an object is open above the lowest level that was reached, or is that level */
    place->depth = depth;
    return true;
}

void rn__json_skip_blocks(rn__json_place *place, const char *limit)
{
    /* Levels above the depth hold whatever was there before. */
    if (place->depth < MAX_DEPTH) place->objects &= ((uint64_t)1 << place->depth) - 1;
    while (limit - place->p > BLOCK_BYTES) {
        const masks m = classify(place->p);
        if (!m.comma) return;
        const int last = 63 - __builtin_clzll(m.comma);
        const uint64_t used = (uint64_t)-1 >> (63 - last);
        if ((wrong(&m) & used) || !follow_brackets(&m, used, place)) return;
        place->p += last + 1;
        if (*place->p == ' ') place->p++;
    }
}

#else

void rn__json_skip_blocks(rn__json_place *place, const char *limit)
{
    (void)place;
    (void)limit;
}

#endif
