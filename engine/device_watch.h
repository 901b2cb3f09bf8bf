/* A thread that asks devices how they are, every few seconds, and keeps the answers for whoever shows metrics: asking takes milliseconds,
 * which no thread that serves requests has. */
#ifndef RN_ENGINE_DEVICE_WATCH_H
#define RN_ENGINE_DEVICE_WATCH_H

#include "engine/device_metrics.h"

typedef struct rn_device_watch rn_device_watch;

/* Writes what the devices say to their records in `metrics`, first before it returns. log: told once of each device why it says nothing.
 * *out: NULL when the backend's devices cannot be asked. choice is copied, metrics borrowed. */
rn_status rn_device_watch_create(const rn_device_choice *choice, rn_metrics *metrics, void (*log)(void *context, const char *line),
                                 void *log_context, rn_device_watch **out, rn_error *err);
void rn_device_watch_destroy(rn_device_watch *watch); /* NULL allowed */

#endif
