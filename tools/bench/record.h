/* One measurement as one line of JSON, for machines. */
#ifndef RN_TOOLS_BENCH_RECORD_H
#define RN_TOOLS_BENCH_RECORD_H

#include <jansson.h>

/* Adds the processor and the commit, writes the object as a line of its own and releases it. */
void bench_record_print(json_t *record);

#endif
