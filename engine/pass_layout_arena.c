/* Places tensors in one block of memory by their lifetimes.
 *
 * In each signature's schedule a tensor lives from the operation that writes it to the last one that reads it; the feed lives from the start,
 * outputs to the end. The largest tensors are placed first, each at the lowest offset where no tensor that lives at the same time lies. For
 * a chain of blocks this finds the optimum or comes within a few per cent of it.
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

static bool live_together(const layout *l, int32_t a, int32_t b)
{
    for (int32_t s = 0; s < l->plan->signature_count; s++) {
        const lifetime *lives = l->lives + (size_t)s * l->plan->tensor_count;
        if (lives[a].begin > lives[a].end || lives[b].begin > lives[b].end) continue;
        if (lives[a].begin <= lives[b].end && lives[b].begin <= lives[a].end) return true;
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

static rn_status place_all(layout *l, const size_t *bytes, size_t *offsets, size_t *total, rn_error *err)
{
    const rn_plan *plan = l->plan;
    for (int32_t s = 0; s < plan->signature_count; s++) {
        find_lifetimes(plan, &plan->signatures[s], l->lives + (size_t)s * plan->tensor_count);
    }
    int32_t count = 0;
    for (int32_t t = 0; t < plan->tensor_count; t++) {
        offsets[t] = 0;
        if (bytes[t] == 0) continue;
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
    return RN_STATUS_OK;
}

rn_status rn_plan_layout_arena(const rn_plan *plan, const size_t *bytes, size_t *offsets, size_t *total, rn_error *err)
{
    rn_status status;
    const size_t tensors = (size_t)plan->tensor_count + 1;
    layout l = {
        .plan = plan,
        .lives = malloc(tensors * (size_t)plan->signature_count * sizeof *l.lives),
        .wanted = malloc(tensors * sizeof *l.wanted),
        .placed = malloc(tensors * sizeof *l.placed),
    };
    if (!l.lives || !l.wanted || !l.placed) {
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to lay out %d tensors", plan->tensor_count);
        goto cleanup;
    }
    status = place_all(&l, bytes, offsets, total, err);
cleanup:
    free(l.lives);
    free(l.wanted);
    free(l.placed);
    return status;
}
