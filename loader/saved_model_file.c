/* Opening saved_model.pb. Its decoded form is some four times the file; the limit leaves room for ten times that and no more. */
#include "loader/saved_model_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loader/file_bytes.h"
#include "loader/proto_unpack.h"

enum { PATH_ROOM = 4096, MEMORY_FACTOR = 40, MEMORY_BASE = 1 << 20 };

/* Why the file that should be there is not: TensorFlow has two other forms of it. */
static rn_status explain_missing(const char *directory, rn_error *err)
{
    static const char *const others[][2] = {{"saved_model.pbtxt", "the text form"}, {"saved_model.cpb", "the split form"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char path[PATH_ROOM];
        snprintf(path, sizeof path, "%s/%s", directory, others[i][0]);
        if (access(path, F_OK) != 0) continue;
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: %s of a SavedModel is not read; write saved_model.pb", path, others[i][1]);
    }
    return RN_FAIL(err, RN_STATUS_NOT_FOUND, "%s: no saved_model.pb there", directory);
}

static const Sm__MetaGraph *find_serve(const Sm__SavedModel *model)
{
    for (size_t i = 0; i < model->n_meta_graphs; i++) {
        const Sm__MetaGraph__Info *info = model->meta_graphs[i]->meta_info_def;
        bool only_serve = info && info->n_tags > 0; /* a set: the tag may be written twice */
        for (size_t t = 0; only_serve && t < info->n_tags; t++) only_serve = strcmp(info->tags[t], "serve") == 0;
        if (only_serve) return model->meta_graphs[i];
    }
    return NULL;
}

static rn_status decode(const char *path, const rn__file_bytes *file, rn__saved_model_file *out, rn_error *err)
{
    out->size_bytes = file->size_bytes;
    out->arena = rn__arena_create(MEMORY_BASE + MEMORY_FACTOR * file->size_bytes);
    if (!out->arena) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory to read it", path);
    bool out_of_memory;
    const Sm__SavedModel *model = rn__proto_unpack(&sm__saved_model__descriptor, out->arena, file->bytes, file->size_bytes, &out_of_memory);
    if (out_of_memory) {
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: decoding its %zu bytes takes more than %d times their size", path, file->size_bytes,
                       MEMORY_FACTOR);
    }
    if (!model) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: %zu bytes that are no SavedModel message: truncated or corrupt", path, file->size_bytes);
    if (model->n_meta_graphs == 0) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: holds no graph (%zu bytes)", path, file->size_bytes);
    out->meta_graph = find_serve(model);
    if (!out->meta_graph) {
        return RN_FAIL(err, RN_STATUS_UNSUPPORTED, "%s: none of its %zu graphs has the tag set {serve}", path, model->n_meta_graphs);
    }
    if (!out->meta_graph->graph_def) return RN_FAIL(err, RN_STATUS_DATA_LOSS, "%s: the graph tagged serve is empty", path);
    return RN_STATUS_OK;
}

rn_status rn__saved_model_file_open(const char *directory, rn__saved_model_file *out, rn_error *err)
{
    char path[PATH_ROOM];
    rn__file_bytes file;
    *out = (rn__saved_model_file){0};
    if ((size_t)snprintf(path, sizeof path, "%s/saved_model.pb", directory) >= sizeof path) {
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%.100s...: the path is too long", directory);
    }
    rn_status status = rn__file_bytes_open(path, &file, err);
    if (status == RN_STATUS_NOT_FOUND) return explain_missing(directory, err);
    if (status != RN_STATUS_OK) return status;
    status = decode(path, &file, out, err);
    rn__file_bytes_close(&file);
    if (status != RN_STATUS_OK) rn__saved_model_file_close(out);
    return status;
}

void rn__saved_model_file_close(rn__saved_model_file *file)
{
    rn__arena_destroy(file->arena);
    *file = (rn__saved_model_file){0};
}
