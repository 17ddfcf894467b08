/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <endian.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS = 16, MESSAGE_MAX = 1200000, FILE_MAX = 4 << 20, CRED_MAX = 64 };
enum { MOUNT = 100005, NFS = 100003 };
enum { OK = 0, NOENT = 2, PERM = 1, ACCES = 13, EXISTS = 17, PROC_UNAVAIL = 3 };

struct message {
    unsigned char *at, *end;
};

struct fake_server {
    struct fake_faults faults;
    int listener, port;
    int stop[2]; /* a pipe: closing it ends the thread */
    int conns[CONNS];
    pthread_t thread;
    unsigned calls, writes;
    bool is_data; /* the call at hand: WRITE or COMMIT */
    uint64_t verifier;
    struct fake_file files[FAKE_FILES];
    unsigned char cred[CRED_MAX]; /* of the first call that had one */
    size_t cred_len;
    bool creds_differ;
    unsigned char in[MESSAGE_MAX], out[4096];
};

/* ---- XDR ---- */

static uint32_t get32(struct message *m)
{
    uint32_t v;
    assert(m->end - m->at >= 4);
    memcpy(&v, m->at, 4);
    m->at += 4;
    return ntohl(v);
}

static uint64_t get64(struct message *m)
{
    uint64_t high = get32(m);
    return high << 32 | get32(m);
}

static unsigned char *get_opaque(struct message *m, uint32_t *len)
{
    *len = get32(m);
    unsigned char *p = m->at;
    m->at += (*len + 3) & ~3U;
    assert(m->at <= m->end);
    return p;
}

static void get_name(struct message *m, char name[FAKE_NAME_MAX + 1])
{
    uint32_t len;
    const unsigned char *p = get_opaque(m, &len);
    assert(len <= FAKE_NAME_MAX);
    memcpy(name, p, len);
    name[len] = '\0';
}

/* A handle is the index of a file, or FAKE_FILES for the directory. */
static uint32_t get_handle(struct message *m)
{
    uint32_t len, v;
    memcpy(&v, get_opaque(m, &len), 4);
    assert(len == 4);
    return v;
}

static void put32(struct message *m, uint32_t v)
{
    v = htonl(v);
    memcpy(m->at, &v, 4);
    m->at += 4;
}

static void put64(struct message *m, uint64_t v)
{
    put32(m, (uint32_t)(v >> 32));
    put32(m, (uint32_t)v);
}

static void put_handle(struct message *m, uint32_t v)
{
    put32(m, 4);
    memcpy(m->at, &v, 4);
    m->at += 4;
}

/* Status and wcc_data, `wccs` times without attributes. */
static void put_status(struct message *m, uint32_t status, int wccs)
{
    put32(m, status);
    for (int i = 0; i < 2 * wccs; i++)
        put32(m, 0);
}

/* ---- files ---- */

static int find(const struct fake_server *s, const char *name, size_t len)
{
    for (int i = 0; i < FAKE_FILES; i++)
        if (strncmp(s->files[i].name, name, len) == 0)
            return i;
    return -1;
}

static void forget(struct fake_server *s)
{
    s->verifier++;
    for (int i = 0; i < FAKE_FILES; i++)
        if (s->files[i].cached != NULL)
            memcpy(s->files[i].cached, s->files[i].durable, FILE_MAX);
}

static void remove_file(struct fake_file *f)
{
    free(f->cached);
    free(f->durable);
    *f = (struct fake_file){0};
}

/* ---- procedures ---- */

static void do_mount(struct message *in, struct message *out)
{
    char path[FAKE_NAME_MAX + 1];
    get_name(in, path);
    if (strcmp(path, "/export") != 0) {
        put32(out, ACCES);
        return;
    }
    put32(out, OK);
    put_handle(out, FAKE_FILES);
    put32(out, 1);
    put32(out, 1); /* AUTH_SYS */
}

static void do_fsinfo(struct fake_server *s, struct message *out)
{
    uint32_t most = s->faults.write_max != 0 ? s->faults.write_max : 1 << 20;
    put32(out, OK);
    put32(out, 0);
    for (int i = 0; i < 3; i++)
        put32(out, 1 << 20);
    for (int i = 0; i < 3; i++)
        put32(out, most);
    put32(out, 4096);
    put64(out, UINT64_MAX >> 1);
    put64(out, 1);
    put32(out, 0x1b);
}

static void do_getattr(struct fake_server *s, struct message *in, struct message *out)
{
    uint32_t i = get_handle(in);
    const struct fake_file *f = i < FAKE_FILES ? &s->files[i] : NULL;
    put32(out, OK);
    put32(out, f != NULL ? 1 : 2);
    put32(out, f != NULL ? f->mode : 0755);
    for (int k = 0; k < 3; k++)
        put32(out, 1); /* links, uid, gid */
    put64(out, f != NULL ? f->size : 0);
    put64(out, 0);
    put64(out, 0); /* rdev */
    put64(out, 1); /* fsid */
    put64(out, i + 100);
    for (int k = 0; k < 6; k++)
        put32(out, 0);
}

