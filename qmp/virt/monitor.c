/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libvirt's passthrough is a blocking call a command, and a callback an event. Here they are made a
 * stream of QMP, so that the client (qmp/client.c) and all above it are the same for a domain as
 * for a bare QEMU: a thread stands at the far end of a socket pair, gives the greeting, and takes
 * the commands one by one; events are written between its answers by libvirt's event thread.
 *
 * How it ends:
 *   - QEMU ends: libvirt's lifecycle event says so, after all of QEMU's own events, for both come
 *     in one stream from one daemon. `ended` is set, then the stream is closed.
 *   - libvirt is lost: the next command fails, and the stream is closed. What QEMU says meanwhile
 *     is lost, which the client's owner takes for a gap.
 *   - the client closes its end: the thread ends when the call that it is in returns.
 *
 * A command that libvirt gave up because the domain is busy stays unanswered: it may have been
 * carried out or not, and the client's own deadline is for that.
 *
 * Requests that say that they may (QMP_TOGETHER) are carried out at the same time, each by a thread of its own: an
 * errand. So are the two registrations of events, for a domain that was just made. Any other request waits for them.
 * One that libvirt never returns from (at_once.c) keeps the thread for ever, and the client has its deadline.
 *
 * The thread and the callbacks hold a reference each, since a call may outlive the client.
 */
#include "qmp/virt/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "qmp/client.h"

/* How long the word that QEMU has ended may come after the first command that fails for it. */
#define MONITOR_LAST_WORD_MS 2000

/* A reader that is so far behind is lost, too. */
#define MONITOR_SOCKET_BYTES (4 << 20)

struct virt_monitor {
    atomic_int refs;
    virConnectPtr conn;
    virDomainPtr dom;
    struct virt_host *host;
    int fd;
    int qemu_events, lifecycle; /* callback ids; -1: not registered */
    pthread_mutex_t write_lock; /* of fd's stream: lines are whole */
    bool closed;                /* under it */
    atomic_bool ended;
    pthread_mutex_t errands_lock;
    pthread_cond_t errand_done;
    int errands; /* calls that are under way in threads of their own; under the lock */
};

static void monitor_put(void *arg)
{
    struct virt_monitor *m = arg;
    if (atomic_fetch_sub(&m->refs, 1) > 1)
        return;
    if (m->dom != NULL)
        virDomainFree(m->dom);
    if (m->conn != NULL)
        virConnectClose(m->conn);
    if (m->fd >= 0)
        close(m->fd);
    virt_host_close(m->host);
    pthread_mutex_destroy(&m->write_lock);
    pthread_mutex_destroy(&m->errands_lock);
    pthread_cond_destroy(&m->errand_done);
    free(m);
}

static struct virt_monitor *monitor_get(struct virt_monitor *m)
{
    atomic_fetch_add(&m->refs, 1);
    return m;
}

/* The client reads the end of the stream, behind all that was written. */
static void monitor_shut(struct virt_monitor *m)
{
    pthread_mutex_lock(&m->write_lock);
    m->closed = true;
    shutdown(m->fd, SHUT_RDWR);
    pthread_mutex_unlock(&m->write_lock);
}

