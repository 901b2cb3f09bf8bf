/* SIGQUIT: what this process is doing, for an operator in front of one that does not answer. */
#ifndef RN_HTTP_STATE_REPORT_H
#define RN_HTTP_STATE_REPORT_H

#include "engine/metrics.h"

/* Once, before the first other thread is there: takes SIGUSR2 for asking threads where they are. */
void rn_state_report_init(void);

/* Logs (http/log.h) calls in flight and connections, the queue of every model in memory, and writes each thread's stack to standard error:
 * addresses of a program without symbols are resolved by addr2line. Not from a signal handler. metrics: NULL before there are any. */
void rn_state_report(const char *phase, rn_metrics *metrics);

#endif
