/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/clock.h"
#include "fake_export.h"

enum {
    CONNS = 16,
    MESSAGE_MAX = 1200000,
    CRED_MAX = 128,
    HELD_MAX = 16,
    HELD_MS = 5,
    SLOW_MS = 10,
    SLOW_BUFFER = 64 << 10
};
enum { MAPPER = 100000, MOUNT = 100005, NFS = 100003 };

struct held {
    int fd;
    size_t len;
    unsigned char *record;
};

/*
 * Linux drops the SYN when the queue of a listening socket is full: who connects hears nothing. The
 * queue of a listener is made short, and filled; nobody accepts.
 */
enum { FILLERS = 8 };

struct fake_silence {
    int listener;
    int fillers[FILLERS];
};

struct fake_server {
    struct fake_faults faults;
    struct fake_export export;
    struct fake_silence silence;
    int listener, port; /* -1: connections are refused */
    int64_t listen_ns;  /* until then */
    int stop[2];        /* a pipe: closing it ends the thread */
    int conns[CONNS];
    pthread_t thread;
    bool reserved; /* the last connection came from a reserved port */
    unsigned calls, connections, statuses;
    bool is_data; /* the call at hand: READ, WRITE or COMMIT */
    struct held held[HELD_MAX];
    unsigned n_held;
    unsigned char cred[CRED_MAX]; /* of the first call that had one */
    size_t cred_len;
    bool creds_differ;
    uint32_t groups[FAKE_GROUPS_MAX], n_groups; /* of the last one */
    unsigned mapped;
    unsigned char in[MESSAGE_MAX], out[MESSAGE_MAX];
};

/* ---- connections ---- */

static void start_listening(struct fake_server *s)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)s->port)};
    socklen_t len = sizeof at;
    int on = 1;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (s->faults.slow_bytes_ms > 0) { /* what the kernel takes by itself was not slow */
        int few = SLOW_BUFFER;
        setsockopt(s->listener, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
        setsockopt(s->listener, SOL_SOCKET, SO_SNDBUF, &few, sizeof few);
    }
    if (setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(s->listener, (struct sockaddr *)&at, len) < 0 || listen(s->listener, CONNS) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &len) < 0)
        abort();
    s->port = ntohs(at.sin_port);
}

static void silence_begin(struct fake_silence *q, int listener)
{
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    q->listener = listener;
    if (listen(listener, 0) < 0 || getsockname(listener, (struct sockaddr *)&at, &len) < 0)
        abort();
    for (int i = 0; i < FILLERS; i++) {
        q->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(q->fillers[i], (struct sockaddr *)&at, len) < 0 && errno != EINPROGRESS)
            abort();
    }
}

static void silence_end(struct fake_silence *q)
{
    for (int i = 0; i < FILLERS; i++)
        close(q->fillers[i]);
    close(q->listener);
}

struct fake_silence *fake_silence_start(int *port)
{
    struct fake_silence *q = calloc(1, sizeof *q);
    struct fake_server s = {0};
    start_listening(&s);
    silence_begin(q, s.listener);
    *port = s.port;
    return q;
}

void fake_silence_stop(struct fake_silence *q)
{
    silence_end(q);
    free(q);
}

static void drop_held(struct fake_server *s)
{
    while (s->n_held > 0)
        free(s->held[--s->n_held].record);
}

static void close_all(struct fake_server *s)
{
    for (int i = 0; i < CONNS; i++) {
        if (s->conns[i] >= 0)
            close(s->conns[i]);
        s->conns[i] = -1;
    }
    drop_held(s);
    bool away = s->faults.refuse_ms > 0 || s->faults.silent;
    if (away && s->listener >= 0) {
        if (s->faults.silent)
            silence_begin(&s->silence, s->listener);
        else
            close(s->listener);
        s->listener = -1;
        s->listen_ns = s->faults.refuse_ms > 0 ? clock_now_ns() + s->faults.refuse_ms * NS_PER_MS
                                               : INT64_MAX;
    }
}

