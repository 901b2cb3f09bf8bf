/* Prometheus' text format (version 0.0.4), written sample by sample: begin, labels, value. */
#ifndef RN_HTTP_PROMETHEUS_TEXT_H
#define RN_HTTP_PROMETHEUS_TEXT_H

#include "engine/metrics.h"
#include "http/json_writer.h"

/* What a page is written with. The writer's buffer takes the bytes; none of its grammar is used. */
typedef struct rn__page {
    rn_json_writer *out;
    const char *family; /* of the samples that follow */
    int32_t labels;     /* written for the current sample */
} rn__page;

/* "counter", "gauge" or "histogram". help: NULL for none, one line without backslashes. */
void rn__page_family(rn__page *page, const char *name, const char *type, const char *help);

void rn__page_begin(rn__page *page, const char *suffix); /* "" or a histogram's "_bucket" */
void rn__page_label(rn__page *page, const char *key, const char *value);
void rn__page_end_int(rn__page *page, int64_t value);
void rn__page_end_seconds(rn__page *page, int64_t us);
void rn__page_end_real(rn__page *page, double value); /* at least 0, to fifteen digits; infinity is +Inf */

/* The labels of a model's samples: model and version under these names. */
typedef struct rn__page_labels {
    const char *model_key, *version_key; /* NULL: not shown */
    const rn_model_metrics *model;
    struct {
        const char *key, *value; /* more of them; key NULL: no more */
    } more[3];
} rn__page_labels;

void rn__page_labels_write(rn__page *page, const rn__page_labels *labels);

/* All samples of a histogram. Times are shown in seconds or, with `microseconds`, as they are counted. */
typedef enum { RN__SHOWN_AS_ROWS, RN__SHOWN_AS_SECONDS, RN__SHOWN_AS_MICROSECONDS } rn__page_unit;

void rn__page_histogram(rn__page *page, const rn_histogram *histogram, rn__page_unit unit, const rn__page_labels *labels);

#endif
