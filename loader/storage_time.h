/* Times as storages write them. */
#ifndef RN_LOADER_STORAGE_TIME_H
#define RN_LOADER_STORAGE_TIME_H

#include <stdint.h>
#include <string.h>
#include <time.h>

/* "2026-11-30T00:00:00Z", also with a fraction -> Unix time; 0: it is none. */
static inline int64_t rn__time_of_text(const char *text)
{
    struct tm parts;
    memset(&parts, 0, sizeof parts);
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) ? (int64_t)timegm(&parts) : 0;
}

#endif