static void do_lookup(struct fake_server *s, struct message *in, struct message *out)
{
    char name[FAKE_NAME_MAX + 1];
    get_handle(in);
    get_name(in, name);
    int i = find(s, name, sizeof name);
    put32(out, i < 0 ? NOENT : OK);
    if (i >= 0) {
        put_handle(out, (uint32_t)i);
        put32(out, 0);
    }
    put32(out, 0);
}

static void do_create(struct fake_server *s, struct message *in, struct message *out)
{
    char name[FAKE_NAME_MAX + 1];
    get_handle(in);
    get_name(in, name);
    int i = find(s, "", 1);
    assert(i >= 0);
    if (find(s, name, sizeof name) >= 0) {
        put_status(out, EXISTS, 1);
        return;
    }
    s->files[i].cached = calloc(1, FILE_MAX);
    s->files[i].durable = calloc(1, FILE_MAX);
    strcpy(s->files[i].name, name);
    put32(out, OK);
    put32(out, 1);
    put_handle(out, (uint32_t)i);
    for (int k = 0; k < 3; k++)
        put32(out, 0);
}

static void do_setattr(struct fake_server *s, struct message *in, struct message *out)
{
    struct fake_file *f = &s->files[get_handle(in)];
    if (get32(in) != 0)
        f->mode = get32(in);
    bool owner = false;
    for (int i = 0; i < 2; i++) {
        if (get32(in) != 0) {
            get32(in);
            owner = true;
        }
    }
    if (get32(in) != 0)
        f->size = get64(in);
    put_status(out, owner && s->faults.eperm_chown ? PERM : OK, 1);
}

static void do_write(struct fake_server *s, struct message *in, struct message *out)
{
    struct fake_file *f = &s->files[get_handle(in)];
    uint64_t offset = get64(in);
    uint32_t count = get32(in), stable = get32(in), len;
    const unsigned char *data = get_opaque(in, &len);
    assert(len == count && offset + len <= f->size);
    if (s->faults.short_write > 0 && len > s->faults.short_write)
        len = s->faults.short_write;
    memcpy(f->cached + offset, data, len);
    if (stable > 0)
        memcpy(f->durable + offset, data, len);
    s->writes++;
    put_status(out, OK, 1);
    put32(out, len);
    put32(out, stable > 0 ? 2 : 0);
    put64(out, s->verifier);
}

static void do_commit(struct fake_server *s, struct message *in, struct message *out)
{
    struct fake_file *f = &s->files[get_handle(in)];
    uint64_t offset = get64(in);
    uint32_t count = get32(in);
    memcpy(f->durable + offset, f->cached + offset, count);
    put_status(out, OK, 1);
    put64(out, s->verifier);
}

static void do_rename(struct fake_server *s, struct message *in, struct message *out)
{
    char from[FAKE_NAME_MAX + 1], to[FAKE_NAME_MAX + 1];
    get_handle(in);
    get_name(in, from);
    get_handle(in);
    get_name(in, to);
    int i = find(s, from, sizeof from), old = find(s, to, sizeof to);
    if (i >= 0 && old >= 0)
        remove_file(&s->files[old]);
    if (i >= 0)
        strcpy(s->files[i].name, to);
    put_status(out, i < 0 ? NOENT : OK, 2);
}

static void do_remove(struct fake_server *s, struct message *in, struct message *out)
{
    char name[FAKE_NAME_MAX + 1];
    get_handle(in);
    get_name(in, name);
    int i = find(s, name, sizeof name);
    if (i >= 0)
        remove_file(&s->files[i]);
    put_status(out, i < 0 ? NOENT : OK, 1);
}

static void do_nfs(struct fake_server *s, uint32_t proc, struct message *in, struct message *out)
{
    bool fails = s->faults.status_at > 0 && s->calls >= s->faults.status_at;
    if (fails && (proc == 7 || proc == 8 || proc == 21)) {
        put_status(out, s->faults.status, 1);
        return;
    }
    switch (proc) {
    case 1: do_getattr(s, in, out); break;
    case 2: do_setattr(s, in, out); break;
    case 3: do_lookup(s, in, out); break;
    case 7: do_write(s, in, out); break;
    case 8: do_create(s, in, out); break;
    case 12: do_remove(s, in, out); break;
    case 14: do_rename(s, in, out); break;
    case 19: do_fsinfo(s, out); break;
    case 21: do_commit(s, in, out); break;
    default: assert(proc == 0);
    }
}

/* ---- RPC ---- */

static void close_all(struct fake_server *s)
{
    for (int i = 0; i < CONNS; i++) {
        if (s->conns[i] >= 0)
            close(s->conns[i]);
        s->conns[i] = -1;
    }
}

