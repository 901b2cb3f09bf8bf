/* What h2o refuses before a handler sees it (a body that is too large, broken chunks) it answers in plain text and closes the connection
 * under the client's hands: a client that is still sending loses the answer to a reset. This filter puts the text into the JSON that
 * clients of this API parse, and reads away what still comes before the connection is closed. */
#include <errno.h>
#include <sys/epoll.h>

#include "engine/clock.h"
#include "http/server_private.h"

enum {
    LINGER_US = 10 * 1000 * 1000, /* for a client that keeps sending */
    DISCARD_BYTES = 64 << 10,     /* at a time */
};

typedef struct {
    h2o_ostream_t super;
    h2o_req_t *req;
    rn__watched watched;
    h2o_timeout_entry_t timer;
    int64_t deadline_us;
    bool written;
} refusal;

static int connection_fd(h2o_req_t *req)
{
    return h2o_socket_get_fd(req->conn->callbacks->get_socket(req->conn));
}

static void stop_lingering(refusal *self)
{
    rn__watch_remove(&rn__loop_of(self->req)->watch, &self->watched);
    if (h2o_timeout_is_linked(&self->timer)) h2o_timeout_unlink(&self->timer);
}

static void finish(refusal *self)
{
    stop_lingering(self);
    h2o_ostream_send_next(&self->super, self->req, NULL, 0, H2O_SEND_STATE_FINAL);
}

/* More of the unwanted body, or its end. */
static void on_input(rn__watched *watched)
{
    refusal *self = H2O_STRUCT_FROM_MEMBER(refusal, watched, watched);
    char unwanted[DISCARD_BYTES];
    const ssize_t got = recv(watched->fd, unwanted, sizeof unwanted, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) || rn_clock_us() > self->deadline_us) finish(self);
}

static void on_timer(h2o_timeout_entry_t *timer)
{
    refusal *self = H2O_STRUCT_FROM_MEMBER(refusal, timer, timer);
    h2o_context_t *context = self->req->conn->ctx;
    if (rn_clock_us() > self->deadline_us)
        finish(self);
    else
        h2o_timeout_link(context->loop, &context->one_sec_timeout, &self->timer);
}

static void linger(refusal *self)
{
    rn__loop *loop = rn__loop_of(self->req);
    const int fd = connection_fd(self->req);
    shutdown(fd, SHUT_WR);
    self->deadline_us = rn_clock_us() + LINGER_US;
    self->watched.event = on_input;
    rn__watch_add(&loop->watch, &self->watched, fd, EPOLLIN | EPOLLRDHUP);
    h2o_timeout_link(loop->context.loop, &loop->context.one_sec_timeout, &self->timer);
    self->timer.cb = on_timer;
}

static h2o_iovec_t error_body(h2o_req_t *req, const h2o_iovec_t *text, size_t count)
{
    char message[256];
    if (req->res.status == 413)
        snprintf(message, sizeof message, "Request body is larger than %zu bytes. The limit is set by --max_request_bytes.",
                 req->conn->ctx->globalconf->max_request_entity_size);
    else
        snprintf(message, sizeof message, "%.*s", count ? (int)text->len : 0, count ? text->base : "");
    rn_json_writer out;
    rn_json_writer_init(&out);
    rn__write_error(&out, message);
    const h2o_iovec_t body = out.failed ? h2o_iovec_init(NULL, 0) : h2o_strdup(&req->pool, out.text, out.bytes);
    rn_json_writer_deinit(&out);
    return body;
}

static void do_send(h2o_ostream_t *super, h2o_req_t *req, h2o_iovec_t *bufs, size_t count, h2o_send_state_t state)
{
    refusal *self = (refusal *)super;
    if (self->written) { /* the body has been sent: h2o asks what comes next */
        linger(self);
        return;
    }
    self->written = true;
    h2o_iovec_t body = error_body(req, bufs, count);
    req->res.content_length = body.len;
    h2o_set_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, H2O_STRLIT("application/json"), 1);
    const bool lingers = req->version < 0x200 && !req->http1_is_persistent;
    h2o_ostream_send_next(super, req, &body, 1, lingers ? H2O_SEND_STATE_IN_PROGRESS : state);
}

static void on_stop(h2o_ostream_t *super, h2o_req_t *req)
{
    (void)req;
    stop_lingering((refusal *)super);
}

static void on_setup(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
    (void)filter;
    const ssize_t type = h2o_find_header(&req->res.headers, H2O_TOKEN_CONTENT_TYPE, -1);
    const h2o_iovec_t *value = type == -1 ? NULL : &req->res.headers.entries[type].value;
    const bool by_h2o = value && h2o_memis(value->base, value->len, H2O_STRLIT("text/plain; charset=utf-8")); /* no handler says that */
    if (by_h2o && req->res.status >= 400) {
        refusal *self = (refusal *)h2o_add_ostream(req, sizeof *self, slot);
        const h2o_ostream_t base = {.next = self->super.next, .do_send = do_send, .stop = on_stop};
        *self = (refusal){.super = base, .req = req, .watched.fd = -1};
        slot = &self->super.next;
    }
    h2o_setup_next_ostream(req, slot);
}

void rn__refusal_register(h2o_pathconf_t *path)
{
    h2o_create_filter(path, sizeof(h2o_filter_t))->on_setup_ostream = on_setup;
}
