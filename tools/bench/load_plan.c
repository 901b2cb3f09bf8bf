/* See load_plan.h. */
#include "tools/bench/load_plan.h"

#include <string.h>

#include "engine/passes.h"
#include "engine/synthetic.h"
#include "loader/repository.h"
#include "tools/bench/failure.h"

rn_plan *bench_load_plan(const bench_options *o)
{
    rn_plan *plan;
    rn_error err = {0};
    if (o->subject) {
        bench_check(rn_repository_load(o->subject, NULL, &plan, &err), &err);
    } else {
        bench_check(rn_synthetic_by_name(o->synthetic, &plan, &err), &err);
        bench_check(rn_plan_optimize(plan, &err), &err);
        if (o->precision && strcmp(o->precision, "int8") == 0) bench_check(rn_synthetic_quantize(plan, &err), &err);
    }
    return plan;
}
