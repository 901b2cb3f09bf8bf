/* A SavedModel directory becomes a plan: open the files, bind the variables, import each signature, share what they have in common,
 * optimize.
 *
 * Whatever is not understood fails the load by name: a model is served as it was exported or not at all.
 */
#include "loader/saved_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/passes.h"
#include "loader/graph_import.h"
#include "loader/plan_share.h"
#include "loader/saved_model_file.h"

enum { PATH_ROOM = 4096 };

/* Everything that one load holds, so that it is released in one place. */
typedef struct load {
    rn__saved_model_file file;
    rn__checkpoint *checkpoint; /* NULL for a model without variables */
    rn__arena *scratch, *lasting;
    rn__variables *variables;
    rn__import import;
    rn_plan *plan;
} load;

static rn_status open_checkpoint(const char *directory, const rn_progress *progress, rn__checkpoint **out, rn_error *err)
{
    char path[PATH_ROOM];
    *out = NULL;
    if ((size_t)snprintf(path, sizeof path, "%s/variables/variables.index", directory) >= sizeof path) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", directory);
    }
    if (access(path, F_OK) != 0) return RN_STATUS_OK; /* a frozen model; a variable that is missed says so itself */
    path[strlen(path) - strlen(".index")] = 0;
    return rn__checkpoint_open(path, progress, out, err);
}

/* Initialisation and training, which nobody serves. */
static bool is_served(const Sm__SignatureEntry *entry)
{
    static const char *const training[] = {"tensorflow/supervised/training", "tensorflow/supervised/eval"};
    if (strncmp(entry->key, "__saved_model_", 14) == 0 || !entry->value) return false;
    for (size_t i = 0; i < sizeof training / sizeof *training; i++) {
        if (strcmp(entry->value->method_name, training[i]) == 0) return false;
    }
    return true;
}

static int compare_signatures(const void *a, const void *b)
{
    return strcmp((*(Sm__SignatureEntry *const *)a)->key, (*(Sm__SignatureEntry *const *)b)->key);
}

static rn_status import_signatures(load *l, rn_error *err)
{
    const Sm__MetaGraph *graph = l->file.meta_graph;
    if (graph->n_signature_def) qsort(graph->signature_def, graph->n_signature_def, sizeof *graph->signature_def, compare_signatures);
    for (size_t i = 0; i < graph->n_signature_def; i++) {
        const Sm__SignatureEntry *entry = graph->signature_def[i];
        if (is_served(entry)) RN_TRY(rn__import_signature(&l->import, entry->key, entry->value, err));
    }
    return l->plan->signature_count > 0 ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_UNSUPPORTED, "no signature to serve");
}

static void release_arena(void *memory, size_t bytes)
{
    (void)bytes;
    rn__arena_destroy(memory);
}

/* Gives the plan the memory that its weights point into. */
static rn_status hand_over(load *l, rn_error *err)
{
    rn__arena *lasting = l->lasting;
    l->lasting = NULL;
    RN_TRY(rn_plan_adopt(l->plan, lasting, rn__arena_used(lasting), release_arena, err));
    return l->checkpoint ? rn__checkpoint_give_shards(l->checkpoint, l->plan, err) : RN_STATUS_OK;
}

static rn_status build(load *l, const char *path, const rn_progress *progress, rn_error *err)
{
    RN_TRY(rn__saved_model_file_open(path, &l->file, err));
    RN_TRY(open_checkpoint(path, progress, &l->checkpoint, err));
    /* Values and frames come to some 10 times the graph; constants to the tensors themselves where they are converted. Both limits are
     * generous for what TensorFlow writes and keep a small file from asking for a large machine. */
    const size_t stored = l->file.size_bytes + (l->checkpoint ? (size_t)rn__checkpoint_bytes(l->checkpoint) : 0);
    l->scratch = rn__arena_create(((size_t)64 << 20) + 100 * l->file.size_bytes);
    l->lasting = rn__arena_create(((size_t)64 << 20) + 4 * stored);
    l->plan = rn_plan_create();
    if (!l->scratch || !l->lasting || !l->plan) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to load it");
    RN_TRY(rn__variables_create(l->file.meta_graph, l->checkpoint, l->scratch, l->lasting, &l->variables, err));
    RN_TRY(rn__import_init(&l->import, l->file.meta_graph->graph_def, l->variables, l->scratch, l->lasting, l->plan, err));
    RN_TRY(import_signatures(l, err));
    RN_TRY(hand_over(l, err));
    RN_TRY(rn__plan_share(l->plan, err));
    RN_TRY(rn_plan_finish(l->plan, err));
    rn__plan_describe(l->plan);
    return rn_plan_optimize(l->plan, err);
}

rn_status rn_saved_model_load(const char *path, const rn_progress *progress, rn_plan **out, rn_error *err)
{
    load l = {0};
    const rn_status status = build(&l, path, progress, err);
    if (status != RN_STATUS_OK && err && strncmp(err->message, path, strlen(path)) != 0) rn_error_prefix(err, "%s", path);
    rn__import_deinit(&l.import);
    rn__arena_destroy(l.scratch);
    rn__arena_destroy(l.lasting);
    rn__checkpoint_close(l.checkpoint);
    rn__saved_model_file_close(&l.file);
    if (status == RN_STATUS_OK)
        *out = l.plan;
    else
        rn_plan_destroy(l.plan);
    return status;
}
