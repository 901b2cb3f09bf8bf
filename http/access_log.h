/* A line of JSON for every call. Writing a line never waits for the file: lines go through a buffer to a thread of their own, and a line
 * that finds the buffer full is dropped and counted.
 */
#ifndef RN_HTTP_ACCESS_LOG_H
#define RN_HTTP_ACCESS_LOG_H

#include "http/finished_call.h"

typedef struct rn_access_log rn_access_log;

/* path: a file that is appended to, or "-" for standard output. dropped: counts lines that were lost; borrowed. NOT_FOUND or
 * PERMISSION_DENIED: it cannot be opened. */
rn_status rn_access_log_open(const char *path, rn_counter *dropped, rn_access_log **out, rn_error *err);
/* Writes what is in the buffer, as long as the file takes it. NULL allowed. */
void rn_access_log_close(rn_access_log *log);

/* Thread-safe, does not block. */
void rn_access_log_write(rn_access_log *log, const rn_finished_call *call);

#endif