/* Takes `msg`. */
static void monitor_write(struct virt_monitor *m, struct json_object *msg)
{
    size_t len;
    const char *text = json_object_to_json_string_length(msg, JSON_C_TO_STRING_PLAIN, &len);
    char newline = '\n';
    struct iovec parts[] = {{(void *)(uintptr_t)text, len}, {&newline, 1}};
    const struct msghdr header = {.msg_iov = parts, .msg_iovlen = 2};
    pthread_mutex_lock(&m->write_lock);
    /* the socket's buffer holds many of the largest answers, so a line is written whole or not */
    if (!m->closed && sendmsg(m->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len + 1) {
        m->closed = true;
        shutdown(m->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&m->write_lock);
    json_object_put(msg);
}

/* ---- events, in libvirt's event thread ---- */

static void monitor_on_qemu_event(virConnectPtr conn, virDomainPtr dom, const char *event,
                                  long long seconds, unsigned micros, const char *details,
                                  void *arg)
{
    (void)conn;
    (void)dom;
    struct json_object *msg = json_object_new_object(), *at = json_object_new_object();
    json_object_object_add(at, "seconds", json_object_new_int64(seconds));
    json_object_object_add(at, "microseconds", json_object_new_int64(micros));
    json_object_object_add(msg, "timestamp", at);
    json_object_object_add(msg, "event", json_object_new_string(event));
    struct json_object *data = details != NULL ? json_tokener_parse(details) : NULL;
    if (data != NULL)
        json_object_object_add(msg, "data", data);
    monitor_write(arg, msg);
}

static int monitor_on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail,
                                void *arg)
{
    struct virt_monitor *m = arg;
    (void)conn;
    (void)dom;
    (void)detail;
    if (event == VIR_DOMAIN_EVENT_STOPPED) {
        atomic_store(&m->ended, true);
        monitor_shut(m);
    }
    return 0;
}

/* ---- commands, in the thread ---- */

static void monitor_answer(struct virt_monitor *m, struct json_object *answer,
                           struct json_object *id)
{
    json_object_object_del(answer, "id"); /* libvirt's own */
    json_object_object_add(answer, "id", json_object_get(id));
    monitor_write(m, answer);
}

static void monitor_answer_error(struct virt_monitor *m, const char *words, struct json_object *id)
{
    struct json_object *answer = json_object_new_object(), *error = json_object_new_object();
    json_object_object_add(error, "class", json_object_new_string("GenericError"));
    json_object_object_add(error, "desc", json_object_new_string(words));
    json_object_object_add(answer, "error", error);
    monitor_answer(m, answer, id);
}

/* A call has failed. False: the stream is to end. */
static bool monitor_call_failed(struct virt_monitor *m, struct json_object *id)
{
    CLEANUP_FREE char *words = strdup(virGetLastErrorMessage());
    int code = virGetLastErrorCode();
    log_debug("%s: %s", virDomainGetName(m->dom), words);
    if (code == VIR_ERR_OPERATION_TIMEOUT)
        return true;
    if (virConnectIsAlive(m->conn) != 1)
        return false;
    if (virDomainIsActive(m->dom) == 1) {
        monitor_answer_error(m, words, id);
        return true;
    }
    for (int ms = 0; ms < MONITOR_LAST_WORD_MS && !atomic_load(&m->ended); ms += 10)
        usleep(10000);
    return false;
}

/* What is not QEMU's to answer. */
static bool monitor_is_ours(struct json_object *request)
{
    struct json_object *command = NULL;
    json_object_object_get_ex(request, "execute", &command);
    return command != NULL && strcmp(json_object_get_string(command), "qmp_capabilities") == 0;
}

/* What the client sent. False: the stream is to end. */
static bool monitor_serve(struct virt_monitor *m, struct json_object *request)
{
    struct json_object *id = NULL;
    json_object_object_get_ex(request, "id", &id);
    json_object_get(id);
    json_object_object_del(request, "id");
    bool go_on = true;
    if (monitor_is_ours(request)) { /* libvirt has done that */
        struct json_object *answer = json_object_new_object();
        json_object_object_add(answer, "return", json_object_new_object());
        monitor_answer(m, answer, id);
    } else {
        char *reply = NULL;
        const char *text = json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN);
        virt_host_enter(m->host);
        int rc = virDomainQemuMonitorCommand(m->dom, text, &reply, 0);
        virt_host_leave(m->host);
        if (rc < 0) {
            go_on = monitor_call_failed(m, id);
        } else {
            struct json_object *answer = json_tokener_parse(reply);
            if (json_object_is_type(answer, json_type_object))
                monitor_answer(m, answer, id);
            else
                json_object_put(answer), go_on = false;
            free(reply);
        }
    }
    json_object_put(id);
    return go_on;
}

/* ---- errands: what is done at the same time ---- */

struct errand {
    struct virt_monitor *m; /* referenced */
    void (*run)(struct virt_monitor *m, struct json_object *request);
    struct json_object *request; /* its own; NULL: none */
};

static void *errand_thread(void *arg)
{
    struct errand *one = arg;
    struct virt_monitor *m = one->m;
    one->run(m, one->request);
    json_object_put(one->request);
    free(one);
    pthread_mutex_lock(&m->errands_lock);
    m->errands--;
    pthread_cond_signal(&m->errand_done);
    pthread_mutex_unlock(&m->errands_lock);
    monitor_put(m);
    return NULL;
}

/* Takes `request`. Where there is no thread for it, it is run here. */
static void monitor_send_errand(struct virt_monitor *m,
                                void (*run)(struct virt_monitor *m, struct json_object *request),
                                struct json_object *request)
{
    struct errand *one = malloc(sizeof *one);
    if (one == NULL) {
        run(m, request);
        json_object_put(request);
        return;
    }
    *one = (struct errand){monitor_get(m), run, request};
    pthread_mutex_lock(&m->errands_lock);
    m->errands++;
    pthread_mutex_unlock(&m->errands_lock);
    if (virt_thread(errand_thread, one) != 0)
        errand_thread(one);
}

