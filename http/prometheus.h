/* The pages of metrics. */
#ifndef RN_HTTP_PROMETHEUS_H
#define RN_HTTP_PROMETHEUS_H

#include "http/prometheus_text.h"

/* prometheus.c: what resnetd counts, under its own names. */
void rn__page_own(rn__page *page, const rn_metrics *metrics);
/* prometheus_device.c: devices under our own names, and GPUs under Triton's. */
void rn__page_devices(rn__page *page, const rn_metrics *metrics);
/* prometheus_models.c: what the versions in memory are. mlflow_run_id: empty where nobody told; device_required: whether --device names one. */
void rn__page_models(rn__page *page, const rn_metrics *metrics, const char *mlflow_run_id, bool device_required);
/* prometheus_process.c: the metrics that Prometheus' client libraries have of every process. */
void rn__page_process(rn__page *page);
/* prometheus_aliases.c: the same counters under the names that Triton's and TensorFlow Serving's users know. */
void rn__page_triton(rn__page *page, const rn_metrics *metrics);
void rn__page_tfs(rn__page *page, const rn_metrics *metrics);

#endif
