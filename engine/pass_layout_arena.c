/* Places tensors in one block of memory by their lifetimes.
 *
 * In each signature's schedule a tensor lives from the operation that writes it to the last one that reads it; the feed lives from the start,
 * outputs to the end. The largest tensors are placed first, each at the lowest offset where no tensor that lives at the same time lies. For
 * a chain of blocks this finds the optimum or comes within a few per cent of it.
 *
 * A tensor that may take another one's bytes does so where that one ends with the operation that writes it: a chain of such tensors is placed as
 * one that lives as long as all of them.
 */
#include <stdlib.h>

#include "engine/passes.h"

enum { ALIGNMENT = 64 };

/* Steps of a schedule, both ends included; empty when begin > end. */
typedef struct {
    int32_t begin, end;
} lifetime;

typedef struct {
    size_t bytes, offset;
    int32_t tensor;
} placement;

typedef struct {
    const rn_plan *plan;
    lifetime *lives;     /* [signature][tensor] */
    int32_t *place_of;   /* [tensor] the first of the chain whose bytes it shares; often itself */
    placement *wanted;   /* by falling size */
    placement *placed;   /* by rising offset */
    int32_t placed_count;
} layout;

static void find_lifetimes(const rn_plan *plan, const rn_signature *signature, lifetime *lives)
{
    for (int32_t t = 0; t < plan->tensor_count; t++) lives[t] = (lifetime){1, 0};
    lives[signature->feed] = (lifetime){0, 0};
    for (int32_t step = 0; step < signature->op_count; step++) {
        const rn_op *op = &plan->ops[signature->ops[step]];
        for (int i = 0; i < 2; i++) {
            if (op->inputs[i] != RN_NONE) lives[op->inputs[i]].end = step;
            if (op->outputs[i] != RN_NONE && op->outputs[i] != signature->feed) lives[op->outputs[i]] = (lifetime){step, step};
        }
    }
    if (signature->class_map_op != RN_NONE) { /* it runs last */
        const rn_op *map = &plan->ops[signature->class_map_op];
        lives[map->inputs[0]].end = lives[map->inputs[1]].end = signature->op_count;
        lives[map->outputs[0]] = (lifetime){signature->op_count, signature->op_count};
    }
    for (int32_t i = 0; i < signature->output_count; i++) lives[signature->outputs[i].tensor].end = signature->op_count;
}

static lifetime *life_of(const layout *l, int32_t signature, int32_t tensor)
{
    return &l->lives[(size_t)signature * l->plan->tensor_count + tensor];
}

static bool is_used(const lifetime *life)
{
    return life->begin <= life->end;
}

/* Whether every signature that has `next` writes it with the last operation that needs `tensor`. */
static bool takes_over(const layout *l, int32_t tensor, int32_t next)
{
    for (int32_t s = 0; s < l->plan->signature_count; s++) {
        const lifetime *first = life_of(l, s, tensor), *second = life_of(l, s, next);
        if (is_used(second) && (!is_used(first) || first->end != second->begin)) return false;
    }
    return true;
}

/* Joins what can share bytes. The lives of a chain's members follow each other, so that the first one's lasts to the end of the last one's. */
static void join_chains(layout *l, const size_t *bytes, const int32_t *replaces)
{
    const int32_t count = l->plan->tensor_count;
    for (int32_t t = 0; t < count; t++) {
        const int32_t tensor = replaces ? replaces[t] : RN_NONE;
        l->place_of[t] = tensor != RN_NONE && bytes[tensor] == bytes[t] && takes_over(l, tensor, t) ? tensor : t;
    }
    for (int32_t t = 0; t < count; t++) {
        while (l->place_of[t] != l->place_of[l->place_of[t]]) l->place_of[t] = l->place_of[l->place_of[t]];
    }
    for (int32_t s = 0; s < l->plan->signature_count; s++) {
        for (int32_t t = 0; t < count; t++) {
            lifetime *first = life_of(l, s, l->place_of[t]);
            if (life_of(l, s, t)->end > first->end) first->end = life_of(l, s, t)->end;
        }
    }
}

