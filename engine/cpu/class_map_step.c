/* The explanation of a batch: for each row that somebody wants explained, the class, that class's weights, and their products with every
 * position of the last feature map. It runs behind the signature's operations, whose results are still in the arena.
 */
#include <math.h>

#include "engine/clock.h"
#include "engine/cpu/cpu_executor.h"

/* The largest score; the first of equal ones, and a number before NaN, as top_k orders them. */
static int32_t largest(const float *scores, int32_t count)
{
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++) {
        if (scores[i] > scores[best] || (isnan(scores[best]) && !isnan(scores[i]))) best = i;
    }
    return best;
}

typedef struct {
    rn_class_map_fn *kernel;
    rn_class_map_args args;
} class_map_job;

static void map_rows(const void *context, int32_t begin, int32_t end, int32_t thread)
{
    (void)thread;
    const class_map_job *job = context;
    rn_class_map_args args = job->args;
    args.row_begin = begin;
    args.row_end = end;
    job->kernel(&args);
}

/* `rows` rows from batch row `at` on. */
static void explain_part(const rn_executor *e, const rn_op *op, int32_t at, const rn_batch_part *part)
{
    const rn_plan_tensor *x = &e->plan->tensors[op->inputs[0]];
    const int32_t classes = e->plan->tensors[op->inputs[1]].c;
    const rn_map scores = rn__cpu_map(e, op->inputs[1]);
    const float *weights = rn__cpu_weights(e, op->u.class_map.weights); /* [c][classes] */
    for (int32_t i = 0; i < part->rows; i++) {
        int32_t *class = &part->classes[i];
        if (*class == RN_NONE) *class = largest(rn_map_at(&scores, (at + i) * scores.image), classes);
        float *to = (float *)e->class_weights.at + (int64_t)i * x->c;
        for (int32_t c = 0; c < x->c; c++) to[c] = weights[(int64_t)c * classes + *class];
    }
    rn_map map = rn__cpu_map(e, op->inputs[0]);
    map.data = rn_map_at(&map, at * map.image);
    const class_map_job job = {e->kernels.class_map[e->tensors[op->inputs[0]].dtype].run,
                               {.x = map, .weights = e->class_weights.at, .y = part->maps, .h = x->h, .w = x->w, .c = x->c}};
    rn__thread_pool_run(e->pool, part->rows * x->h, rn__thread_pool_thread_count(e->pool), map_rows, &job);
}

void rn__cpu_explain(const rn_executor *e, const rn_signature *signature, const rn_batch_part *parts, int32_t part_count)
{
    if (signature->class_map_op == RN_NONE) return;
    for (int32_t i = 0, at = 0; i < part_count; at += parts[i++].rows) {
        if (!parts[i].classes) continue;
        const double start = e->observer ? rn_clock_seconds() : 0;
        explain_part(e, &e->plan->ops[signature->class_map_op], at, &parts[i]);
        if (e->observer) e->observer(e->observer_context, signature->class_map_op, rn_clock_seconds() - start);
    }
}

size_t rn__cpu_class_weight_elements(const rn_executor *e)
{
    int32_t most = 0;
    for (int32_t s = 0; s < e->plan->signature_count; s++) {
        const int32_t op = e->plan->signatures[s].class_map_op;
        const int32_t channels = op == RN_NONE ? 0 : e->plan->tensors[e->plan->ops[op].inputs[0]].c;
        if (channels > most) most = channels;
    }
    return (size_t)most * (size_t)e->pass_rows;
}
