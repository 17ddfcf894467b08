/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * QMP is lines of JSON. The client is in one of three states:
 *
 *   greeting   waits for {"QMP": …}; anything else, or the end of the stream, is "not QMP"
 *   ready      commands go out with a numeric id and wait in `pending`; answers come in any order
 *   lost       the stream has ended or has broken the protocol; nothing comes any more
 *
 * A command leaves `pending` when its callback runs. One whose time is over is answered by its
 * timer; its late answer has an id that was issued and is pending no more, and is dropped. An id
 * that was never issued, or a line that is not JSON, means that the two sides no longer speak of
 * the same thing: the connection is given up.
 *
 * When the connection is lost in the middle of a callback, or while a command is being sent, the
 * pending callbacks may not run at once (the caller of qmp_client_send() is not ready for its own).
 * They are run from a timer that is due immediately, so always straight from the loop.
 *
 * A QEMU that has ended shows first as a command that cannot be sent. What it had said before may
 * still be unread then, and may be the word that decides where the guest ran: so a failed send does
 * not end the connection; the end of the stream does.
 */
#include "qmp/client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "qmp/field.h"
#include "qmp/link.h"
#include "qmp/schema.h"

enum {
    CLIENT_READ_BYTES = 64 << 10,
    CLIENT_LINE_MAX = 32 << 20, /* query-qmp-schema is some 250 kB; beyond this it is no QMP */
};

struct pending {
    struct pending *next;
    struct qmp_client *client;
    uint64_t id;
    char command[64];
    qmp_reply_fn *fn;
    void *arg;
    struct loop_timer *timer;
};

/* A byte queue: data[start..end) is unread. */
struct bytes {
    char *data;
    size_t start, end, size;
};

struct qmp_client {
    struct loop *loop;
    struct qmp_endpoint ep;
    struct qmp_link link;
    struct loop_fd *watch;
    struct loop_timer *fail_timer; /* due at once, when lost with callbacks pending */
    qmp_event_fn *on_event;
    void *event_arg;
    int64_t event_epoch_ns;
    struct bytes in, out;
    struct pending *pending;
    uint64_t next_id;
    bool together; /* what is sent now may be carried out at the same time */
    bool greeted;  /* or lost before it */
    bool lost;
    bool tell_lost; /* the event callback has not heard of it yet */
    struct err why_lost;
    struct qmp_schema *schema; /* NULL: not asked for yet */
};

