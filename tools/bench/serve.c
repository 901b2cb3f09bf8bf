/* `resnet-bench serve`: a load test of a running server. Every step keeps a number of connections busy, each with one request at a time, or
 * with --rate offers requests at a steady pace, and reports what the clients saw. The load costs processor time
 * too: on the server's own machine it is part of what is measured. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/bench/failure.h"
#include "tools/bench/http_client.h"
#include "tools/bench/options.h"
#include "tools/bench/predict_body.h"
#include "tools/bench/record.h"
#include "tools/bench/sample_picture.h"
#include "tools/bench/timing.h"

/* What all clients of a step share; read only. */
typedef struct {
    bench_address address;
    char *request;
    size_t request_bytes;
    double warm, end; /* bench_now: answers count from the first to the second */
    double interval;  /* seconds between two requests of a connection; 0: none */
} step;

typedef struct {
    const step *step;
    pthread_t thread;
    double start; /* bench_now: of its first request */
    double *times, *refusal_times; /* [BENCH_MAX_RUNS], of the requests that were answered with 200 and with 503 */
    int32_t answered, refused, failed; /* 200, 503, anything else */
} client;

/* Waits until `due` and returns when the next request is due: a client that is late does not make up for it. */
static double pace(double due, double interval)
{
    const double wait = due - bench_now();
    if (wait <= 0) return bench_now() + interval;
    const struct timespec pause = {.tv_sec = (time_t)wait, .tv_nsec = (long)(1e9 * (wait - (double)(time_t)wait))};
    nanosleep(&pause, NULL);
    return due + interval;
}

static void *run_client(void *argument)
{
    client *c = argument;
    const step *s = c->step;
    bench_connection connection;
    bench_connection_init(&connection, &s->address);
    double due = c->start;
    while (bench_now() < s->end && c->answered < BENCH_MAX_RUNS && c->refused < BENCH_MAX_RUNS) {
        if (s->interval > 0) due = pace(due, s->interval);
        const double begin = bench_now();
        const int status = bench_connection_call(&connection, s->request, s->request_bytes);
        const double end = bench_now();
        if (end < s->warm || end > s->end) continue;
        if (status == 200) c->times[c->answered++] = end - begin;
        else if (status == 503) c->refusal_times[c->refused++] = end - begin;
        else c->failed++;
    }
    bench_connection_deinit(&connection);
    return NULL;
}

/* ---- one step ---- */

typedef struct {
    double *times, *refusal_times; /* sorted */
    int32_t answered, refused, failed;
} tally;

static tally collect(client *clients, int32_t count)
{
    tally all = {0};
    for (int32_t i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
        all.answered += clients[i].answered;
        all.refused += clients[i].refused;
        all.failed += clients[i].failed;
    }
    all.times = bench_allocate((size_t)all.answered * sizeof *all.times);
    all.refusal_times = bench_allocate((size_t)all.refused * sizeof *all.refusal_times);
    double *time = all.times, *refusal = all.refusal_times;
    for (int32_t i = 0; i < count; i++) {
        time = mempcpy(time, clients[i].times, (size_t)clients[i].answered * sizeof *time);
        refusal = mempcpy(refusal, clients[i].refusal_times, (size_t)clients[i].refused * sizeof *refusal);
        free(clients[i].times);
        free(clients[i].refusal_times);
    }
    bench_sort(all.times, all.answered);
    bench_sort(all.refusal_times, all.refused);
    return all;
}

static void report(const bench_options *o, int32_t connections, int32_t rows, const tally *all)
{
    double ms[3] = {0}, refused_ms = 0;
    const double percents[3] = {50, 90, 99}, rate = all->answered / o->seconds;
    for (int i = 0; i < 3 && all->answered > 0; i++) ms[i] = 1e3 * bench_percentile(all->times, all->answered, percents[i]);
    if (all->refused > 0) refused_ms = 1e3 * bench_percentile(all->refusal_times, all->refused, 50);
    if (o->json) {
        bench_record_print(json_pack("{ss ss si si sf sf sf sf sf si si si sf}", "measures", "serve", "body",
                                     o->numbers ? "numbers" : "pictures", "connections", connections, "batch", rows, "requests_per_s", rate,
                                     "rows_per_s", rate * rows, "p50_ms", ms[0], "p90_ms", ms[1], "p99_ms", ms[2], "answered",
                                     all->answered, "refused", all->refused, "failed", all->failed, "refused_p50_ms", refused_ms));
    } else {
        printf("%5d connections  %3d rows  %8.2f requests/s  %8.2f rows/s  p50 %8.2f ms  p90 %8.2f  p99 %8.2f  503: %d (p50 %.2f ms)  failed: %d\n",
               connections, rows, rate, rate * rows, ms[0], ms[1], ms[2], all->refused, refused_ms, all->failed);
    }
    fflush(stdout);
}

