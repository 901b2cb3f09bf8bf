/* Time for deadlines and measurements: microseconds since an arbitrary moment, never set back. Any thread. */
#ifndef RN_ENGINE_CLOCK_H
#define RN_ENGINE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t rn_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif
