/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * TCP knows what has got through: TCP_INFO counts the bytes that the peer has acknowledged and those
 * that it has sent (Linux 4.1). What the kernel has taken into its buffer has not got anywhere. The
 * structure is that of linux/tcp.h: netinet/tcp.h, which cannot be included beside it, lacks both.
 *
 * Overtaking. A connection is a queue, so a request was at the server before a later one; but answers
 * may come in another order, by as much as the server has under way at a time, and on a slow link even
 * that is a long time. Only one that a request from a whole timeout later has overtaken, and that is not
 * answered in another one, was forgotten.
 */
#include "nfs/share_progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#include "core/clock.h"
#include "nfs/share_wait.h"

/* false: no TCP, or an old kernel. */
static bool progress_bytes(int fd, uint64_t *bytes)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return false;
    *bytes = info.tcpi_bytes_acked + info.tcpi_bytes_received;
    return true;
}

static void progress_look(struct share_progress *p, int fd, int64_t now_ns)
{
    uint64_t bytes;
    if (!progress_bytes(fd, &bytes) || bytes == p->moved_bytes)
        return;
    p->moved_bytes = bytes;
    p->moved_ns = now_ns;
}

void share_progress_start(struct share_progress *p, struct store_io *io, bool idle, int fd)
{
    io->started_ns = clock_now_ns();
    io->overtaken_ns = 0;
    if (!idle)
        return;
    progress_look(p, fd, io->started_ns);
    p->moved_ns = io->started_ns;
}

void share_progress_answered(struct share_progress *p, const struct store_io *io)
{
    if (p->answered_ns < io->started_ns)
        p->answered_ns = io->started_ns;
}

bool share_progress_silent(struct share_progress *p, int fd, int64_t now_ns)
{
    progress_look(p, fd, now_ns);
    int64_t silent_ns = now_ns - p->moved_ns;
    if (silent_ns >= SHARE_WAIT_WORD_NS && p->who != NULL)
        share_wait_say(p->who, p->what, silent_ns);
    return silent_ns > p->timeout_ns;
}

bool share_progress_overtaken(const struct share_progress *p, struct store_io *io, int64_t now_ns)
{
    if (io->overtaken_ns == 0 && p->answered_ns - io->started_ns > p->timeout_ns)
        io->overtaken_ns = now_ns;
    return io->overtaken_ns != 0 && now_ns - io->overtaken_ns > p->timeout_ns;
}
