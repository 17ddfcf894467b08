/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libnfs reads its socket by itself, and so would have decoded an answer before anybody else could look
 * at it; and a look by MSG_PEEK sees no more than the socket's buffer holds, which need not be all. So
 * libnfs gets one end of a socket pair in the place of its socket, under the same number, and we carry
 * between the other end and the server:
 *
 *   out  as it comes. On the way the marks and the heads of the calls are read, which gives for each
 *        xid the procedure whose answer is awaited.
 *   in   a record at a time, put together of its fragments. One that nobody awaits is dropped; one
 *        without the shape of its procedure's answer ends the connection; the others go on as one
 *        fragment.
 *
 * Records grow as bytes come, never by what a mark promises.
 */
#include "nfs/share_guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "nfs/codec.h"

enum {
    GUARD_OUT_BYTES = 64 << 10,
    GUARD_CALL_BYTES = 24,          /* xid, CALL, RPC version, program, version, procedure */
    GUARD_RECORD_BYTES = 256 << 10, /* the longest answer, */
    GUARD_READ_BYTES = 2 << 20,     /* and where a READ is among those that are awaited */
    GUARD_READ = 6,
    GUARD_BEGINNING = 24,
};

struct guard_call {
    uint32_t xid, program, proc;
};

struct share_guard {
    int server, libnfs; /* the ends that are ours */

    uint8_t out[GUARD_OUT_BYTES];
    size_t out_len, out_sent;
    struct codec_fragment asked;
    uint8_t head[GUARD_CALL_BYTES];
    size_t head_len;

    struct guard_call *calls; /* that are awaited */
    size_t n_calls, room_calls;

    struct codec_fragment answer;
    uint8_t *in;
    size_t in_len, in_room, in_given;
    bool whole; /* it is a record to be given to libnfs; with its mark, so much of it is given */
    unsigned strays;
    enum shape_outcome outcome;
    char why[192];
};

struct share_guard *share_guard_new(int fd)
{
    int pair[2];
    struct share_guard *g = calloc(1, sizeof *g);
    CLEANUP_CLOSE int server = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (g == NULL || server < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) {
        free(g);
        return NULL;
    }
    int rc = dup3(pair[1], fd, O_CLOEXEC);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        free(g);
        return NULL;
    }
    g->server = TAKE_FD(server);
    g->libnfs = pair[0];
    return g;
}

void share_guard_free(struct share_guard *g)
{
    if (g == NULL)
        return;
    close(g->server);
    close(g->libnfs);
    free(g->calls);
    free(g->in);
    free(g);
}

int share_guard_fd(const struct share_guard *g)
{
    return g->server;
}

short share_guard_events(const struct share_guard *g)
{
    return (short)(POLLIN | (g->out_sent < g->out_len ? POLLOUT : 0));
}

const char *share_guard_why(const struct share_guard *g)
{
    return g->why[0] != '\0' ? g->why : NULL;
}

enum shape_outcome share_guard_outcome(const struct share_guard *g)
{
    return g->outcome;
}

/* Bytes; 0: none now; -1: the end. */
static ssize_t guard_moved(ssize_t n)
{
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    return n > 0 ? n : -1;
}

/* ---- out ---- */

static int guard_await(struct share_guard *g)
{
    uint32_t head[GUARD_CALL_BYTES / 4];
    memcpy(head, g->head, sizeof head);
    if (g->n_calls == g->room_calls) {
        size_t room = g->room_calls == 0 ? 16 : 2 * g->room_calls;
        struct guard_call *more = realloc(g->calls, room * sizeof *more);
        if (more == NULL)
            return -1;
        g->calls = more;
        g->room_calls = room;
    }
    g->calls[g->n_calls++] = (struct guard_call){
        .xid = ntohl(head[0]), .program = ntohl(head[3]), .proc = ntohl(head[5])};
    return 0;
}

/* Reads the calls in what is new in `out`. */
static int guard_note(struct share_guard *g)
{
    for (size_t at = 0; at < g->out_len;) {
        struct codec_fragment *f = &g->asked;
        if (f->left_bytes == 0) {
            ptrdiff_t n = codec_mark(f, g->out + at, g->out_len - at);
            if (n < 0)
                return -1;
            at += (size_t)n;
            g->head_len = 0;
            continue;
        }
        size_t n = g->out_len - at < f->left_bytes ? g->out_len - at : f->left_bytes;
        size_t of_head = GUARD_CALL_BYTES - g->head_len < n ? GUARD_CALL_BYTES - g->head_len : n;
        memcpy(g->head + g->head_len, g->out + at, of_head);
        g->head_len += of_head;
        if (of_head > 0 && g->head_len == GUARD_CALL_BYTES && guard_await(g) < 0)
            return -1;
        f->left_bytes -= (uint32_t)n;
        at += n;
    }
    return 0;
}

static int guard_ask(struct share_guard *g)
{
    bool moved = false;
    if (g->out_sent == g->out_len) {
        ssize_t n = guard_moved(recv(g->libnfs, g->out, sizeof g->out, MSG_DONTWAIT));
        if (n <= 0)
            return (int)n;
        g->out_len = (size_t)n;
        g->out_sent = 0;
        moved = true;
        if (guard_note(g) < 0)
            return -1;
    }
    ssize_t n = guard_moved(send(g->server, g->out + g->out_sent, g->out_len - g->out_sent,
                                 MSG_DONTWAIT | MSG_NOSIGNAL));
    if (n < 0)
        return -1;
    g->out_sent += (size_t)n;
    return moved || n > 0;
}

