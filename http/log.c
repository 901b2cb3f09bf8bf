/* A line is put together first and written by one call, so that lines of several threads never mix. */
#include "http/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "http/json_writer.h"

static bool as_json;

void rn_log_as_json(bool json)
{
    as_json = json;
}

static void write_json(rn_log_severity severity, const char *message)
{
    struct timespec now;
    struct tm parts;
    char second[32], time[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(time, sizeof time, "%s.%06ldZ", second, now.tv_nsec / 1000);
    rn_json_writer line;
    rn_json_writer_init(&line);
    line.compact = true;
    rn_json_begin_object(&line);
    rn_json_string_member(&line, "time", time);
    rn_json_string_member(&line, "severity", severity == RN_LOG_ERROR ? "ERROR" : "INFO");
    rn_json_string_member(&line, "message", message);
    rn_json_end_object(&line);
    if (rn_json_writer_finish(&line, NULL) == RN_STATUS_OK) fprintf(stderr, "%.*s\n", (int)line.bytes, line.text);
    rn_json_writer_deinit(&line);
}

void rn_log(rn_log_severity severity, const char *format, ...)
{
    char message[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (as_json)
        write_json(severity, message);
    else
        fprintf(stderr, "resnetd: %s\n", message);
}
