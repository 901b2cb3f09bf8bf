/* The host as a device. */
#ifndef RN_ENGINE_CPU_CPU_BACKEND_H
#define RN_ENGINE_CPU_CPU_BACKEND_H

#include "engine/backend.h"

extern const rn_backend rn_cpu_backend;

/* For profiles: called after every operation that run executes, a class map once for each part that wants it, on run's thread, with the
 * operation's index in the plan and its seconds. */
typedef void rn_cpu_observer(void *context, int32_t op, double seconds);
/* From an observer: the first batch row of a tensor that the operation has just written, dense, in the plan's type. */
void rn_cpu_executor_read(const rn_executor *executor, int32_t tensor, void *to);
/* For executors of this backend. NULL: nobody watches, which is how an executor starts. */
void rn_cpu_executor_observe(rn_executor *executor, rn_cpu_observer *observer, void *context);

#endif