static void end_silence(struct fake_server *s)
{
    if (s->faults.silent && s->silence.listener > 0)
        silence_end(&s->silence);
    s->silence.listener = 0;
}

static void take_connection(struct fake_server *s)
{
    struct sockaddr_in6 from; /* whose port is where that of sockaddr_in is */
    socklen_t len = sizeof from;
    int fd = accept(s->listener, (struct sockaddr *)&from, &len), on = 1;
    s->reserved = ntohs(from.sin6_port) < IPPORT_RESERVED;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    s->connections++;
    for (int i = 0; i < CONNS; i++) {
        if (s->conns[i] < 0) {
            s->conns[i] = fd;
            return;
        }
    }
    assert(0 && "too many connections");
}

/* ---- calls ---- */

/* Of AUTH_SYS: without the stamp before it. */
static void look_at_credential(struct fake_server *s, struct fake_xdr *in)
{
    uint32_t flavour = fake_get32(in), len, name_len;
    struct fake_xdr cred = {.at = fake_get_opaque(in, &len)};
    cred.end = cred.at + len;
    if (flavour == 0)
        return;
    fake_get32(&cred);
    const unsigned char *start = cred.at;
    fake_get_opaque(&cred, &name_len);
    fake_get64(&cred);
    s->n_groups = fake_get32(&cred);
    assert(s->n_groups <= FAKE_GROUPS_MAX);
    for (uint32_t i = 0; i < s->n_groups; i++)
        s->groups[i] = fake_get32(&cred);
    assert(cred.at == cred.end);
    size_t n = (size_t)(cred.at - start);
    assert(flavour == 1 && n <= CRED_MAX);
    if (s->cred_len == 0)
        memcpy(s->cred, start, s->cred_len = n);
    s->creds_differ = s->creds_differ || n != s->cred_len || memcmp(s->cred, start, n) != 0;
}

static bool fails(struct fake_server *s, uint32_t proc)
{
    const struct fake_faults *f = &s->faults;
    bool meant = f->status_proc != 0 ? proc == f->status_proc
                                     : proc == FAKE_READ || proc == FAKE_WRITE ||
                                           proc == FAKE_COMMIT || proc == FAKE_CREATE;
    if (!meant || f->status_at == 0 || s->calls < f->status_at ||
        (f->status_times > 0 && s->statuses == f->status_times))
        return false;
    s->statuses++;
    return true;
}

/* What happens before the call is done. */
static void fault_before(struct fake_server *s)
{
    if (s->calls == s->faults.crash_at)
        fake_export_crash(&s->export);
    if (s->calls == s->faults.stale_at || s->calls == s->faults.stale_all_at)
        s->export.generation++;
    if (s->calls == s->faults.stale_all_at)
        s->export.root_generation++;
}

static bool is_muted(const struct fake_server *s)
{
    return s->faults.mute_from > 0 && s->calls >= s->faults.mute_from &&
           (s->faults.mute_until == 0 || s->calls <= s->faults.mute_until);
}

/* GETPORT of version 2: program, version, protocol. */
static void map_port(struct fake_server *s, uint32_t proc, struct fake_xdr *in,
                     struct fake_xdr *out)
{
    uint32_t program = fake_get32(in), version = fake_get32(in), protocol = fake_get32(in);
    assert(proc == 3 && version == 3 && protocol == IPPROTO_TCP);
    s->mapped++;
    bool known = (program == NFS || program == MOUNT) && !s->faults.not_mapped;
    fake_put32(out, known ? (uint32_t)s->port : 0);
}

