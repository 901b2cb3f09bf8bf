/* What the process tells its operator: one line an event on standard error, as text or as an object of JSON. Thread-safe. */
#ifndef RN_HTTP_LOG_H
#define RN_HTTP_LOG_H

#include <stdbool.h>

typedef enum { RN_LOG_INFO, RN_LOG_ERROR } rn_log_severity;

/* JSON lines instead of text from now on: {"time": RFC 3339 in UTC, "severity": "INFO" or "ERROR", "message": ...}, the names that
 * collectors of container logs look for. To be called before the first other thread is there. */
void rn_log_as_json(bool json);

/* A message of more than 2 KB is cut. */
void rn_log(rn_log_severity severity, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