static void monitor_await_errands(struct virt_monitor *m)
{
    pthread_mutex_lock(&m->errands_lock);
    while (m->errands > 0)
        pthread_cond_wait(&m->errand_done, &m->errands_lock);
    pthread_mutex_unlock(&m->errands_lock);
}

static void errand_serve(struct virt_monitor *m, struct json_object *request)
{
    if (!monitor_serve(m, request))
        monitor_shut(m);
}

/* False: the stream is to end. What does not say that it may, waits until nothing else is under way. */
static bool monitor_take(struct virt_monitor *m, struct json_object *request)
{
    bool together = json_object_object_get_ex(request, QMP_TOGETHER, NULL);
    json_object_object_del(request, QMP_TOGETHER);
    if (together) {
        monitor_send_errand(m, errand_serve, json_object_get(request));
        return true;
    }
    if (!monitor_is_ours(request))
        monitor_await_errands(m);
    return monitor_serve(m, request);
}

static void monitor_greet(struct virt_monitor *m)
{
    monitor_write(m, json_tokener_parse("{\"QMP\": {\"version\": {}, \"capabilities\": []}}"));
}

static void *monitor_thread(void *arg)
{
    struct virt_monitor *m = arg;
    CLEANUP_FCLOSE FILE *in = fdopen(fcntl(m->fd, F_DUPFD_CLOEXEC, 0), "r");
    CLEANUP_FREE char *line = NULL;
    size_t size = 0;
    bool go_on = in != NULL;
    while (go_on && getline(&line, &size, in) > 0) {
        struct json_object *request = json_tokener_parse(line);
        go_on = json_object_is_type(request, json_type_object) && monitor_take(m, request);
        json_object_put(request);
    }
    monitor_shut(m);
    monitor_await_errands(m);
    virt_host_enter(m->host);
    if (virConnectIsAlive(m->conn) == 1) {
        if (m->qemu_events >= 0)
            virConnectDomainQemuMonitorEventDeregister(m->conn, m->qemu_events);
        if (m->lifecycle >= 0)
            virConnectDomainEventDeregisterAny(m->conn, m->lifecycle);
    } /* else they are gone with the connection; what they hold is not worth a call on a dead one */
    virt_host_leave(m->host);
    monitor_put(m);
    return NULL;
}

/* ---- opening ---- */