/* One call; false: the connection is to be left alone, or is gone. */
static bool serve_call(struct fake_server *s, struct fake_xdr *in, struct fake_xdr *out)
{
    uint32_t xid = fake_get32(in), len;
    fake_get64(in);
    uint32_t prog = fake_get32(in);
    fake_get32(in);
    uint32_t proc = fake_get32(in);
    look_at_credential(s, in);
    fake_get32(in);
    fake_get_opaque(in, &len);
    unsigned n = ++s->calls;
    fault_before(s);
    if (n == s->faults.close_at) {
        close_all(s);
        return false;
    }
    out->at = s->out + 4;
    s->is_data = prog == NFS && (proc == FAKE_READ || proc == FAKE_WRITE || proc == FAKE_COMMIT);
    bool denied = s->faults.denied && s->is_data;
    uint32_t refused = prog == NFS && s->faults.no_nfs    ? 1
                       : prog == NFS && s->faults.only_v4 ? 2
                                                          : 0;
    const uint32_t head[] = {xid, 1, denied, denied, denied, refused};
    for (int i = 0; i < (denied ? 5 : 6); i++)
        fake_put32(out, n == s->faults.garbage_at ? 0xdeadbeef : head[i]);
    if (denied)
        return true;
    if (refused == 2)
        fake_put64(out, (uint64_t)4 << 32 | 4);
    if (refused != 0)
        return true;
    if (prog == MAPPER)
        map_port(s, proc, in, out);
    else if (prog == MOUNT && proc == 5)
        fake_export_list(&s->faults, out);
    else if (prog == MOUNT && proc == 1)
        fake_export_mount(&s->export, in, out);
    else if (prog == NFS && fails(s, proc))
        fake_export_fail(proc, s->faults.status, out);
    else if (prog == NFS)
        fake_export_call(&s->export, proc, in, out);
    if (n == s->faults.drop_at) {
        close_all(s);
        return false;
    }
    return !is_muted(s);
}

/* ---- answers ---- */

static bool answer(struct fake_server *s, int fd, unsigned char *record, size_t len)
{
    unsigned slow = s->faults.slow_bytes_ms;
    size_t most = s->faults.fragment > 0 ? s->faults.fragment : slow > 0 ? SLOW_MS * slow : len;
    for (size_t at = 0, n; at < len; at += n) {
        n = len - at < most ? len - at : most;
        uint32_t mark = htonl((at + n == len ? 0x80000000U : 0) | (uint32_t)n);
        struct iovec parts[] = {{&mark, 4}, {record + at, n}};
        const struct msghdr piece = {.msg_iov = parts, .msg_iovlen = 2};
        if (sendmsg(fd, &piece, MSG_NOSIGNAL) != (ssize_t)n + 4)
            return false;
        if (slow > 0)
            usleep((useconds_t)(n / slow * 1000));
    }
    return true;
}

/* The beginning of the answer, and no more. */
static void answer_cut(struct fake_server *s, int fd, size_t len)
{
    uint32_t mark = htonl(0x80000000U | (uint32_t)len);
    memcpy(s->out, &mark, 4);
    size_t n = s->faults.cut_bytes < len + 4 ? s->faults.cut_bytes : len + 4;
    if (send(fd, s->out, n, MSG_NOSIGNAL) == (ssize_t)n)
        shutdown(fd, SHUT_WR); /* so that it gets there, whatever is still unread on our side */
    close_all(s);
}

static void hold(struct fake_server *s, int fd, size_t len)
{
    struct held *h = &s->held[s->n_held++];
    *h = (struct held){.fd = fd, .len = len, .record = malloc(len)};
    memcpy(h->record, s->out + 4, len);
}

static void release(struct fake_server *s)
{
    while (s->n_held > 0) {
        struct held *h = &s->held[--s->n_held];
        answer(s, h->fd, h->record, h->len);
        free(h->record);
    }
}

/* All of it, as slowly as the link is. */
static bool take(const struct fake_server *s, int fd, unsigned char *to, size_t len)
{
    size_t most = s->faults.slow_bytes_ms > 0 ? (size_t)SLOW_MS * s->faults.slow_bytes_ms : len;
    for (size_t at = 0, n; at < len; at += n) {
        n = len - at < most ? len - at : most;
        if (recv(fd, to + at, n, MSG_WAITALL) != (ssize_t)n)
            return false;
        if (s->faults.slow_bytes_ms > 0)
            usleep((useconds_t)(n / s->faults.slow_bytes_ms * 1000));
    }
    return true;
}

