/* The handler does nothing but count and post: a thread of its own takes what has come, and whoever waits for the next phase is woken. */
#include "http/lifecycle.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "http/exit_code.h"
#include "http/log.h"
#include "http/state_report.h"

typedef enum { LOADING, SERVING, DRAINING } phase;

static const char *const phase_names[] = {"loading", "serving", "draining"};

static struct {
    atomic_int phase;
    atomic_int endings, hangups, questions; /* signals that nobody has looked at yet */
    atomic_int number;                      /* of the latest one that ends the process */
    sem_t arrived;                          /* posted by the handler: all that a handler may do */
    atomic_int code;                        /* to exit with when everything is drained */
    sem_t news;                             /* for the thread that waits while the process serves */
    void (*unready)(void *context);         /* set before the phase is SERVING */
    void *context;
    pthread_mutex_t asking;                 /* guards metrics */
    rn_metrics *metrics;                    /* NULL: there are none */
} process = {.asking = PTHREAD_MUTEX_INITIALIZER};

void rn_lifecycle_show_metrics(rn_metrics *metrics)
{
    pthread_mutex_lock(&process.asking);
    process.metrics = metrics;
    pthread_mutex_unlock(&process.asking);
}

static void answer_question(void)
{
    pthread_mutex_lock(&process.asking);
    rn_state_report(phase_names[atomic_load(&process.phase)], process.metrics);
    pthread_mutex_unlock(&process.asking);
}

static void on_signal(int number)
{
    if (number == SIGHUP) {
        atomic_fetch_add(&process.hangups, 1);
    } else if (number == SIGQUIT) {
        atomic_fetch_add(&process.questions, 1);
    } else {
        atomic_store(&process.number, number);
        atomic_fetch_add(&process.endings, 1);
    }
    sem_post(&process.arrived);
}

/* False where the process does not serve: *found is the phase then. */
static bool begin_to_drain(int *found)
{
    *found = SERVING;
    if (!atomic_compare_exchange_strong(&process.phase, found, DRAINING)) return false;
    process.unready(process.context);
    return true;
}

static void take_ending(void)
{
    const char *name = atomic_load(&process.number) == SIGINT ? "SIGINT" : "SIGTERM";
    int found;
    if (begin_to_drain(&found)) {
        rn_log(RN_LOG_INFO, "%s: draining", name);
        sem_post(&process.news);
    } else if (found == LOADING) {
        rn_log(RN_LOG_INFO, "%s: stopped before the model was loaded", name);
        _exit(EXIT_SUCCESS);
    } else {
        rn_log(RN_LOG_ERROR, "%s again: stopping at once", name);
        _exit(EXIT_CUT_SHORT);
    }
}

static void *take_signals(void *set)
{
    pthread_sigmask(SIG_UNBLOCK, set, NULL);
    for (;;) {
        while (sem_wait(&process.arrived) != 0) continue;
        if (atomic_load(&process.endings) > 0) {
            atomic_fetch_sub(&process.endings, 1);
            take_ending();
        } else if (atomic_exchange(&process.questions, 0) > 0) {
            answer_question();
        } else {
            sem_post(&process.news);
        }
    }
    return NULL;
}

/* A handler and not sigwait alone: libraries start threads before main that block nothing, and a signal that meets one of them must not
 * kill. */
rn_status rn_lifecycle_begin(rn_error *err)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    static sigset_t set;
    pthread_t thread;
    rn_state_report_init();
    sem_init(&process.arrived, 0, 0);
    sem_init(&process.news, 0, 0);
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaddset(&set, numbers[i]);
    const struct sigaction action = {.sa_handler = on_signal, .sa_mask = set, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, take_signals, &set) != 0) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "no thread for signals");
    pthread_detach(thread);
    return RN_STATUS_OK;
}

void rn_lifecycle_serve(void (*unready)(void *context), void *context)
{
    process.unready = unready;
    process.context = context;
    atomic_store(&process.phase, SERVING);
}

void rn_lifecycle_drain(int code)
{
    int found;
    atomic_store(&process.code, code);
    if (begin_to_drain(&found)) sem_post(&process.news);
}

/* Until there is news, or the time is over. */
static void wait_for_news(int64_t seconds)
{
    struct timespec until;
    if (seconds <= 0) {
        while (sem_wait(&process.news) != 0) continue;
        return;
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    while (sem_timedwait(&process.news, &until) != 0 && errno == EINTR) continue;
}

bool rn_lifecycle_wait(int64_t poll_seconds, bool *hangup)
{
    wait_for_news(poll_seconds);
    *hangup = atomic_exchange(&process.hangups, 0) > 0;
    return atomic_load(&process.phase) == SERVING;
}

int rn_lifecycle_exit_code(void)
{
    return atomic_load(&process.code);
}
