/* Packed filters: where each lies, and how all threads fill them. All lie in one block, so that they share its huge pages. */
#include "engine/cpu/cpu_executor.h"

enum { ALIGNMENT = 64, PARTS_PER_THREAD = 4 };

static int32_t filter_of(const rn_op *op)
{
    return op->kind == RN_OP_DENSE ? op->u.dense.weights : op->u.conv2d.filter;
}

static int32_t groups_of(const rn_op *op)
{
    return op->kind == RN_OP_DENSE ? 1 : op->u.conv2d.groups;
}

/* The filter that a step packs with the same weights and method, or NULL. */
static const rn__cpu_filter *find_filter(const rn_executor *e, const rn_op *op, int32_t m)
{
    for (const rn__cpu_step *other = e->steps; other < e->steps + e->plan->op_count; other++) {
        if (!other->op || filter_of(other->op) != filter_of(op) || groups_of(other->op) != groups_of(op)) continue;
        if (e->tensors[other->op->inputs[0]].dtype != e->tensors[op->inputs[0]].dtype) continue;
        for (const rn__cpu_filter *f = other->filters; f < other->filters + RN__CPU_BATCH_CLASSES; f++) {
            if (f->owned && f->winograd_m == m) return f;
        }
    }
    return NULL;
}

void rn__cpu_place_filter(rn_executor *e, rn__cpu_step *step, rn__cpu_filter *filter)
{
    const int32_t m = filter->winograd_m;
    const rn_conv2d_args args = rn__cpu_step_args(e, step, 1);
    if (m == 0) step->panels = rn_conv2d_panels_layout(&args, rn_conv2d_tile_for(&e->kernels, &args).lanes);
    const size_t bytes = m > 0 ? rn__cpu_winograd_prepare(e, step, m) : (size_t)(step->panels.count * step->panels.bytes);
    const rn__cpu_filter *same = find_filter(e, step->op, m);
    filter->owned = !same;
    filter->offset = same ? same->offset : e->weight_bytes;
    if (!same) e->weight_bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

typedef struct {
    rn_conv2d_winograd winograd; /* one of the two */
    rn_conv2d_args args;
    const rn_conv2d_panels *panels;
    void *to;
} job;

static void pack_winograd(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    const job *j = context;
    rn_conv2d_winograd_pack_panels(&j->winograd, begin, end, j->to);
}

static void pack_direct(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    const job *j = context;
    rn_conv2d_panels_pack_range(&j->args, j->panels, begin, end, j->to);
}

static void pack_filter(const rn_executor *e, const rn__cpu_step *step, const rn__cpu_filter *filter)
{
    job j = {.panels = &step->panels, .to = filter->packed};
    const int32_t parts = PARTS_PER_THREAD * rn__thread_pool_thread_count(e->pool);
    if (filter->winograd_m > 0) {
        j.winograd = rn__cpu_winograd_without_filter(e, step, filter->winograd_m);
        rn__thread_pool_run(e->pool, j.winograd.panel_count, parts, pack_winograd, &j);
    } else {
        j.args = rn__cpu_step_args(e, step, 1);
        rn__thread_pool_run(e->pool, j.panels->count, parts, pack_direct, &j);
    }
}

rn_status rn__cpu_pack_filters(rn_executor *e, rn_error *err)
{
    if (e->weight_bytes == 0) return RN_STATUS_OK; /* OpenBLAS reads the plan's own */
    RN_TRY(rn__host_memory_alloc(e->weight_bytes, "packed weights", &e->packed, err));
    for (rn__cpu_step *step = e->steps; step < e->steps + e->plan->op_count; step++) {
        for (int32_t i = 0; i < RN__CPU_BATCH_CLASSES; i++) {
            rn__cpu_filter *filter = &step->filters[i];
            filter->packed = (char *)e->packed.at + filter->offset;
            if (filter->owned) pack_filter(e, step, filter);
        }
    }
    return RN_STATUS_OK;
}
