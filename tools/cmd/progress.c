/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/progress.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/units.h"

#define PROGRESS_LINE_NS (250 * NS_PER_MS)

int progress_init(struct progress *p, const char *fd_text, bool verbose, struct err *e)
{
    uint64_t fd;
    *p = (struct progress){.fd = -1, .terminal = !verbose && isatty(STDERR_FILENO)};
    if (fd_text == NULL)
        return 0;
    if (units_parse_count(fd_text, 0, 1 << 20, &fd, e) < 0)
        return err_wrap(e, "--progress");
    if (fcntl((int)fd, F_GETFD) < 0)
        return err_set(e, ERR_USAGE, 0, "--progress: descriptor %s is not open", fd_text);
    p->fd = (int)fd;
    signal(SIGPIPE, SIG_IGN);
    return 0;
}

void progress_line(struct progress *p, const char *line)
{
    int64_t now_ns = clock_now_ns();
    if (!p->terminal || now_ns < p->next_ns)
        return;
    p->next_ns = now_ns + PROGRESS_LINE_NS;
    fprintf(stderr, "\r%.120s\033[K", line);
}

void progress_clear(struct progress *p)
{
    if (p->next_ns != 0)
        fputs("\r\033[K", stderr);
    p->next_ns = 0;
}
