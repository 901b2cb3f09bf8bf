/* The model that a command line names. */
#ifndef RN_TOOLS_BENCH_LOAD_PLAN_H
#define RN_TOOLS_BENCH_LOAD_PLAN_H

#include "engine/plan.h"
#include "tools/bench/options.h"

/* From the path that is the subject, or else made up: --synthetic. Optimised; the caller destroys it. Fails as bench_fail does. */
rn_plan *bench_load_plan(const bench_options *options);

#endif