/* Of AUTH_SYS: without the stamp before and the list of groups behind. */
static void look_at_credential(struct fake_server *s, struct message *in)
{
    uint32_t flavour = get32(in), len, name_len;
    struct message cred = {.at = get_opaque(in, &len)};
    cred.end = cred.at + len;
    if (flavour == 0)
        return;
    get32(&cred);
    const unsigned char *start = cred.at;
    get_opaque(&cred, &name_len);
    get64(&cred);
    size_t n = (size_t)(cred.at - start);
    assert(flavour == 1 && n <= CRED_MAX);
    if (s->cred_len == 0)
        memcpy(s->cred, start, s->cred_len = n);
    s->creds_differ = s->creds_differ || n != s->cred_len || memcmp(s->cred, start, n) != 0;
}

/* One call; false: the connection is to be left alone, or is gone. */
static bool serve_call(struct fake_server *s, struct message *in, struct message *out)
{
    uint32_t xid = get32(in), len;
    get32(in);
    get32(in);
    uint32_t prog = get32(in);
    get32(in);
    uint32_t proc = get32(in);
    look_at_credential(s, in);
    get32(in);
    get_opaque(in, &len);
    unsigned n = ++s->calls;
    if (n == s->faults.crash_at)
        forget(s);
    if (n == s->faults.close_at) {
        close_all(s);
        return false;
    }
    out->at = s->out + 4;
    s->is_data = prog == NFS && (proc == 7 || proc == 21);
    bool denied = s->faults.denied && s->is_data;
    const uint32_t head[] = {xid, 1, denied, denied, denied, 0};
    for (int i = 0; i < (denied ? 5 : 6); i++)
        put32(out, n == s->faults.garbage_at ? 0xdeadbeef : head[i]);
    if (denied)
        return true;
    if (prog == MOUNT && proc == 1)
        do_mount(in, out);
    else if (prog == NFS)
        do_nfs(s, proc, in, out);
    if (n == s->faults.drop_at) {
        close_all(s);
        return false;
    }
    return s->faults.mute_from == 0 || n < s->faults.mute_from;
}

/* Sends the record of `len` bytes that lies behind the room for its mark. */
static bool answer(struct fake_server *s, int fd, size_t len)
{
    size_t most = s->faults.fragment > 0 ? s->faults.fragment : len;
    for (size_t at = 0, n; at < len; at += n) {
        unsigned char piece[sizeof s->out];
        n = len - at < most ? len - at : most;
        uint32_t mark = htonl((at + n == len ? 0x80000000U : 0) | (uint32_t)n);
        memcpy(piece, &mark, 4);
        memcpy(piece + 4, s->out + 4 + at, n);
        if (send(fd, piece, n + 4, MSG_NOSIGNAL) != (ssize_t)n + 4)
            return false;
    }
    return true;
}

static bool serve(struct fake_server *s, int fd)
{
    uint32_t mark;
    if (recv(fd, &mark, 4, MSG_WAITALL) != 4)
        return false;
    size_t len = ntohl(mark) & 0x7fffffff;
    assert(len <= MESSAGE_MAX);
    if (recv(fd, s->in, len, MSG_WAITALL) != (ssize_t)len)
        return false;
    struct message in = {s->in, s->in + len}, out = {0};
    if (!serve_call(s, &in, &out))
        return true;
    size_t n = (size_t)(out.at - s->out) - 4;
    return answer(s, fd, n) && (!s->faults.twice || !s->is_data || answer(s, fd, n));
}

static void take_connection(struct fake_server *s)
{
    int fd = accept(s->listener, NULL, NULL);
    for (int i = 0; i < CONNS; i++) {
        if (s->conns[i] < 0) {
            s->conns[i] = fd;
            return;
        }
    }
    assert(0 && "too many connections");
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
        poll(p, CONNS + 2, -1);
        if (p[CONNS + 1].revents != 0)
            return NULL;
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
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    s->faults = *faults;
    s->verifier = 1;
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    for (int i = 0; i < CONNS; i++)
        s->conns[i] = -1;
    if (bind(s->listener, (struct sockaddr *)&at, len) < 0 || listen(s->listener, CONNS) < 0 ||
        getsockname(s->listener, (struct sockaddr *)&at, &len) < 0 || pipe(s->stop) < 0 ||
        pthread_create(&s->thread, NULL, run, s) != 0)
        abort();
    s->port = ntohs(at.sin_port);
    return s;
}

void fake_server_stop(struct fake_server *s)
{
    close(s->stop[1]);
    pthread_join(s->thread, NULL);
    close(s->stop[0]);
    close(s->listener);
    close_all(s);
}

void fake_server_free(struct fake_server *s)
{
    for (int i = 0; i < FAKE_FILES; i++)
        remove_file(&s->files[i]);
    free(s);
}

int fake_server_port(const struct fake_server *s)
{
    return s->port;
}

unsigned fake_server_calls(const struct fake_server *s)
{
    return s->calls;
}

unsigned fake_server_writes(const struct fake_server *s)
{
    return s->writes;
}

bool fake_server_one_credential(const struct fake_server *s)
{
    return s->cred_len > 0 && !s->creds_differ;
}

const struct fake_file *fake_server_file(const struct fake_server *s, const char *name,
                                         bool prefix)
{
    int i = find(s, name, prefix ? strlen(name) : FAKE_NAME_MAX + 1);
    return i >= 0 ? &s->files[i] : NULL;
}
