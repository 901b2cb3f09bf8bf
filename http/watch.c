/* h2o reads nothing from an HTTP/1 connection while a request is in work, so that it would notice a client that has gone away only when it
 * writes the answer. A second epoll instance, itself a member of the loop, is told of those hang-ups. A client that closes its sending half
 * only looks the same: what it asked for is dropped while it waits, and answered once it runs. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "http/server_private.h"

static void on_events(h2o_socket_t *socket, const char *error)
{
    (void)error;
    rn__watch *watch = socket->data;
    struct epoll_event events[64];
    const int count = epoll_wait(watch->epoll_fd, events, 64, 0);
    for (int i = 0; i < count; i++) {
        rn__watched *watched = events[i].data.ptr;
        if (watched->fd >= 0) watched->event(watched);
    }
}

rn_status rn__watch_init(rn__watch *watch, h2o_loop_t *loop, rn_error *err)
{
    watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (watch->epoll_fd < 0) return RN_FAIL(err, RN_STATUS_OUT_OF_MEMORY, "epoll_create1: %s", strerror(errno));
    watch->socket = h2o_evloop_socket_create(loop, watch->epoll_fd, H2O_SOCKET_FLAG_DONT_READ);
    watch->socket->data = watch;
    h2o_socket_read_start(watch->socket, on_events);
    return RN_STATUS_OK;
}

void rn__watch_deinit(rn__watch *watch)
{
    if (watch->socket) h2o_socket_close(watch->socket);
    watch->socket = NULL;
}

void rn__watch_add(rn__watch *watch, rn__watched *watched, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watched};
    watched->fd = epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? fd : -1;
}

void rn__watch_remove(rn__watch *watch, rn__watched *watched)
{
    if (watched->fd < 0) return;
    epoll_ctl(watch->epoll_fd, EPOLL_CTL_DEL, watched->fd, NULL);
    watched->fd = -1;
}