/* Puts wrong bytes into the answer to the call at hand, but for its xid: that would be no answer. */
static void patch(struct fake_server *s, unsigned char *record, size_t len)
{
    for (unsigned i = 0; i < s->faults.n_patches; i++) {
        const struct fake_patch *p = &s->faults.patches[i];
        if (p->call == s->calls && p->offset >= 4 && p->offset < len)
            record[p->offset] = p->value;
    }
}

/* Until the client has had enough. */
static void answer_strays(int fd, const unsigned char *record, size_t len)
{
    unsigned char strays[100][40] = {0};
    const uint32_t head[] = {htonl(0x80000000U | 36), 0, htonl(1)};
    assert(len >= 4);
    for (int i = 0; i < 100; i++) {
        memcpy(strays[i], head, sizeof head);
        memcpy(strays[i] + 4, record, 4);
        strays[i][4] ^= 0x80; /* of an xid that was not asked with */
    }
    struct pollfd p = {.fd = fd, .events = POLLOUT | POLLRDHUP};
    size_t sent = 0;
    while (poll(&p, 1, -1) > 0 && (p.revents & ~POLLOUT) == 0) {
        ssize_t more = send(fd, (unsigned char *)strays + sent, sizeof strays - sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        sent = more > 0 ? (sent + (size_t)more) % sizeof strays : sent;
    }
}

/* false: the connection is at its end. */
static bool serve(struct fake_server *s, int fd)
{
    uint32_t mark;
    if (recv(fd, &mark, 4, MSG_WAITALL) != 4)
        return false;
    size_t len = ntohl(mark) & 0x7fffffff;
    assert(len <= MESSAGE_MAX);
    if (!take(s, fd, s->in, len))
        return false;
    struct fake_xdr in = {s->in, s->in + len}, out = {0};
    if (!serve_call(s, &in, &out))
        return true;
    size_t n = (size_t)(out.at - s->out) - 4;
    patch(s, s->out + 4, n);
    if (s->faults.strays_from > 0 && s->calls >= s->faults.strays_from && s->is_data) {
        answer_strays(fd, s->out + 4, n);
        return false;
    }
    if (s->calls == s->faults.instead_at) {
        send(fd, s->faults.instead, s->faults.instead_bytes, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        return true;
    }
    if (s->calls == s->faults.cut_at) {
        answer_cut(s, fd, n);
        return true;
    }
    if (s->faults.reverse > 0 && s->is_data) {
        hold(s, fd, n);
        if (s->n_held >= s->faults.reverse || s->n_held == HELD_MAX)
            release(s);
        return true;
    }
    return answer(s, fd, s->out + 4, n) &&
           (!s->faults.twice || !s->is_data || answer(s, fd, s->out + 4, n));
}

/* ---- the thread ---- */

static int wait_ms(const struct fake_server *s)
{
    if (s->n_held > 0)
        return HELD_MS;
    if (s->listener >= 0)
        return -1;
    if (s->listen_ns == INT64_MAX)
        return -1;
    int64_t left_ns = s->listen_ns - clock_now_ns();
    return left_ns > 0 ? (int)(left_ns / NS_PER_MS) + 1 : 0;
}

static void *run(void *arg)
{
    struct fake_server *s = arg;
    for (;;) {
        struct pollfd p[CONNS + 2];
        for (int i = 0; i < CONNS; i++)
            p[i] = (struct pollfd){.fd = s->conns[i], .events = POLLIN};
        p[CONNS] = (struct pollfd){.fd = s->listener, .events = POLLIN};
        p[CONNS + 1] = (struct pollfd){.fd = s->stop[0], .events = POLLIN};
        if (poll(p, CONNS + 2, wait_ms(s)) == 0)
            release(s);
        if (p[CONNS + 1].revents != 0)
            return NULL;
        if (s->listener < 0 && clock_now_ns() >= s->listen_ns) {
            end_silence(s);
            start_listening(s);
        }
        if (p[CONNS].revents != 0)
            take_connection(s);
        for (int i = 0; i < CONNS; i++) {
            if (p[i].revents == 0 || s->conns[i] != p[i].fd || serve(s, p[i].fd))
                continue;
            close(s->conns[i]);
            s->conns[i] = -1;
        }
    }
}

struct fake_server *fake_server_start(const struct fake_faults *faults)
{
    struct fake_server *s = calloc(1, sizeof *s);
    s->faults = *faults;
    fake_export_init(&s->export, &s->faults);
    for (int i = 0; i < CONNS; i++)
        s->conns[i] = -1;
    start_listening(s);
    if (pipe(s->stop) < 0 || pthread_create(&s->thread, NULL, run, s) != 0)
        abort();
    return s;
}

void fake_server_stop(struct fake_server *s)
{
    close(s->stop[1]);
    pthread_join(s->thread, NULL);
    close(s->stop[0]);
    end_silence(s);
    s->faults.refuse_ms = 0;
    s->faults.silent = false;
    close_all(s);
    if (s->listener >= 0)
        close(s->listener);
}

void fake_server_free(struct fake_server *s)
{
    fake_export_free(&s->export);
    free(s);
}

/* ---- looking from outside ---- */

static struct fake_file *add(struct fake_server *s, const char *path, int type)
{
    char parent[FAKE_NAME_MAX + 1];
    const char *slash = strrchr(path, '/');
    int len = slash != NULL ? (int)(slash - path) : 0;
    memcpy(parent, path, (size_t)len);
    parent[len] = '\0';
    int dir = fake_export_find(&s->export, parent);
    assert(dir >= 0);
    unsigned i = fake_export_add(&s->export, (unsigned)dir, slash != NULL ? slash + 1 : path, type);
    return &s->export.files[i];
}

void fake_server_add_file(struct fake_server *s, const char *path, const void *data, uint64_t size)
{
    struct fake_file *f = add(s, path, FAKE_REGULAR);
    f->size = size;
    memcpy(f->cached, data, size);
    memcpy(f->durable, data, size);
    f->end = size;
}

void fake_server_add_directory(struct fake_server *s, const char *path)
{
    add(s, path, FAKE_DIRECTORY);
}

void fake_server_add_link(struct fake_server *s, const char *path, const char *target)
{
    strcpy(add(s, path, FAKE_LINK)->target, target);
}

int fake_server_port(const struct fake_server *s)
{
    return s->port;
}

unsigned fake_server_calls(const struct fake_server *s)
{
    return s->calls;
}

unsigned fake_server_reads(const struct fake_server *s)
{
    return s->export.reads;
}

unsigned fake_server_writes(const struct fake_server *s)
{
    return s->export.writes;
}

unsigned fake_server_connections(const struct fake_server *s)
{
    return s->connections;
}

bool fake_server_reserved(const struct fake_server *s)
{
    return s->reserved;
}

uint32_t fake_server_groups(const struct fake_server *s, uint32_t groups[FAKE_GROUPS_MAX])
{
    memcpy(groups, s->groups, sizeof s->groups);
    return s->n_groups;
}

bool fake_server_one_credential(const struct fake_server *s)
{
    return s->cred_len > 0 && !s->creds_differ;
}

unsigned fake_server_mapped(const struct fake_server *s)
{
    return s->mapped;
}

const struct fake_file *fake_server_file(const struct fake_server *s, const char *path)
{
    int i = fake_export_find(&s->export, path);
    return i >= 0 ? &s->export.files[i] : NULL;
}

uint32_t fake_server_handle(struct fake_server *s, const char *path, char *handle)
{
    struct fake_xdr out = {.at = s->out};
    fake_export_put_handle(&s->export, &out, (unsigned)fake_export_find(&s->export, path));
    uint32_t len = (uint32_t)(out.at - s->out) - 4;
    memcpy(handle, s->out + 4, len);
    return len;
}

unsigned fake_server_files(const struct fake_server *s)
{
    unsigned n = 0;
    for (int i = 1; i < FAKE_FILES; i++)
        n += s->export.files[i].type != FAKE_FREE;
    return n;
}
