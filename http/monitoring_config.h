/* TensorFlow Serving's --monitoring_config_file: where its page of metrics is. */
#ifndef RN_HTTP_MONITORING_CONFIG_H
#define RN_HTTP_MONITORING_CONFIG_H

#include "kernels/base/error.h"

#define RN_METRICS_PATH "/monitoring/prometheus/metrics" /* where nothing else is said */

/* The path of the page, which the caller frees; NULL: the file turns it off. INVALID_ARGUMENT begins with the file's name, and so do the
 * errors of reading it. */
rn_status rn_monitoring_config_read(const char *file, char **path, rn_error *err);

#endif