/* Returns how many requests failed. */
static int32_t run_step(step *s, const bench_options *o, int32_t connections, int32_t rows)
{
    client *clients = bench_allocate((size_t)connections * sizeof *clients);
    s->warm = bench_now() + o->seconds / 4;
    s->end = s->warm + o->seconds;
    s->interval = o->rate ? connections / (double)o->rate : 0;
    for (int32_t i = 0; i < connections; i++) {
        clients[i] = (client){.step = s,
                              .start = bench_now() + s->interval * i / connections,
                              .times = bench_allocate(BENCH_MAX_RUNS * sizeof(double)),
                              .refusal_times = bench_allocate(BENCH_MAX_RUNS * sizeof(double))};
        if (pthread_create(&clients[i].thread, NULL, run_client, &clients[i]) != 0) bench_fail("no thread for connection %d", i + 1);
    }
    tally all = collect(clients, connections);
    report(o, connections, rows, &all);
    const int32_t failed = all.failed;
    free(all.times);
    free(all.refusal_times);
    free(clients);
    return failed;
}

/* ---- requests ---- */

/* Asks the server what the model takes. The caller frees it. */
static char *get_metadata(const bench_options *o, const bench_address *address)
{
    char path[512];
    size_t bytes;
    bench_connection c;
    snprintf(path, sizeof path, "/v1/models/%s/metadata", o->model);
    char *request = bench_request_create(address, "GET", path, "", 0, &bytes);
    bench_connection_init(&c, address);
    const int status = bench_connection_call(&c, request, bytes);
    if (status == 0) bench_fail("%s does not answer", o->subject);
    if (status != 200) bench_fail("%s%s: status %d: %s", o->subject, path, status, c.body);
    char *metadata = strdup(c.body);
    bench_connection_deinit(&c);
    free(request);
    return metadata;
}

/* One call outside of the measurement has to be answered, or the rest would measure refusals. */
static void check_answer(const step *s)
{
    bench_connection c;
    bench_connection_init(&c, &s->address);
    const int status = bench_connection_call(&c, s->request, s->request_bytes);
    if (status != 200) bench_fail("the first predict call was answered with status %d: %s", status, status ? c.body : "nothing");
    if (!strstr(c.body, "\"predictions\"")) bench_fail("the first answer holds no predictions");
    bench_connection_deinit(&c);
}

int bench_serve(const bench_options *o)
{
    step s = {0};
    if (!o->subject || !bench_address_parse(o->subject, &s.address)) {
        fprintf(stderr, "resnet-bench: serve: expected http://HOST:PORT, found \"%s\"\n", o->subject ? o->subject : "");
        return BENCH_EXIT_USAGE;
    }
    char path[512];
    snprintf(path, sizeof path, "/v1/models/%s:predict", o->model);
    char *metadata = get_metadata(o, &s.address);
    bench_picture picture;
    bench_picture_init(&picture, o->picture);
    int32_t failed = 0;
    for (int32_t i = 0; i < o->batch.count; i++) {
        size_t body_bytes;
        char *body = bench_predict_body(metadata, o->numbers ? NULL : &picture, o->batch.values[i], &body_bytes);
        s.request = bench_request_create(&s.address, "POST", path, body, body_bytes, &s.request_bytes);
        free(body);
        check_answer(&s);
        for (int32_t j = 0; j < o->connections.count; j++) failed += run_step(&s, o, o->connections.values[j], o->batch.values[i]);
        free(s.request);
    }
    bench_picture_deinit(&picture);
    free(metadata);
    return failed > 0;
}