static bool bytes_reserve(struct bytes *b, size_t more)
{
    if (b->start > 0) {
        memmove(b->data, b->data + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    if (b->size - b->end >= more)
        return true;
    size_t size = b->size * 2 > b->end + more ? b->size * 2 : b->end + more;
    char *data = realloc(b->data, size);
    if (data == NULL)
        return false;
    b->data = data;
    b->size = size;
    return true;
}

/* Ends the one wait of `p`. It is unlinked first: the callback may send, but must not close. */
static void pending_answer(struct pending *p, struct json_object *result, const struct err *e)
{
    struct pending **at = &p->client->pending;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    loop_timer_del(p->timer);
    p->fn(p->arg, result, e);
    free(p);
}

static void client_fail_pending(struct qmp_client *c, const struct err *why)
{
    while (c->pending != NULL)
        pending_answer(c->pending, NULL, why);
}

static void client_on_fail_timer(void *arg)
{
    struct qmp_client *c = arg;
    loop_timer_del(c->fail_timer);
    c->fail_timer = NULL;
    if (c->tell_lost) {
        c->tell_lost = false;
        c->on_event(c->event_arg, NULL, NULL);
    }
    client_fail_pending(c, &c->why_lost);
}

static void client_fail_soon(struct qmp_client *c)
{
    struct err ignored = {0};
    if (c->fail_timer == NULL)
        c->fail_timer = loop_timer_add(c->loop, 0, client_on_fail_timer, c, &ignored);
}

static void client_lose(struct qmp_client *c, enum err_class class, int sys, const char *why)
{
    if (c->lost)
        return;
    c->lost = true;
    err_set(&c->why_lost, class, sys, "%s: %s", c->ep.text, why);
    log_debug("%s", c->why_lost.msg);
    loop_fd_del(c->watch);
    c->watch = NULL;
    c->tell_lost = c->greeted;
    c->greeted = true;
    client_fail_soon(c);
}

static struct pending *client_find(struct qmp_client *c, uint64_t id)
{
    struct pending *p = c->pending;
    while (p != NULL && p->id != id)
        p = p->next;
    return p;
}

static void client_on_reply(struct qmp_client *c, struct json_object *msg, struct json_object *id)
{
    int64_t n = json_object_is_type(id, json_type_int) ? json_object_get_int64(id) : -1;
    if (n < 0 || (uint64_t)n >= c->next_id) {
        client_lose(c, ERR_PROTO, 0, "answered a command that was never sent");
        return;
    }
    struct pending *p = client_find(c, (uint64_t)n);
    if (p == NULL) {
        log_debug("%s: a late answer to command %" PRIi64 " is dropped", c->ep.text, n);
        return;
    }
    struct json_object *result, *error, *desc;
    struct err e = {0};
    if (json_object_object_get_ex(msg, "return", &result)) {
        pending_answer(p, result, &e);
        return;
    }
    const char *words = "an error without a description";
    if (json_object_object_get_ex(msg, "error", &error) &&
        json_object_object_get_ex(error, "desc", &desc) &&
        json_object_is_type(desc, json_type_string))
        words = json_object_get_string(desc);
    err_set(&e, ERR_QMP, 0, "%s: %s", p->command, words);
    pending_answer(p, NULL, &e);
}

static int64_t client_read_stamp(struct json_object *msg)
{
    struct err ignored = {0};
    uint64_t seconds = 0, micros = 0;
    if (field_u64_opt(msg, "timestamp.seconds", &seconds, &ignored) < 0 ||
        field_u64_opt(msg, "timestamp.microseconds", &micros, &ignored) < 0 ||
        seconds > UINT32_MAX || micros >= 1000000) /* QEMU says -1 when it does not know */
        return 0;
    return (int64_t)seconds * NS_PER_S + (int64_t)micros * NS_PER_US;
}

static void client_on_message(struct qmp_client *c, struct json_object *msg)
{
    struct json_object *field, *data = NULL;
    if (!c->greeted) {
        if (json_object_object_get_ex(msg, "QMP", &field))
            c->greeted = true;
        else
            client_lose(c, ERR_REFUSED, 0, "this is not QMP: no greeting");
    } else if (json_object_object_get_ex(msg, "event", &field) &&
               json_object_is_type(field, json_type_string)) {
        json_object_object_get_ex(msg, "data", &data);
        c->event_epoch_ns = client_read_stamp(msg);
        c->on_event(c->event_arg, json_object_get_string(field), data);
    } else if (json_object_object_get_ex(msg, "id", &field)) {
        client_on_reply(c, msg, field);
    } else {
        /* QEMU answers without an id only to what it could not parse: our bug, or not QMP */
        client_lose(c, ERR_PROTO, 0, "a message that is neither event nor answer");
    }
}

static void client_on_line(struct qmp_client *c, const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' '))
        len--;
    if (len == 0)
        return;
    log_debug("%s < %.*s", c->ep.text, (int)(len < 1500 ? len : 1500), line);

    struct json_tokener *tok = json_tokener_new();
    struct json_object *msg =
        tok == NULL || len > INT32_MAX ? NULL : json_tokener_parse_ex(tok, line, (int)len);
    json_tokener_free(tok);
    if (!json_object_is_type(msg, json_type_object))
        client_lose(c, c->greeted ? ERR_PROTO : ERR_REFUSED, 0,
                    "this is not QMP: a line that is not a JSON object");
    else
        client_on_message(c, msg);
    json_object_put(msg);
}

static void client_read(struct qmp_client *c)
{
    if (c->in.end - c->in.start > CLIENT_LINE_MAX || !bytes_reserve(&c->in, CLIENT_READ_BYTES)) {
        client_lose(c, c->greeted ? ERR_PROTO : ERR_REFUSED, 0,
                    "this is not QMP: a line without end");
        return;
    }
    size_t searched = c->in.end;
    ssize_t n = recv(c->link.fd, c->in.data + c->in.end, c->in.size - c->in.end, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        if (!c->greeted)
            client_lose(c, ERR_LOST, 0, "closed without a QMP greeting");
        else
            client_lose(c, ERR_LOST, n < 0 ? errno : 0, "the QMP connection was closed");
        return;
    }
    c->in.end += (size_t)n;

    char *newline;
    while (!c->lost && (newline = memchr(c->in.data + searched, '\n', c->in.end - searched))) {
        size_t start = c->in.start;
        c->in.start = searched = (size_t)(newline - c->in.data) + 1;
        client_on_line(c, c->in.data + start, searched - 1 - start);
    }
}