static bool live_together(const layout *l, int32_t a, int32_t b)
{
    for (int32_t s = 0; s < l->plan->signature_count; s++) {
        const lifetime *x = life_of(l, s, a), *y = life_of(l, s, b);
        if (is_used(x) && is_used(y) && x->begin <= y->end && y->begin <= x->end) return true;
    }
    return false;
}

static int by_falling_size(const void *a, const void *b)
{
    const placement *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x->tensor - y->tensor;
}

/* The lowest offset where `bytes` bytes meet no tensor that lives together with this one. */
static rn_status place(layout *l, placement wanted, rn_error *err)
{
    size_t end;
    for (int32_t i = 0; i < l->placed_count; i++) {
        const placement *other = &l->placed[i];
        if (!live_together(l, wanted.tensor, other->tensor)) continue;
        if (other->offset >= wanted.offset && other->offset - wanted.offset >= wanted.bytes) break;
        end = other->offset + other->bytes;
        if (end > wanted.offset) wanted.offset = end;
    }
    if (__builtin_add_overflow(wanted.offset, wanted.bytes, &end)) {
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "tensor %s: an arena of more bytes than there are addresses",
                       l->plan->tensors[wanted.tensor].name);
    }
    int32_t at = l->placed_count++;
    for (; at > 0 && l->placed[at - 1].offset > wanted.offset; at--) l->placed[at] = l->placed[at - 1];
    l->placed[at] = wanted;
    return RN_STATUS_OK;
}

static rn_status place_all(layout *l, const size_t *bytes, const int32_t *replaces, size_t *offsets, size_t *total, rn_error *err)
{
    const rn_plan *plan = l->plan;
    for (int32_t s = 0; s < plan->signature_count; s++) {
        find_lifetimes(plan, &plan->signatures[s], life_of(l, s, 0));
    }
    join_chains(l, bytes, replaces);
    int32_t count = 0;
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        offsets[t] = 0;
        if (bytes[t] == 0 || l->place_of[t] != t) continue;
        if (bytes[t] > SIZE_MAX - ALIGNMENT) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "tensor %s is too large", plan->tensors[t].name);
        l->wanted[count++] = (placement){(bytes[t] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, 0, t};
    }
    qsort(l->wanted, (size_t)count, sizeof *l->wanted, by_falling_size);
    for (int32_t i = 0; i < count; i++) RN_TRY(place(l, l->wanted[i], err));
    *total = 0;
    for (int32_t i = 0; i < count; i++) {
        const placement *p = &l->placed[i];
        offsets[p->tensor] = p->offset;
        if (p->offset + p->bytes > *total) *total = p->offset + p->bytes;
    }
    for (int32_t t = 0; t < plan->tensor_count; t++) offsets[t] = offsets[l->place_of[t]];
    return RN_STATUS_OK;
}

rn_status rn_plan_layout_arena(const rn_plan *plan, const size_t *bytes, const int32_t *replaces, size_t *offsets, size_t *total, rn_error *err)
{
    rn_status status;
    const size_t tensors = (size_t)plan->tensor_count + 1;
    layout l = {
        .plan = plan,
        .lives = malloc(tensors * (size_t)plan->signature_count * sizeof *l.lives),
        .place_of = malloc(tensors * sizeof *l.place_of),
        .wanted = malloc(tensors * sizeof *l.wanted),
        .placed = malloc(tensors * sizeof *l.placed),
    };
    if (!l.lives || !l.place_of || !l.wanted || !l.placed) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to lay out %d tensors", plan->tensor_count);
        goto cleanup;
    }
    status = place_all(&l, bytes, replaces, offsets, total, err);
cleanup:
    free(l.lives);
    free(l.place_of);
    free(l.wanted);
    free(l.placed);
    return status;
}
