/* config/monitoring_config.proto in text form. The page at /metrics and the monitoring port do not depend on it. */
#include "http/monitoring_config.h"

#include <stdlib.h>

#include "http/proto/config.pb-c.h"
#include "http/text_file.h"
#include "http/text_proto.h"

static rn_status take_path(ProtobufCBinaryData path, const char *file, char **out, rn_error *err)
{
    const rn_text text = path.len > 0 ? (rn_text){(const char *)path.data, path.len} : rn_text_of(RN_METRICS_PATH);
    if (*text.at != '/' || memchr(text.at, '?', text.bytes) || memchr(text.at, 0, text.bytes))
        return RN_FAIL(err, RN_STATUS_INVALID_ARGUMENT, "%s: path: expected a path that begins with '/' and has no query, found \"%.*s\"",
                       file, RN_TEXT_ARG(text));
    *out = strndup(text.at, text.bytes);
    return *out ? RN_STATUS_OK : RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "%s: no memory", file);
}

rn_status rn_monitoring_config_read(const char *file, char **path, rn_error *err)
{
    rn_text text;
    ProtobufCMessage *message;
    *path = NULL;
    RN_TRY(rn_text_file_read(file, &text, err));
    rn_status status = rn_text_proto_parse(text, file, &config__monitoring_config__descriptor, &message, err);
    free((char *)text.at);
    RN_TRY(status);
    const Config__PrometheusConfig *prometheus = ((const Config__MonitoringConfig *)message)->prometheus_config;
    if (prometheus && prometheus->enable) status = take_path(prometheus->path, file, path, err);
    protobuf_c_message_free_unpacked(message, NULL);
    return status;
}
