/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_port.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/guest/heartbeat.h"
#include "core/clock.h"

char guest_folder[] = "/tmp/godwit-observer-XXXXXX";

static int64_t beat_began_ns, beat_ended_ns;
int64_t guest_gap_low_ns, guest_gap_high_ns;

void guest_sleep_ns(int64_t ns)
{
    struct timespec ts = {ns / NS_PER_S, ns % NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
        ;
}

void guest_port_name(struct guest_port *p, const char *name)
{
    *p = (struct guest_port){.listen_fd = -1, .fd = -1};
    snprintf(p->spec, sizeof p->spec, "serial:%s/%s", guest_folder, name);
    p->path = p->spec + strlen("serial:");
}

void guest_port_listen(struct guest_port *p, const char *name)
{
    guest_port_name(p, name);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    assert_true(strlen(p->path) < sizeof at.sun_path);
    memcpy(at.sun_path, p->path, strlen(p->path) + 1);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listen_fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(p->listen_fd, 1), 0);
}

void guest_port_accept(struct guest_port *p)
{
    p->fd = accept(p->listen_fd, NULL, NULL);
    assert_true(p->fd >= 0);
}

void guest_port_write_file(struct guest_port *p, const char *name)
{
    guest_port_name(p, name);
    p->fd = open(p->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(p->fd >= 0);
}

void guest_port_close(struct guest_port *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->listen_fd >= 0)
        close(p->listen_fd);
    unlink(p->path);
}

void guest_port_say(struct guest_port *p, const char *text)
{
    assert_int_equal(write(p->fd, text, strlen(text)), strlen(text));
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void guest_gaps_from_here(void)
{
    guest_gap_low_ns = guest_gap_high_ns = 0;
}

void guest_port_beat(struct guest_port *p, uint32_t seq)
{
    char line[HEARTBEAT_LINE_MAX];
    uint32_t n = heartbeat_format(line, seq, seq, NULL);
    int64_t began_ns = clock_now_ns();
    assert_int_equal(write(p->fd, line, n), n);
    int64_t ended_ns = clock_now_ns();
    guest_gap_low_ns = larger(guest_gap_low_ns, began_ns - beat_ended_ns);
    guest_gap_high_ns = larger(guest_gap_high_ns, ended_ns - beat_began_ns);
    beat_began_ns = began_ns;
    beat_ended_ns = ended_ns;
}

uint32_t guest_port_beats(struct guest_port *p, uint32_t seq, int n)
{
    for (int i = 0; i < n; i++) {
        guest_port_beat(p, seq++);
        guest_sleep_ns(NS_PER_MS);
    }
    return seq;
}

struct observer *guest_observe(const struct guest_port *p)
{
    struct err e = {0};
    const char *specs[] = {p->spec};
    struct observer *o = observer_open(specs, 1, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    return o;
}

struct observer *guest_observe_two(const struct guest_port *a, const struct guest_port *b)
{
    struct err e = {0};
    const char *specs[] = {a->spec, b->spec};
    struct observer *o = observer_open(specs, 2, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    return o;
}

struct observer_result guest_observe_end(struct observer *o)
{
    struct observer_result r[2];
    assert_int_equal(observer_stop(o, r, 2), 1);
    return r[0];
}

void assert_ms_within(int64_t ns, int64_t low_ms, int64_t high_ms)
{
    if (ns < low_ms * NS_PER_MS || ns > high_ms * NS_PER_MS)
        fail_msg("%.3f ms is not within %d … %d ms", (double)ns / NS_PER_MS, (int)low_ms,
                 (int)high_ms);
}

int guest_folder_make(void **state)
{
    (void)state;
    return mkdtemp(guest_folder) == NULL ? -1 : 0;
}

int guest_folder_remove(void **state)
{
    (void)state;
    return rmdir(guest_folder);
}

const char *guest_no_ping(int family, int protocol)
{
    int fd = socket(family, SOCK_DGRAM, protocol);
    if (fd < 0)
        fd = socket(family, SOCK_RAW, protocol);
    if (fd < 0)
        return strerror(errno);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int rc = family == AF_INET6 ? connect(fd, (const struct sockaddr *)&six, sizeof six) : 0;
    const char *why = rc < 0 ? strerror(errno) : NULL;
    close(fd);
    return why;
}
