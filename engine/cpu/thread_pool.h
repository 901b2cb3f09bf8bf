/* The CPU backend's threads: split one range of work at a time over all of them. */
#ifndef RN_ENGINE_CPU_THREAD_POOL_H
#define RN_ENGINE_CPU_THREAD_POOL_H

#include <stdint.h>

#include "kernels/base/error.h"

typedef struct rn__thread_pool rn__thread_pool;

/* Does [begin, end) of the work that `context` describes. thread: 0 .. thread_count - 1, for scratch memory of its own. */
typedef void rn__range_fn(const void *context, int32_t begin, int32_t end, int32_t thread);

/* thread_count counts the thread that calls run: thread_count - 1 are started. */
rn_status rn__thread_pool_create(int32_t thread_count, rn__thread_pool **out, rn_error *err);
void rn__thread_pool_destroy(rn__thread_pool *pool); /* NULL allowed; no run may be in progress */

int32_t rn__thread_pool_thread_count(const rn__thread_pool *pool);

/* Cuts [0, count) into `parts` parts as equal as possible (fewer when there is less to do) and runs them on all threads, this one included.
 * Returns when all are done. One caller at a time. */
void rn__thread_pool_run(rn__thread_pool *pool, int32_t count, int32_t parts, rn__range_fn *fn, const void *context);

#endif
