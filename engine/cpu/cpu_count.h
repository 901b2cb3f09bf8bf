/* How many processors this process may use. */
#ifndef RN_ENGINE_CPU_CPU_COUNT_H
#define RN_ENGINE_CPU_CPU_COUNT_H

#include <stdint.h>

/* The affinity mask's processors, or fewer where a control group (version 2) limits processor time: its quota rounded up. At least 1. */
int32_t rn__cpu_count(void);

#endif
