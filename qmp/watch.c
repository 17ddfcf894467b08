/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A watch is a QMP client that says nothing but query-migrate and query-status. An answer that comes
 * when its asker has been told to forget it (watch_close()) does not come at all: the client's close
 * answers first.
 *
 * Events have two times, because neither is always right: QEMU's stamp is of the moment, but of the
 * clock of QEMU's machine; the arrival is of our clock, but after libvirt, ssh or our own delays.
 */
#include "qmp/watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/migrate/passes.h"
#include "qmp/client.h"
#include "qmp/command.h"
#include "qmp/dirty.h"

struct watch {
    struct loop *loop;
    struct qmp_client *client; /* NULL: events only */
    bool here;                 /* QEMU, whose events come from the client, is on this machine */
    watch_event_fn *on_event;
    void *event_arg;

    struct passes passes; /* of the migration that goes on */

    watch_sample_fn *on_sample; /* NULL: no question is under way */
    void *sample_arg;

    struct watch_source source; /* `of` is NULL: a bare QEMU */
    struct loop_fd *events_watch;
};

int64_t watch_stamp(int64_t epoch_ns, int64_t arrived_ns)
{
    return epoch_ns > 0 ? epoch_ns - clock_epoch_offset_ns() : arrived_ns;
}

static void watch_on_event(void *arg, const char *name, struct json_object *data)
{
    struct watch *w = arg;
    if (w->on_event == NULL)
        return;
    if (name == NULL) {
        w->on_event(w->event_arg, NULL);
        return;
    }
    struct watch_event ev = {.arrived_ns = clock_now_ns(), .here = w->here};
    /* before the first event of a client that is still being opened there is none to ask */
    int64_t epoch_ns = w->client != NULL ? qmp_client_event_epoch_ns(w->client) : 0;
    ev.stamp_ns = watch_stamp(epoch_ns, ev.arrived_ns);
    snprintf(ev.name, sizeof ev.name, "%s", name);
    qmp_event_detail(name, data, ev.detail, sizeof ev.detail);
    w->on_event(w->event_arg, &ev);
}

static struct watch *watch_new(struct loop *loop, watch_event_fn *on_event, void *arg,
                               struct err *e)
{
    struct watch *w = calloc(1, sizeof *w);
    if (w == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for a watch");
        return NULL;
    }
    *w = (struct watch){.loop = loop, .on_event = on_event, .event_arg = arg};
    return w;
}

static int watch_connect(struct watch *w, const struct qmp_endpoint *ep, int64_t timeout_ns,
                         struct err *e)
{
    w->client = qmp_client_open(w->loop, ep, timeout_ns, true, watch_on_event, w, e);
    return w->client != NULL ? 0 : -1;
}

struct watch *watch_open(struct loop *loop, const char *endpoint, int64_t timeout_ns,
                         watch_event_fn *on_event, void *arg, struct err *e)
{
    struct qmp_endpoint ep;
    if (qmp_endpoint_parse(endpoint, &ep, e) < 0)
        return NULL;
    struct watch *w = watch_new(loop, on_event, arg, e);
    if (w == NULL)
        return NULL;
    w->here = ep.scheme == QMP_UNIX;
    if (watch_connect(w, &ep, timeout_ns, e) < 0) {
        watch_close(w);
        return NULL;
    }
    return w;
}

static void watch_on_pipe(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct watch *w = arg;
    struct watch_event ev;
    while (read(w->source.events_fd, &ev, sizeof ev) == (ssize_t)sizeof ev)
        if (w->on_event != NULL)
            w->on_event(w->event_arg, &ev);
}

struct watch *watch_open_source(struct loop *loop, const struct watch_source *source,
                                int64_t timeout_ns, watch_event_fn *on_event, void *arg,
                                struct err *e)
{
    struct watch *w = watch_new(loop, on_event, arg, e);
    if (w == NULL) {
        source->close(source->of);
        return NULL;
    }
    w->source = *source;
    w->here = source->here;
    if (source->events_fd >= 0)
        w->events_watch = loop_fd_add(loop, source->events_fd, EPOLLIN, watch_on_pipe, w, e);
    if ((source->events_fd >= 0 && w->events_watch == NULL) ||
        (source->ep.carrier != NULL && watch_connect(w, &source->ep, timeout_ns, e) < 0)) {
        watch_close(w);
        return NULL;
    }
    return w;
}

