/* Explanations of a batch: top-k finds each row's best class, and one kernel multiplies the last feature map with the weights of that
 * class, or of the one that was asked for. Both run behind the batch's graph, whose tensors are still in the arena, and only where somebody
 * wants them: a batch without explanations pays nothing. The dense layer's filter lies on the device with a row for each class already.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/cuda/cuda_executor.h"

/* For the largest batch: a block on the device, and a pinned one that holds what is copied. */
struct rn__cuda_explanations {
    char *device, *host;
    int32_t *asked, *best, *chosen; /* on the device: [rows] */
    float *scores, *maps;           /* [rows] of the best, [rows][positions] */
    int32_t *host_asked, *host_chosen;
    float *host_maps;
};

static const rn_op *map_of(const rn_executor *e, const rn_signature *signature)
{
    return signature->class_map_op == RN_NONE ? NULL : &e->plan->ops[signature->class_map_op];
}

static size_t positions_of(const rn_executor *e, const rn_op *op)
{
    const rn__cuda_tensor *x = &e->tensors[op->inputs[0]];
    return (size_t)x->h * (size_t)x->w;
}

static size_t most_positions(const rn_executor *e)
{
    size_t most = 0;
    for (int32_t s = 0; s < e->plan->signature_count; s++) {
        const rn_op *op = map_of(e, &e->plan->signatures[s]);
        if (op && positions_of(e, op) > most) most = positions_of(e, op);
    }
    return most;
}

/* The next `bytes` of a block. */
static void *carve(char *block, size_t *used, size_t bytes)
{
    char *piece = block + *used;
    *used += (bytes + RN__CUDA_ALIGNMENT - 1) / RN__CUDA_ALIGNMENT * RN__CUDA_ALIGNMENT;
    return piece;
}

rn_status rn__cuda_explanations_create(rn_executor *e, rn__cuda_slot *slot, rn_error *err)
{
    const size_t rows = (size_t)e->buckets[e->bucket_count - 1], ints = rows * sizeof(int32_t),
                 floats = most_positions(e) * rows * sizeof(float);
    if (floats == 0) return RN_STATUS_OK;
    struct rn__cuda_explanations *x = slot->explanations = calloc(1, sizeof *x);
    if (!x) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for explanations");
    RN_TRY(rn__cuda_take(e, 4 * (ints + RN__CUDA_ALIGNMENT) + floats, "memory for explanations", &x->device, err));
    RN_CUDA_TRY(cudaMallocHost((void **)&x->host, 2 * (ints + RN__CUDA_ALIGNMENT) + floats), "pinned memory for explanations");
    size_t used = 0;
    x->asked = carve(x->device, &used, ints);
    x->best = carve(x->device, &used, ints);
    x->chosen = carve(x->device, &used, ints);
    x->scores = carve(x->device, &used, ints);
    x->maps = carve(x->device, &used, floats);
    used = 0;
    x->host_asked = carve(x->host, &used, ints);
    x->host_chosen = carve(x->host, &used, ints);
    x->host_maps = carve(x->host, &used, floats);
    return RN_STATUS_OK;
}

void rn__cuda_explanations_destroy(rn__cuda_slot *slot)
{
    if (!slot->explanations) return;
    (void)cudaFreeHost(slot->explanations->host);
    (void)cudaFree(slot->explanations->device);
    free(slot->explanations);
}

/* Whether a part wants explanations; what each row asks for goes to pinned memory. */
static bool gather_classes(const rn__cuda_slot *slot)
{
    bool wanted = false;
    int32_t *to = slot->explanations->host_asked;
    for (int32_t i = 0; i < slot->part_count; to += slot->parts[i++].rows) {
        const rn_batch_part *part = &slot->parts[i];
        if (part->classes)
            memcpy(to, part->classes, (size_t)part->rows * sizeof *to);
        else
            for (int32_t row = 0; row < part->rows; row++) to[row] = RN_NONE;
        wanted |= part->classes != NULL;
    }
    return wanted;
}

/* The filter of the operation that wrote the scores: [classes][c] in the storage type. */
static const void *filter_of(const rn_executor *e, int32_t scores)
{
    for (int32_t o = 0; o < e->plan->op_count; o++) {
        if (e->plan->ops[o].outputs[0] == scores) return e->steps[o].filter;
    }
    return NULL;
}

static rn_status launched(rn_status status, const rn_op *op, rn_error *err)
{
    return status == RN_STATUS_OK ? status : rn__cuda_fail(cudaGetLastError(), op->name, err);
}

static rn_status launch(const rn_executor *e, const rn__cuda_slot *slot, const rn_op *op, rn_error *err)
{
    const struct rn__cuda_explanations *own = slot->explanations;
    const rn__cuda_tensor *x = &e->tensors[op->inputs[0]], *scores = &e->tensors[op->inputs[1]];
    const rn_cuda_top_k_args best = {.x = scores->data,
                                     .values = own->scores,
                                     .indexes = own->best,
                                     .rows = slot->rows,
                                     .channels = scores->channels,
                                     .c = scores->c,
                                     .k = 1};
    RN_TRY(launched(rn_cuda_kernels_of(scores->dtype)->top_k(&best, e->stream), op, err));
    const rn_cuda_class_map_args map = {.x = x->data,
                                        .weights = filter_of(e, op->inputs[1]),
                                        .classes = own->best,
                                        .class_stride = 1,
                                        .asked = own->asked,
                                        .chosen = own->chosen,
                                        .y = own->maps,
                                        .n = slot->rows,
                                        .positions = (int32_t)positions_of(e, op),
                                        .c = x->c};
    return launched(rn_cuda_kernels_of(x->dtype)->class_map(&map, e->stream), op, err);
}

rn_status rn__cuda_explain(rn_executor *e, const rn__cuda_slot *slot, rn_error *err)
{
    const rn_op *op = map_of(e, slot->signature);
    if (!op || !gather_classes(slot)) return RN_STATUS_OK;
    const struct rn__cuda_explanations *x = slot->explanations;
    const size_t ints = (size_t)slot->rows * sizeof(int32_t), floats = (size_t)slot->rows * positions_of(e, op) * sizeof(float);
    RN_CUDA_TRY(cudaMemcpyAsync(x->asked, x->host_asked, ints, cudaMemcpyHostToDevice, e->stream), "copying classes");
    RN_TRY(launch(e, slot, op, err));
    RN_CUDA_TRY(cudaMemcpyAsync(x->host_chosen, x->chosen, ints, cudaMemcpyDeviceToHost, e->stream), "copying classes");
    RN_CUDA_TRY(cudaMemcpyAsync(x->host_maps, x->maps, floats, cudaMemcpyDeviceToHost, e->stream), "copying explanations");
    return RN_STATUS_OK;
}

void rn__cuda_explanations_hand_out(const rn_executor *e, const rn__cuda_slot *slot)
{
    const rn_op *op = map_of(e, slot->signature);
    if (!op) return;
    const size_t positions = positions_of(e, op);
    size_t at = 0;
    for (int32_t i = 0; i < slot->part_count; i++) {
        const rn_batch_part *part = &slot->parts[i];
        const size_t rows = (size_t)part->rows;
        if (part->classes) {
            memcpy(part->classes, slot->explanations->host_chosen + at, rows * sizeof(int32_t));
            memcpy(part->maps, slot->explanations->host_maps + at * positions, rows * positions * sizeof(float));
        }
        at += rows;
    }
}