static int monitor_socket(struct virt_monitor *m, int *fd, struct err *e)
{
    int pair[2], bytes = MONITOR_SOCKET_BYTES;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(e, ERR_IO, errno, "cannot make a socket pair");
    m->fd = pair[1];
    *fd = pair[0];
    /* FORCE, for root, goes beyond what the system allows */
    if (setsockopt(m->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(m->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    fcntl(*fd, F_SETFL, O_NONBLOCK);
    return 0;
}

/* Libvirt's error is still there. */
static bool monitor_register_qemu(struct virt_monitor *m)
{
    m->qemu_events = virConnectDomainQemuMonitorEventRegister(
        m->conn, m->dom, NULL, monitor_on_qemu_event, monitor_get(m), monitor_put, 0);
    return m->qemu_events >= 0;
}

static bool monitor_register_lifecycle(struct virt_monitor *m)
{
    m->lifecycle = virConnectDomainEventRegisterAny(m->conn, m->dom, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                                    VIRT_EVENT_CALLBACK(monitor_on_lifecycle),
                                                    monitor_get(m), monitor_put);
    return m->lifecycle >= 0;
}

static void monitor_unheard(struct virt_monitor *m)
{
    log_warn("%s: cannot listen to events: %s", virDomainGetName(m->dom), virGetLastErrorMessage());
    monitor_put(m); /* the callback's */
    monitor_shut(m);
}

static void errand_register_qemu(struct virt_monitor *m, struct json_object *none)
{
    (void)none;
    if (!monitor_register_qemu(m))
        monitor_unheard(m);
}

static void errand_register_lifecycle(struct virt_monitor *m, struct json_object *none)
{
    (void)none;
    if (!monitor_register_lifecycle(m))
        monitor_unheard(m);
}

/* The callbacks come first: what QEMU says from now on is in the stream. */
static int monitor_listen(struct virt_monitor *m, const struct virt_domain *d, struct err *e)
{
    if (!monitor_register_qemu(m)) {
        virt_host_fail(d->host, e, "cannot listen to QEMU's events");
        monitor_put(m);
        return -1;
    }
    if (!monitor_register_lifecycle(m)) {
        virt_host_fail(d->host, e, "cannot listen to libvirt's events");
        monitor_put(m);
        return -1;
    }
    int active = virDomainIsActive(m->dom);
    if (active > 0)
        return 0;
    if (active < 0 && !virt_last_error_is(VIR_ERR_NO_DOMAIN))
        return virt_host_fail(d->host, e, d->name);
    err_set(e, ERR_LOST, 0, "%s: domain %s is not active", virt_host_role(d->host), d->name);
    e->sys = ENOENT;
    return -1;
}

/* `made`: it was just made by us, says nothing yet, and has no event to be missed before its first command that is
 * sent alone; then who has ended is known by the next call, which fails. */
static void *monitor_begin(const struct virt_domain *d, bool made, int *fd, struct err *e)
{
    struct virt_monitor *m = calloc(1, sizeof *m);
    *fd = -1;
    if (m == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for domain %s", d->name);
        return NULL;
    }
    *m = (struct virt_monitor){
        .refs = 1, .host = virt_host_ref(d->host), .fd = -1, .qemu_events = -1, .lifecycle = -1};
    pthread_mutex_init(&m->write_lock, NULL);
    pthread_mutex_init(&m->errands_lock, NULL);
    pthread_cond_init(&m->errand_done, NULL);
    m->dom = virt_domain_handle(d, e);
    if (m->dom == NULL) {
        if (e->sys == ENOENT)
            e->class = ERR_LOST;
        goto failed;
    }
    m->conn = virDomainGetConnect(m->dom);
    virConnectRef(m->conn);
    if (monitor_socket(m, fd, e) < 0)
        goto failed;
    monitor_greet(m); /* before the first event */
    if (!made && monitor_listen(m, d, e) < 0)
        goto failed;
    if (made) {
        monitor_send_errand(m, errand_register_qemu, NULL);
        monitor_send_errand(m, errand_register_lifecycle, NULL);
    }

    int sys = virt_thread(monitor_thread, monitor_get(m));
    if (sys == 0)
        return m;
    monitor_put(m);
    err_set(e, ERR_IO, sys, "cannot start a thread");
    monitor_await_errands(m);

failed:
    if (m->qemu_events >= 0)
        virConnectDomainQemuMonitorEventDeregister(m->conn, m->qemu_events);
    if (m->lifecycle >= 0)
        virConnectDomainEventDeregisterAny(m->conn, m->lifecycle);
    if (*fd >= 0)
        close(TAKE_FD(*fd));
    monitor_put(m);
    return NULL;
}

static void *monitor_open(const void *target, int *fd, struct err *e)
{
    return monitor_begin(target, false, fd, e);
}

static void *monitor_open_made(const void *target, int *fd, struct err *e)
{
    return monitor_begin(target, true, fd, e);
}

static bool monitor_has_ended(const void *carried)
{
    const struct virt_monitor *m = carried;
    return atomic_load(&m->ended);
}

/* Does not wait for a call of libvirt's that is under way. */
static void monitor_close(void *carried)
{
    monitor_put(carried);
}

static int monitor_active(const void *target, struct err *e)
{
    return virt_domain_active(target, e);
}

static void monitor_endpoint(const struct virt_domain *d, const struct qmp_carrier *libvirt,
                             struct qmp_endpoint *ep)
{
    *ep = (struct qmp_endpoint){.scheme = QMP_CARRIED, .carrier = libvirt, .target = d};
    snprintf(ep->text, sizeof ep->text, "domain %s at %s", d->name, virt_host_uri(d->host));
}

void virt_monitor_endpoint(const struct virt_domain *d, struct qmp_endpoint *ep)
{
    static const struct qmp_carrier libvirt = {.open = monitor_open,
                                               .ended = monitor_has_ended,
                                               .close = monitor_close,
                                               .active = monitor_active};
    monitor_endpoint(d, &libvirt, ep);
}

void virt_monitor_endpoint_made(const struct virt_domain *d, struct qmp_endpoint *ep)
{
    static const struct qmp_carrier libvirt = {.open = monitor_open_made,
                                               .ended = monitor_has_ended,
                                               .close = monitor_close,
                                               .active = monitor_active};
    monitor_endpoint(d, &libvirt, ep);
}