/* QEMU's numbers stay after a migration until the next: what falls is a new one's. */
static int watch_read(struct watch *w, struct json_object *answer, struct watch_sample *s,
                      struct err *e)
{
    if (qmp_read_migrate(answer, s, e) < 0)
        return -1;
    if (s->vm.migration == VM_MIGRATION_SETUP || s->vm.ram_handled_bytes < w->passes.handled_bytes)
        w->passes = (struct passes){0};
    passes_follow(&w->passes, &s->vm);
    return 0;
}

static void watch_on_answer(void *arg, struct json_object *result, const struct err *e)
{
    struct watch *w = arg;
    watch_sample_fn *fn = w->on_sample;
    struct watch_sample s = {0};
    struct err why = *e;
    w->on_sample = NULL;
    bool good = result != NULL && watch_read(w, result, &s, &why) == 0;
    fn(w->sample_arg, good ? &s : NULL, &why);
}

bool watch_ask(struct watch *w, watch_sample_fn *fn, void *arg)
{
    if (w->client == NULL || w->on_sample != NULL)
        return false;
    w->on_sample = fn;
    w->sample_arg = arg;
    qmp_client_send(w->client, "query-migrate", NULL, WATCH_ASK_TIMEOUT_NS, watch_on_answer, w);
    return true;
}

/* For what only makes sense of a QEMU that can be asked. */
static int watch_need_client(const struct watch *w, struct err *e)
{
    return w->client != NULL
               ? 0
               : err_set(e, ERR_REFUSED, 0, "godwit watches only the events of this QEMU");
}

int watch_sample(struct watch *w, int64_t timeout_ns, struct watch_sample *s, struct err *e)
{
    struct json_object *r = NULL;
    *s = (struct watch_sample){0};
    if (watch_need_client(w, e) < 0 ||
        qmp_client_call(w->client, "query-migrate", NULL, timeout_ns, true, &r, e) < 0)
        return -1;
    int rc = watch_read(w, r, s, e);
    json_object_put(r);
    return rc;
}

int watch_completed(struct watch *w, struct watch_sample *s, struct err *e)
{
    if (w->source.of == NULL || w->client == NULL)
        return err_set(e, ERR_REFUSED, 0, "nobody but QEMU itself could tell");
    return w->source.completed(w->source.of, s, e);
}

int watch_run(struct watch *w, enum vm_run *run, struct err *e)
{
    return watch_need_client(w, e) < 0 ? -1 : qmp_query_status(w->client, run, e);
}

int watch_dirty(struct watch *w, const struct dirty_options *opt, struct dirty_qemu *q,
                struct dirty_result *out, struct err *e)
{
    if (w->client == NULL)
        return err_set(e, ERR_REFUSED, 0,
                       "what is only listened to cannot be asked for dirty pages");
    return dirty_measure(w->loop, w->client, opt, q, out, e);
}

int watch_trace(struct watch *w, const char *pattern, bool on, struct err *e)
{
    return watch_need_client(w, e) < 0 ? -1 : qmp_trace_event_set_state(w->client, pattern, on, e);
}

bool watch_lost(const struct watch *w)
{
    return w->client != NULL && qmp_client_lost(w->client);
}

/* What is measured of a process needs no proof, but a proxy's use of the machine is not QEMU's. */
static bool watch_is_qemu(int64_t pid)
{
    char path[40], exe[256];
    snprintf(path, sizeof path, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(path, exe, sizeof exe - 1);
    if (n <= 0)
        return false;
    exe[n] = '\0';
    const char *slash = strrchr(exe, '/');
    return slash != NULL && (strncmp(slash + 1, "qemu", 4) == 0 || strcmp(slash + 1, "kvm") == 0);
}

int64_t watch_pid(const struct watch *w)
{
    int64_t pid = w->client != NULL ? qmp_link_peer_pid(qmp_client_link(w->client)) : 0;
    return pid > 0 && watch_is_qemu(pid) ? pid : 0;
}

void watch_close(struct watch *w)
{
    if (w == NULL)
        return;
    qmp_client_close(w->client);
    loop_fd_del(w->events_watch);
    if (w->source.of != NULL)
        w->source.close(w->source.of);
    free(w);
}
