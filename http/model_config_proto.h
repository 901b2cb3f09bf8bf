/* A ModelServerConfig, as files and HandleReloadConfigRequest hold it, becomes the configuration of this server. */
#ifndef RN_HTTP_MODEL_CONFIG_PROTO_H
#define RN_HTTP_MODEL_CONFIG_PROTO_H

#include "http/model_config.h"
#include "http/proto/config.pb-c.h"

/* Copies what the message says. INVALID_ARGUMENT names the model: a name twice, no base path, another platform than TensorFlow, a version
 * that is negative... */
rn_status rn_model_configs_init_message(rn_model_configs *out, const Config__ModelConfigList *list, rn_error *err);

/* The same of text form. Errors begin with `source`. */
rn_status rn_model_configs_init_text(rn_model_configs *out, rn_text text, const char *source, rn_error *err);

#endif
