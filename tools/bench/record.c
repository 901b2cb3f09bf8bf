/* Every measurement says on what and from which sources it was made. */
#include "tools/bench/record.h"

#include "kernels/base/cpu_features.h"
#include "kernels/base/version.h"
#include "tools/bench/failure.h"

void bench_record_print(json_t *record)
{
    if (!record) bench_fail("a measurement could not be written as JSON");
    json_object_set_new(record, "processor", json_string(rn_cpu_model()));
    json_object_set_new(record, "commit", json_string(rn_commit));
    json_dumpf(record, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    fflush(stdout);
    json_decref(record);
}
