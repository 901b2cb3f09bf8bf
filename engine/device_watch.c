/* See device_watch.h. */
#include "engine/device_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/clock.h"

enum { PERIOD_US = 2000000 };

struct rn_device_watch {
    rn_device_choice choice;
    rn_metrics *metrics;
    rn_device_metrics *records[RN_MAX_DEVICES];
    bool complained[RN_MAX_DEVICES];
    void (*log)(void *context, const char *line);
    void *log_context;
    pthread_t thread;
    pthread_mutex_t lock; /* guards `stopping` */
    pthread_cond_t news;
    bool stopping;
};

static void look_at(rn_device_watch *w, int32_t i)
{
    rn_device_state state;
    rn_error err = {0};
    const rn_status status = w->choice.backend->device_state(w->choice.devices[i], &state, &err);
    pthread_mutex_lock(&w->metrics->lock);
    w->records[i]->told = status == RN_STATUS_OK;
    if (status == RN_STATUS_OK) w->records[i]->state = state;
    pthread_mutex_unlock(&w->metrics->lock);
    if (status == RN_STATUS_OK || w->complained[i]) return;
    w->complained[i] = true;
    char line[RN_ERROR_MESSAGE_BYTES + 128];
    snprintf(line, sizeof line, "%s does not say how it is: %s", w->records[i]->name, err.message);
    if (w->log) w->log(w->log_context, line);
}

static void look(rn_device_watch *w)
{
    for (int32_t i = 0; i < w->choice.count; i++) look_at(w, i);
}

static void *watch(void *context)
{
    rn_device_watch *w = context;
    pthread_mutex_lock(&w->lock);
    while (!w->stopping) {
        const int64_t at = rn_clock_us() + PERIOD_US;
        const struct timespec time = rn_clock_at(at);
        while (!w->stopping && rn_clock_us() < at) pthread_cond_timedwait(&w->news, &w->lock, &time);
        if (w->stopping) break;
        pthread_mutex_unlock(&w->lock);
        look(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

rn_status rn_device_watch_create(const rn_device_choice *choice, rn_metrics *metrics, void (*log)(void *context, const char *line),
                                 void *log_context, rn_device_watch **out, rn_error *err)
{
    *out = NULL;
    if (!choice->backend->device_state) return RN_STATUS_OK;
    rn_device_watch *w = calloc(1, sizeof *w);
    if (!w) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory to watch devices");
    w->choice = *choice;
    w->metrics = metrics;
    w->log = log;
    w->log_context = log_context;
    rn_status status = RN_STATUS_OK;
    for (int32_t i = 0; i < choice->count && status == RN_STATUS_OK; i++)
        status = rn_metrics_device(metrics, choice->backend, choice->devices[i], &w->records[i], err);
    if (status != RN_STATUS_OK) {
        free(w);
        return status;
    }
    look(w);
    pthread_mutex_init(&w->lock, NULL);
    rn_clock_cond_init(&w->news);
    if (pthread_create(&w->thread, NULL, watch, w) != 0) {
        pthread_cond_destroy(&w->news);
        pthread_mutex_destroy(&w->lock);
        free(w);
        return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no thread to watch devices");
    }
    *out = w;
    return RN_STATUS_OK;
}

void rn_device_watch_destroy(rn_device_watch *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->news);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->news);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
