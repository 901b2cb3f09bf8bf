/* Two buffers: callers add to one while the thread writes the other. Pieces are small enough for a pipe that has room at all to take them
 * at once, so that the end of the process does not wait for a reader that is gone. */
#include "http/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"

enum {
    BUFFER_BYTES = 1 << 20,
    LINE_BYTES = 4096, /* of the longest line */
    TEXT_BYTES = 512,  /* of a path or name that is shown */
    POLL_MS = 100,
    LAST_WORDS_US = 1000 * 1000, /* for a blocked file when the log is closed */
};

struct rn_access_log {
    int fd;
    rn_counter *dropped;
    pthread_t thread;
    char *writing; /* the thread's own */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t filled;
    char *filling;
    size_t used; /* of `filling` */
    bool closing;
    int64_t closing_us;
};

/* ---- the thread ---- */

/* False when the log is being closed and the file has taken nothing for too long. */
static bool wait_for_room(rn_access_log *log)
{
    struct pollfd file = {.fd = log->fd, .events = POLLOUT};
    while (poll(&file, 1, POLL_MS) == 0) {
        pthread_mutex_lock(&log->lock);
        const bool enough = log->closing && rn_clock_us() > log->closing_us + LAST_WORDS_US;
        pthread_mutex_unlock(&log->lock);
        if (enough) return false;
    }
    return true;
}

/* A file that fails loses its lines: there is nobody to tell. */
static void write_all(rn_access_log *log, const char *text, size_t bytes)
{
    while (bytes > 0 && wait_for_room(log)) {
        const ssize_t written = write(log->fd, text, bytes < PIPE_BUF ? bytes : PIPE_BUF);
        if (written < 0 && errno != EINTR && errno != EAGAIN) return;
        if (written < 0) continue;
        text += written;
        bytes -= (size_t)written;
    }
}

static void *run(void *argument)
{
    rn_access_log *log = argument;
    pthread_mutex_lock(&log->lock);
    while (!log->closing || log->used > 0) {
        if (log->used == 0) {
            pthread_cond_wait(&log->filled, &log->lock);
            continue;
        }
        char *text = log->filling;
        const size_t bytes = log->used;
        log->filling = log->writing;
        log->writing = text;
        log->used = 0;
        pthread_mutex_unlock(&log->lock);
        write_all(log, text, bytes);
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

/* ---- a line ---- */

typedef struct {
    char text[LINE_BYTES];
    size_t used;
} line;

static void put(line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int written = vsnprintf(l->text + l->used, sizeof l->text - l->used, format, args);
    va_end(args);
    l->used += (size_t)written;
}

/* As a JSON string. Bytes that are no ASCII text are shown as \u00XX, so that a line is valid whatever a client sends. */
static void put_text(line *l, const char *key, rn_text text)
{
    if (text.bytes > TEXT_BYTES) text.bytes = TEXT_BYTES;
    put(l, ",\"%s\":\"", key);
    for (size_t i = 0; i < text.bytes; i++) {
        const unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20 || c >= 0x7f)
            put(l, "\\u%04x", c);
        else
            put(l, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    put(l, "\"");
}

static void put_time(line *l)
{
    struct timeval now;
    struct tm utc;
    gettimeofday(&now, NULL);
    gmtime_r(&now.tv_sec, &utc);
    put(l, "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ\"", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
        utc.tm_sec, (long)now.tv_usec);
}

static void put_stages(line *l, const rn_timings *t)
{
    const struct {
        const char *name;
        int64_t us;
    } stages[] = {{"parse", t->parse}, {"decode", t->decode}, {"queue", t->queue}, {"run", t->run}, {"write", t->write}};
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++)
        if (stages[i].us >= 0) put(l, ",\"%s_us\":%lld", stages[i].name, (long long)stages[i].us);
    if (t->batch_rows > 0) put(l, ",\"batch\":%d", t->batch_rows);
}

/* The longest line: four texts, each byte of which is written with six, and a few hundred bytes of numbers. */
_Static_assert(LINE_BYTES > 6 * TEXT_BYTES + 2 * 6 * 64 + 200, "a line may not be cut");

static void write_line(const rn_finished_call *call, line *l)
{
    l->used = 0;
    put_time(l);
    put(l, ",\"protocol\":\"%s\"", call->protocol == RN_PROTOCOL_HTTP ? "http" : "grpc");
    if (call->verb.bytes) put_text(l, "method", call->verb);
    put_text(l, "path", call->path);
    put(l, ",\"code\":%d,\"request_bytes\":%zu,\"answer_bytes\":%zu,\"duration_us\":%lld", call->code, call->request_bytes,
        call->answer_bytes, (long long)(rn_clock_us() - call->begin_us));
    put_stages(l, call->timings);
    if (call->model) {
        put_text(l, "model", rn_text_of(call->model->name));
        put(l, ",\"version\":%lld", (long long)call->model->version);
    }
    if (call->trace.id.bytes) {
        put_text(l, "trace_id", call->trace.id);
        put_text(l, "span_id", call->trace.span);
    }
    if (call->trace.request_id.bytes) put_text(l, "request_id", call->trace.request_id);
    put(l, "}\n");
}

void rn_access_log_write(rn_access_log *log, const rn_finished_call *call)
{
    line l;
    write_line(call, &l);
    pthread_mutex_lock(&log->lock);
    const bool fits = log->used + l.used <= BUFFER_BYTES;
    if (fits) {
        memcpy(log->filling + log->used, l.text, l.used);
        if (log->used == 0) pthread_cond_signal(&log->filled);
        log->used += l.used;
    }
    pthread_mutex_unlock(&log->lock);
    if (!fits) rn_counter_add(log->dropped, 1);
}

/* ---- life ---- */

static rn_status open_file(const char *path, int *out, rn_error *err)
{
    *out = strcmp(path, "-") == 0 ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (*out >= 0) return RN_STATUS_OK;
    const bool forbidden = errno == EACCES || errno == EPERM || errno == EROFS;
    return RN_FAIL(err, forbidden ? RN_STATUS_PERMISSION_DENIED : RN_STATUS_NOT_FOUND, "access log %s: %s", path, strerror(errno));
}

static void free_log(rn_access_log *log)
{
    if (log->fd >= 0) close(log->fd);
    free(log->writing);
    free(log->filling);
    pthread_cond_destroy(&log->filled);
    pthread_mutex_destroy(&log->lock);
    free(log);
}

rn_status rn_access_log_open(const char *path, rn_counter *dropped, rn_access_log **out, rn_error *err)
{
    rn_access_log *log = calloc(1, sizeof *log);
    if (!log) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no memory for an access log");
    log->fd = -1;
    log->dropped = dropped;
    pthread_mutex_init(&log->lock, NULL);
    pthread_cond_init(&log->filled, NULL);
    log->writing = malloc(BUFFER_BYTES);
    log->filling = malloc(BUFFER_BYTES);
    rn_status status = open_file(path, &log->fd, err);
    if (status == RN_STATUS_OK && (!log->writing || !log->filling || pthread_create(&log->thread, NULL, run, log) != 0))
        status = RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "access log: no memory for its buffers and its thread");
    if (status != RN_STATUS_OK) {
        free_log(log);
        return status;
    }
    *out = log;
    return RN_STATUS_OK;
}

void rn_access_log_close(rn_access_log *log)
{
    if (!log) return;
    pthread_mutex_lock(&log->lock);
    log->closing = true;
    log->closing_us = rn_clock_us();
    pthread_cond_signal(&log->filled);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    free_log(log);
}
