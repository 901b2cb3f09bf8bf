/* Every thread is interrupted in turn and writes its own stack; one that does not answer in time is named and passed over, for it may hang
 * where signals do not reach it. */
#include "http/state_report.h"

#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine/clock.h"
#include "http/log.h"

enum { MAX_FRAMES = 48, PATIENCE_S = 1 };

static sem_t written;
static int64_t started_us;

static void write_own_stack(int number)
{
    (void)number;
    const int error = errno;
    void *frames[MAX_FRAMES];
    backtrace_symbols_fd(frames, backtrace(frames, MAX_FRAMES), STDERR_FILENO);
    sem_post(&written);
    errno = error;
}

void rn_state_report_init(void)
{
    void *frame[1];
    backtrace(frame, 1); /* loads the unwinder, which a handler must not */
    started_us = rn_clock_us();
    sem_init(&written, 0, 0);
    const struct sigaction action = {.sa_handler = write_own_stack, .sa_flags = SA_RESTART};
    sigaction(SIGUSR2, &action, NULL);
}

static void report_queues(rn_metrics *metrics)
{
    pthread_mutex_lock(&metrics->lock);
    for (const rn_model_metrics *model = metrics->models; model; model = model->next) {
        if (model->loaded == 0) continue;
        rn_log(RN_LOG_INFO, "state: model %s version %lld on %s: %lld requests wait with %lld rows; %llu batches, %.1f s on the device",
               model->name, (long long)model->version, model->description, (long long)rn_gauge_get(&model->waiting_requests),
               (long long)rn_gauge_get(&model->waiting_rows), (unsigned long long)rn_histogram_count(&model->batch_rows),
               (double)rn_counter_get(&model->busy_us) * 1e-6);
    }
    pthread_mutex_unlock(&metrics->lock);
}

static void report_thread(pid_t thread)
{
    char path[64], name[32] = "?";
    snprintf(path, sizeof path, "/proc/self/task/%d/comm", (int)thread);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%31[^\n]", name) != 1) name[0] = '?';
    if (file) fclose(file);
    rn_log(RN_LOG_INFO, "state: thread %d, %s", (int)thread, name);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    if (syscall(SYS_tgkill, getpid(), thread, SIGUSR2) != 0) return; /* it has ended */
    int status;
    while ((status = sem_timedwait(&written, &until)) != 0 && errno == EINTR) continue;
    if (status != 0) rn_log(RN_LOG_INFO, "state: thread %d does not answer", (int)thread);
}

void rn_state_report(const char *phase, rn_metrics *metrics)
{
    rn_log(RN_LOG_INFO, "state: %s, for %.1f s", phase, (double)(rn_clock_us() - started_us) * 1e-6);
    if (metrics) {
        rn_log(RN_LOG_INFO, "state: calls under way: %lld over HTTP, %lld over gRPC; %lld HTTP connections, %lld bytes of bodies",
               (long long)rn_gauge_get(&metrics->in_flight[RN_PROTOCOL_HTTP]),
               (long long)rn_gauge_get(&metrics->in_flight[RN_PROTOCOL_GRPC]), (long long)rn_gauge_get(&metrics->connections),
               (long long)rn_gauge_get(&metrics->body_bytes));
        report_queues(metrics);
    }
    DIR *tasks = opendir("/proc/self/task");
    if (!tasks) return;
    for (const struct dirent *entry = readdir(tasks); entry; entry = readdir(tasks))
        if (entry->d_name[0] != '.') report_thread((pid_t)atoi(entry->d_name));
    closedir(tasks);
}
