/* Where the configuration of models comes from: a file that may change while the process runs, or two flags. One thread at a time. */
#ifndef RN_HTTP_CONFIG_SOURCE_H
#define RN_HTTP_CONFIG_SOURCE_H

#include "http/serving.h"

typedef struct rn_config_source {
    const char *file;                   /* a ModelServerConfig as text; empty: the one model below */
    const char *model_name, *base_path; /* borrowed, like `file` */
    void (*log)(const char *line);
    rn_text latest; /* private: what the file held when it was last applied */
} rn_config_source;

void rn_config_source_deinit(rn_config_source *source);

/* Applies the configuration and waits: returns what became of it, as rn_change's `done` reports it, or what is wrong with the file. */
rn_status rn_config_source_load(rn_config_source *source, rn_serving *serving, rn_error *err);

/* Reads the source again and submits what it says, unless the file is as it was and `always` is false. Returns at once; the outcome is
 * logged. A file that cannot be read or understood changes nothing. */
void rn_config_source_reload(rn_config_source *source, rn_serving *serving, bool always);

#endif