/* ---- in ---- */

/* What came is no answer: -1. */
static int guard_refuse(struct share_guard *g, const void *bytes, size_t len, const char *what)
{
    char shown[SHAPE_SHOWN];
    shape_show(shown, bytes, len);
    snprintf(g->why, sizeof g->why, "a message that %s (it begins %s)", what, shown);
    return -1;
}

static struct guard_call *guard_find(struct share_guard *g, uint32_t xid)
{
    for (size_t i = 0; i < g->n_calls; i++)
        if (g->calls[i].xid == xid)
            return &g->calls[i];
    return NULL;
}

static size_t guard_longest(const struct share_guard *g)
{
    for (size_t i = 0; i < g->n_calls; i++)
        if (g->calls[i].program == SHAPE_NFS && g->calls[i].proc == GUARD_READ)
            return GUARD_READ_BYTES;
    return GUARD_RECORD_BYTES;
}

/* A mark is complete, or it is not yet. */
static int guard_mark(struct share_guard *g, const uint8_t *bytes, size_t len)
{
    struct codec_fragment *f = &g->answer;
    uint8_t beginning[GUARD_BEGINNING];
    char what[64];
    if (codec_mark(f, bytes, len) >= 0 && g->in_len + f->left_bytes <= guard_longest(g))
        return 0;
    memcpy(beginning, f->mark, sizeof f->mark);
    ssize_t more = recv(g->server, beginning + sizeof f->mark, sizeof beginning - sizeof f->mark,
                        MSG_DONTWAIT | MSG_PEEK);
    snprintf(what, sizeof what, "would be %zu bytes long", g->in_len + f->left_bytes);
    return guard_refuse(g, beginning, sizeof f->mark + (more > 0 ? (size_t)more : 0), what);
}

/* Room for what is left of the fragment, or a part of it. */
static size_t guard_room(struct share_guard *g)
{
    if (g->in_len == g->in_room) {
        size_t room = g->in_room == 0 ? 4096 : 2 * g->in_room;
        uint8_t *more = realloc(g->in, room);
        if (more == NULL)
            return 0;
        g->in = more;
        g->in_room = room;
    }
    size_t room = g->in_room - g->in_len;
    return room < g->answer.left_bytes ? room : g->answer.left_bytes;
}

/* The record is complete: is it for libnfs? */
static int guard_judge(struct share_guard *g)
{
    uint32_t xid;
    const char *why;
    if (g->in_len < SHAPE_HEAD_BYTES)
        return guard_refuse(g, g->in, g->in_len, "ends too early");
    if (codec_reply_xid(g->in, &xid) < 0)
        return guard_refuse(g, g->in, g->in_len, "is no reply");
    struct guard_call *call = guard_find(g, xid);
    if (call == NULL && ++g->strays > SHAPE_STRAYS_MAX)
        return guard_refuse(g, g->in, g->in_len,
                            "answers nothing that was asked, as many before it");
    if (call == NULL) {
        log_debug("nfs: an answer to no request of ours, xid %#x", xid);
        g->in_len = 0;
        return 0;
    }
    g->outcome = shape_check(call->program, call->proc, g->in, g->in_len, &why);
    if (g->outcome == SHAPE_NONSENSE)
        return guard_refuse(g, g->in, g->in_len, why);
    *call = g->calls[--g->n_calls];
    g->strays = 0;
    g->whole = true;
    g->in_given = 0;
    return 0;
}

/* As much as there is, up to the end of a record: 1; 0: not yet; -1. */
static int guard_read(struct share_guard *g)
{
    struct codec_fragment *f = &g->answer;
    for (ssize_t n; !g->whole;) {
        bool mark = f->left_bytes == 0;
        uint8_t bytes[sizeof f->mark];
        size_t room = mark ? sizeof f->mark - f->mark_len : guard_room(g);
        if (room == 0)
            return -1;
        n = guard_moved(recv(g->server, mark ? bytes : g->in + g->in_len, room, MSG_DONTWAIT));
        if (n <= 0)
            return (int)n;
        if (mark) {
            if (guard_mark(g, bytes, (size_t)n) < 0)
                return -1;
            continue;
        }
        g->in_len += (size_t)n;
        f->left_bytes -= (uint32_t)n;
        if (f->left_bytes == 0 && f->last && guard_judge(g) < 0)
            return -1;
    }
    return 1;
}

/* 1: some of it; 0: libnfs has no room; -1. */
static int guard_give(struct share_guard *g)
{
    uint32_t mark = htonl(UINT32_C(0x80000000) | (uint32_t)g->in_len);
    size_t of_mark = g->in_given < sizeof mark ? sizeof mark - g->in_given : 0;
    size_t at = g->in_given < sizeof mark ? 0 : g->in_given - sizeof mark;
    struct iovec parts[] = {{(uint8_t *)&mark + sizeof mark - of_mark, of_mark},
                            {g->in + at, g->in_len - at}};
    const struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = guard_moved(sendmsg(g->libnfs, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (n <= 0)
        return (int)n;
    g->in_given += (size_t)n;
    if (g->in_given == sizeof mark + g->in_len) {
        g->whole = false;
        g->in_len = 0;
    }
    return 1;
}

int share_guard_pass(struct share_guard *g)
{
    int asked = guard_ask(g);
    int read = g->whole ? 1 : guard_read(g);
    int given = read > 0 ? guard_give(g) : read;
    if (given > 0) /* what it has sent counts, also where it takes nothing any more */
        return 1;
    return given < 0 || asked < 0 ? -1 : asked > 0;
}
