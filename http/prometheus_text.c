/* Numbers are printed from integers, so that a page needs no memory but its own text and reads the same in every locale. */
#include "http/prometheus_text.h"

#include <math.h>
#include <stdio.h>

static void put(rn__page *page, const char *text)
{
    rn_json_text(page->out, rn_text_of(text));
}

void rn__page_family(rn__page *page, const char *name, const char *type, const char *help)
{
    char line[512];
    page->family = name;
    if (help) {
        snprintf(line, sizeof line, "# HELP %s %s\n", name, help);
        put(page, line);
    }
    snprintf(line, sizeof line, "# TYPE %s %s\n", name, type);
    put(page, line);
}

void rn__page_begin(rn__page *page, const char *suffix)
{
    put(page, page->family);
    put(page, suffix);
    page->labels = 0;
}

void rn__page_label(rn__page *page, const char *key, const char *value)
{
    put(page, page->labels++ ? "," : "{");
    put(page, key);
    put(page, "=\"");
    for (const char *p = value; *p; p++) {
        const char escaped[3] = {'\\', *p == '\n' ? 'n' : *p, '\0'}, plain[2] = {*p, '\0'};
        put(page, *p == '\\' || *p == '"' || *p == '\n' ? escaped : plain);
    }
    put(page, "\"");
}

static void end(rn__page *page, const char *value)
{
    put(page, page->labels ? "} " : " ");
    put(page, value);
    put(page, "\n");
}

void rn__page_end_int(rn__page *page, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    end(page, text);
}

static void print_seconds(char *out, size_t bytes, int64_t us)
{
    int written = snprintf(out, bytes, "%lld.%06lld", (long long)(us / 1000000), (long long)(us % 1000000));
    while (out[written - 1] == '0') out[--written] = '\0';
    if (out[written - 1] == '.') out[--written] = '\0';
}

void rn__page_end_seconds(rn__page *page, int64_t us)
{
    char text[40];
    print_seconds(text, sizeof text, us);
    end(page, text);
}

void rn__page_end_real(rn__page *page, double value)
{
    char text[40];
    snprintf(text, sizeof text, isinf(value) ? "+Inf" : "%.15g", value);
    end(page, text);
}

void rn__page_labels_write(rn__page *page, const rn__page_labels *labels)
{
    char version[24] = "";
    if (labels->model_key) rn__page_label(page, labels->model_key, labels->model->name);
    if (*labels->model->name) snprintf(version, sizeof version, "%lld", (long long)labels->model->version);
    if (labels->version_key) rn__page_label(page, labels->version_key, version);
    for (size_t i = 0; i < sizeof labels->more / sizeof labels->more[0] && labels->more[i].key; i++)
        rn__page_label(page, labels->more[i].key, labels->more[i].value);
}

static void bound_text(char *out, size_t bytes, int32_t bucket, rn__page_unit unit)
{
    const int64_t *bounds = unit == RN__SHOWN_AS_ROWS ? rn_histogram_rows : rn_histogram_us;
    if (bucket == RN_HISTOGRAM_BOUNDS)
        snprintf(out, bytes, "+Inf");
    else if (unit == RN__SHOWN_AS_SECONDS)
        print_seconds(out, bytes, bounds[bucket]);
    else
        snprintf(out, bytes, "%lld", (long long)bounds[bucket]);
}

void rn__page_histogram(rn__page *page, const rn_histogram *histogram, rn__page_unit unit, const rn__page_labels *labels)
{
    uint64_t count = 0;
    for (int32_t i = 0; i <= RN_HISTOGRAM_BOUNDS; i++) {
        char bound[40];
        bound_text(bound, sizeof bound, i, unit);
        count += rn_counter_get(&histogram->buckets[i]);
        rn__page_begin(page, "_bucket");
        rn__page_labels_write(page, labels);
        rn__page_label(page, "le", bound);
        rn__page_end_int(page, (int64_t)count);
    }
    rn__page_begin(page, "_sum");
    rn__page_labels_write(page, labels);
    const int64_t sum = (int64_t)rn_counter_get(&histogram->sum);
    if (unit == RN__SHOWN_AS_SECONDS)
        rn__page_end_seconds(page, sum);
    else
        rn__page_end_int(page, sum);
    rn__page_begin(page, "_count");
    rn__page_labels_write(page, labels);
    rn__page_end_int(page, (int64_t)count);
}
