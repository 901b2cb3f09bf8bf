/* saved_model.pb: the message, and the one meta graph in it that is meant to be served. */
#ifndef RN_LOADER_SAVED_MODEL_FILE_H
#define RN_LOADER_SAVED_MODEL_FILE_H

#include "loader/arena.h"
#include "loader/proto/saved_model.pb-c.h"

/* Messages live in `arena`. meta_graph: its tag set is {serve}, and its graph_def is there. */
typedef struct rn__saved_model_file {
    rn__arena *arena;
    const Sm__MetaGraph *meta_graph;
    size_t size_bytes; /* of the file */
} rn__saved_model_file;

/* Reads <directory>/saved_model.pb. NOT_FOUND when it is not there, DATA_LOSS when it is damaged, UNSUPPORTED for saved_model.pbtxt and .cpb. */
rn_status rn__saved_model_file_open(const char *directory, rn__saved_model_file *out, rn_error *err);
void rn__saved_model_file_close(rn__saved_model_file *file); /* zeroed or opened */

#endif
