/* The phases of the server process, and the signals that end one and begin the next. There is one process, so there is one of this.
 *
 *   LOADING --rn_lifecycle_serve--> SERVING --SIGTERM, SIGINT, rn_lifecycle_drain--> DRAINING
 *
 * A signal to end that comes while LOADING ends the process at once with 0; a second one cuts the drain short. SIGQUIT logs the state of the
 * process (http/state_report.h) in any phase.
 */
#ifndef RN_HTTP_LIFECYCLE_H
#define RN_HTTP_LIFECYCLE_H

#include "engine/metrics.h"

/* Takes SIGTERM, SIGINT, SIGHUP, SIGQUIT and SIGUSR2. To be called before any other thread is started: they are not interrupted then. */
rn_status rn_lifecycle_begin(rn_error *err);

/* From LOADING to SERVING: from here on a signal has to wait for requests. `unready` is called with the context, once, on any thread, as soon
 * as the process drains: whatever the others are at, nobody is to be told any more that it is ready. */
void rn_lifecycle_serve(void (*unready)(void *context), void *context);

/* To DRAINING, unless it is reached; the process is to end with `code` then. Thread-safe. */
void rn_lifecycle_drain(int code);

/* Waits while SERVING. True: SIGHUP came (*hangup), or poll_seconds are over (0: never). False: the phase is another. */
bool rn_lifecycle_wait(int64_t poll_seconds, bool *hangup);

/* What the process is to end with when it is drained. */
int rn_lifecycle_exit_code(void);

/* What SIGQUIT may ask, borrowed until it is set to NULL. */
void rn_lifecycle_show_metrics(rn_metrics *metrics);

#endif