static void client_write(struct qmp_client *c)
{
    while (!c->lost && c->out.start < c->out.end) {
        ssize_t n =
            send(c->link.fd, c->out.data + c->out.start, c->out.end - c->out.start, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0) {
            log_debug("%s: cannot send: %s", c->ep.text, strerror(errno));
            c->out.start = c->out.end;
            break;
        }
        c->out.start += (size_t)n;
    }
    if (!c->lost)
        loop_fd_set(c->watch, EPOLLIN | (c->out.start < c->out.end ? EPOLLOUT : 0));
}

static void client_on_socket(void *arg, uint32_t epoll_events)
{
    struct qmp_client *c = arg;
    if (epoll_events & EPOLLOUT)
        client_write(c);
    if (!c->lost && (epoll_events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        client_read(c);
}

static void client_on_timeout(void *arg)
{
    struct pending *p = arg;
    struct err e = {0};
    err_set(&e, ERR_TIMEOUT, 0, "%s: %s: QEMU did not answer in time", p->client->ep.text,
            p->command);
    pending_answer(p, NULL, &e);
}

static void client_queue(struct qmp_client *c, const struct pending *p, struct json_object *args)
{
    struct json_object *msg = json_object_new_object();
    json_object_object_add(msg, "execute", json_object_new_string(p->command));
    if (args != NULL)
        json_object_object_add(msg, "arguments", args);
    json_object_object_add(msg, "id", json_object_new_int64((int64_t)p->id));
    if (c->together && c->ep.scheme == QMP_CARRIED)
        json_object_object_add(msg, QMP_TOGETHER, json_object_new_boolean(true));

    size_t len;
    const char *text = json_object_to_json_string_length(msg, JSON_C_TO_STRING_PLAIN, &len);
    log_debug("%s > %s", c->ep.text, text);
    if (bytes_reserve(&c->out, len + 1)) {
        memcpy(c->out.data + c->out.end, text, len);
        c->out.data[c->out.end + len] = '\n';
        c->out.end += len + 1;
        client_write(c);
    } else {
        client_lose(c, ERR_IO, ENOMEM, "no memory for a QMP connection");
    }
    json_object_put(msg);
}

void qmp_client_send(struct qmp_client *c, const char *command, struct json_object *args,
                     int64_t timeout_ns, qmp_reply_fn *fn, void *arg)
{
    struct err ignored = {0};
    struct pending *p = calloc(1, sizeof *p);
    assert(p != NULL && strlen(command) < sizeof p->command);
    *p =
        (struct pending){.next = c->pending, .client = c, .id = c->next_id++, .fn = fn, .arg = arg};
    strcpy(p->command, command);
    p->timer = loop_timer_add(c->loop, timeout_ns, client_on_timeout, p, &ignored);
    c->pending = p;

    if (c->lost) {
        json_object_put(args);
        client_fail_soon(c);
    } else {
        client_queue(c, p, args);
    }
}

struct call {
    bool done;
    bool abandoned; /* the caller has gone: whoever comes last frees */
    struct json_object *result;
    struct err e;
};

static void call_on_reply(void *arg, struct json_object *result, const struct err *e)
{
    struct call *call = arg;
    if (call->abandoned) {
        free(call);
        return;
    }
    call->done = true;
    call->result = json_object_get(result);
    call->e = *e;
}

static struct call *call_begin(struct qmp_client *c, const char *command, struct json_object *args,
                               int64_t timeout_ns)
{
    struct call *call = calloc(1, sizeof *call);
    assert(call != NULL);
    qmp_client_send(c, command, args, timeout_ns, call_on_reply, call);
    return call;
}

/* Takes `call`. */
static int call_end(struct qmp_client *c, struct call *call, bool interruptible,
                    struct json_object **result, struct err *e)
{
    if (loop_spin(c->loop, &call->done, -1, interruptible, e) < 0) {
        call->abandoned = true;
        return -1;
    }
    int rc = call->e.class == ERR_NONE ? 0 : -1;
    if (rc < 0)
        *e = call->e;
    else if (result != NULL)
        *result = json_object_get(call->result);
    json_object_put(call->result);
    free(call);
    return rc;
}

int qmp_client_call(struct qmp_client *c, const char *command, struct json_object *args,
                    int64_t timeout_ns, bool interruptible, struct json_object **result,
                    struct err *e)
{
    return call_end(c, call_begin(c, command, args, timeout_ns), interruptible, result, e);
}

int qmp_client_calls(struct qmp_client *c, struct qmp_call *calls, size_t n, int64_t timeout_ns,
                     bool interruptible, struct err *e)
{
    struct call *begun[QMP_CALLS_MAX];
    struct err other;
    int rc = 0;
    assert(n <= QMP_CALLS_MAX);
    c->together = true;
    for (size_t i = 0; i < n; i++) {
        calls[i].result = NULL;
        begun[i] = call_begin(c, calls[i].command, calls[i].args, timeout_ns);
    }
    c->together = false;
    for (size_t i = 0; i < n; i++) {
        other = (struct err){0};
        if (call_end(c, begun[i], interruptible, &calls[i].result, rc == 0 ? e : &other) < 0)
            rc = -1;
    }
    for (size_t i = 0; i < n && rc < 0; i++) {
        json_object_put(calls[i].result);
        calls[i].result = NULL;
    }
    return rc;
}

static int client_greet(struct qmp_client *c, int64_t timeout_ns, bool interruptible, struct err *e)
{
    if (loop_spin(c->loop, &c->greeted, clock_now_ns() + timeout_ns, interruptible, e) < 0) {
        if (e->class == ERR_TIMEOUT) {
            err_clear(e);
            err_set(e, ERR_TIMEOUT, 0, "%s: QEMU sent no QMP greeting", c->ep.text);
            err_hint(e, "a QMP socket serves one client at a time: is another one connected?");
        }
        return -1;
    }
    if (c->lost) {
        if (c->ep.scheme == QMP_SSH && !qmp_link_ssh_lives(&c->link))
            return err_set(e, ERR_IO, 0, "%s: ssh ended before the QMP greeting", c->ep.text);
        *e = c->why_lost;
        if (c->link.ssh != 0)
            err_hint(e, "is there a QMP socket %s on %s, and no other client connected to it?",
                     c->ep.path, c->ep.host);
        return -1;
    }
    return qmp_client_call(c, "qmp_capabilities", NULL, timeout_ns, interruptible, NULL, e);
}

struct qmp_client *qmp_client_open(struct loop *loop, const struct qmp_endpoint *ep,
                                   int64_t timeout_ns, bool interruptible, qmp_event_fn *on_event,
                                   void *arg, struct err *e)
{
    struct qmp_client *c = calloc(1, sizeof *c);
    if (c == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for a QMP connection");
        return NULL;
    }
    *c = (struct qmp_client){
        .loop = loop, .ep = *ep, .link.fd = -1, .on_event = on_event, .event_arg = arg};
    if (qmp_link_open(ep, timeout_ns, &c->link, e) == 0) {
        c->watch = loop_fd_add(loop, c->link.fd, EPOLLIN, client_on_socket, c, e);
        if (c->watch != NULL && client_greet(c, timeout_ns, interruptible, e) == 0)
            return c;
    }
    qmp_client_close(c);
    return NULL;
}

void qmp_client_close(struct qmp_client *c)
{
    if (c == NULL)
        return;
    struct err closed = {0};
    err_set(&closed, ERR_CANCELLED, 0, "%s: closed", c->ep.text);
    c->lost = true; /* a callback that sends from here gets its answer in the same sweep */
    client_fail_pending(c, &closed);
    loop_timer_del(c->fail_timer);
    loop_fd_del(c->watch);
    qmp_link_close(&c->link);
    qmp_schema_free(c->schema);
    free(c->in.data);
    free(c->out.data);
    free(c);
}

struct qmp_schema **qmp_client_schema(struct qmp_client *c)
{
    return &c->schema;
}

int64_t qmp_client_event_epoch_ns(const struct qmp_client *c)
{
    return c->event_epoch_ns;
}

bool qmp_client_lost(const struct qmp_client *c)
{
    return c->lost;
}

bool qmp_client_ended_by_peer(struct qmp_client *c)
{
    if (!c->lost || c->why_lost.class != ERR_LOST)
        return false;
    if (c->ep.scheme == QMP_SSH)
        return c->why_lost.sys == 0 && qmp_link_ssh_lives(&c->link);
    if (c->ep.scheme == QMP_CARRIED)
        return c->link.carrier->ended(c->link.carried);
    /* a unix socket gives all that is queued before it gives an error; tcp may not */
    return c->why_lost.sys == 0 || c->ep.scheme == QMP_UNIX;
}

const struct qmp_link *qmp_client_link(const struct qmp_client *c)
{
    return &c->link;
}
