/* How a model is configured, in the terms of Triton's protobuf/model_config.proto. */
#ifndef RN_HTTP_V2_CONFIG_H
#define RN_HTTP_V2_CONFIG_H

#include "http/v2.h"

typedef struct rn__v2_config {
    rn_model *model; /* with a reference */
    const rn_signature *signature;
    rn_model_config config; /* owned */
    rn_model_scheduling scheduling;
} rn__v2_config;

/* signature_name: empty for the model's own. NOT_FOUND in Triton's words. */
rn_status rn__v2_config_open(const rn_service *service, rn_text name, int64_t version, rn_text label, const char *signature_name,
                             rn__v2_config *out, rn_error *err);
void rn__v2_config_close(rn__v2_config *config);

/* Triton's number of a type, and its name "TYPE_FP32", which is static. */
typedef struct rn__v2_config_type {
    int32_t number;
    const char *name;
} rn__v2_config_type;

rn__v2_config_type rn__v2_config_type_of(const rn_tensor_spec *spec);

/* Whether a tensor is pictures as numbers, which are [n, h, w, c] here. */
bool rn__v2_config_is_nhwc(const rn_tensor_spec *spec);

#define RN__V2_BACKEND "resnetd"

#endif
