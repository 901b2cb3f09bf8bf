/* What is to be served: models by name, where their versions lie, which of them are wanted, and their labels. Plain data. */
#ifndef RN_HTTP_MODEL_CONFIG_H
#define RN_HTTP_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "http/text.h"
#include "kernels/base/error.h"

typedef enum { RN_VERSIONS_LATEST, RN_VERSIONS_ALL, RN_VERSIONS_SPECIFIC } rn_version_policy_kind;

/* Which versions of those that are there are wanted. */
typedef struct rn_version_policy {
    rn_version_policy_kind kind;
    int32_t latest_count; /* LATEST: at least 1 */
    int64_t *specific;    /* SPECIFIC: [specific_count], owned; no other kind has any */
    int32_t specific_count;
} rn_version_policy;

typedef struct rn_version_label {
    char *label; /* owned */
    int64_t version;
} rn_version_label;

typedef struct rn_model_config {
    char *name, *base_path; /* owned */
    rn_version_policy policy;
    rn_version_label *labels; /* [label_count], owned; each label once */
    int32_t label_count;
} rn_model_config;

typedef struct rn_model_configs {
    rn_model_config *models; /* [count], owned; each name once */
    int32_t count;
} rn_model_configs;

/* One model, its latest version, no labels. INVALID_ARGUMENT: the name is empty or holds '/' or ':', which no URL can name. */
rn_status rn_model_configs_init_single(rn_model_configs *out, const char *name, const char *base_path, rn_error *err);
void rn_model_configs_deinit(rn_model_configs *configs); /* zeroed: no effect */

rn_status rn_model_config_copy(const rn_model_config *from, rn_model_config *out, rn_error *err);
void rn_model_config_deinit(rn_model_config *config);

rn_status rn_model_config_check_name(rn_text name, rn_error *err);

/* Whether the policy wants version `number`, the `rank`th (0: highest) of those that are there. */
bool rn_version_policy_wants(const rn_version_policy *policy, int64_t number, int32_t rank);

#endif
