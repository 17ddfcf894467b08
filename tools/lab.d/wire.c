/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: a long cable between a host of the lab and its switch, on a kernel without netem.
 *
 * Theory of operation
 *
 * The cable is two taps, one in each of the two network namespaces, and a process that carries frames
 * between them, a thread a direction (wire_way.c). The taps have the names that the two ends of a direct
 * cable (a veth) have, so that a limit of its rate (tc) or its pulling (the switch's port) is the same for both.
 *
 * They are not persistent: with the process the taps go, and the link is cut, which everybody sees. So
 * nobody needs to know the process, or to kill it, to take the cable away: a tap that is removed ends it. It
 * is born in the PID namespace of the host, and so ends with the host whatever happens; since an open tap
 * holds its network namespace, it watches the switch by a pidfd, and ends with that, too.
 *
 * A packet is lost, not a frame of 45 packets: where there is loss the taps take no TSO, so that the kernel
 * cuts what TCP hands down before it comes here. Without loss frames of 64 KiB go through whole, with their
 * virtio_net_hdr unread: a Gbit/s is then 2,000 reads a second, and not 80,000. The checksum is left out
 * in both, as on a veth: it is whole on arrival or the packet never came.
 *
 * Both threads are SCHED_RR: on a loaded machine a link must not become slower than what was asked for. Who may
 * not have that goes on without.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/units.h"
#include "tools/lab.d/wire_way.h"

enum { WIRE_PRIORITY = 1 };

struct wire_end {
    const char *device;
    int pid_fd, tap;
};

struct wire {
    struct wire_terms terms;
    const char *log;
    struct wire_end host, sw;
};

static int wire_loss(const char *text, double *loss, struct err *e)
{
    char *end;
    double percent = strtod(text, &end);
    if (end == text || *end != '\0' || !(percent >= 0 && percent <= 100))
        return err_set(e, ERR_USAGE, 0, "--loss: '%s' is no number from 0 to 100", text);
    *loss = percent / 100;
    return 0;
}

static int wire_end_find(struct wire_end *end, const char *pid, const char *device, struct err *e)
{
    uint64_t n;
    end->device = device;
    if (units_parse_count(pid, 1, INT32_MAX, &n, e) < 0)
        return -1;
    if (strlen(device) >= IFNAMSIZ)
        return err_set(e, ERR_USAGE, 0, "%s: too long for a device's name", device);
    end->pid_fd = (int)syscall(SYS_pidfd_open, (pid_t)n, 0);
    return end->pid_fd >= 0 ? 0 : err_set(e, ERR_IO, errno, "no process %s", pid);
}

static int wire_parse(struct wire *w, int argc, char **argv, struct err *e)
{
    static const struct option options[] = {{"delay", required_argument, NULL, 'd'},
                                            {"jitter", required_argument, NULL, 'j'},
                                            {"loss", required_argument, NULL, 'l'},
                                            {"log", required_argument, NULL, 'o'},
                                            {0}};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int rc = c == 'd'   ? units_parse_duration(optarg, &w->terms.delay_ns, e)
                 : c == 'j' ? units_parse_duration(optarg, &w->terms.jitter_ns, e)
                 : c == 'l' ? wire_loss(optarg, &w->terms.loss, e)
                            : 0;
        if (c == 'o')
            w->log = optarg;
        if (rc < 0 || c == '?')
            return -1;
    }
    if (argc - optind != 4 || w->log == NULL)
        return err_set(
            e, ERR_USAGE, 0,
            "usage: wire [--delay TIME] [--jitter TIME] [--loss PERCENT] --log FILE HOST-PID "
            "DEVICE SWITCH-PID DEVICE");
    if (w->terms.jitter_ns > w->terms.delay_ns)
        return err_set(e, ERR_USAGE, 0, "--jitter is more than --delay");
    if (wire_end_find(&w->host, argv[optind], argv[optind + 1], e) < 0)
        return -1;
    return wire_end_find(&w->sw, argv[optind + 2], argv[optind + 3], e);
}

static int wire_tap(const char *device, bool whole_segments, struct err *e)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    unsigned offloads = TUN_F_CSUM | (whole_segments ? TUN_F_TSO4 | TUN_F_TSO6 : 0);
    CLEANUP_CLOSE int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap < 0)
        return err_set(e, ERR_IO, errno, "/dev/net/tun");
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (ioctl(tap, TUNSETIFF, &request) < 0 || ioctl(tap, TUNSETOFFLOAD, offloads) < 0)
        return err_set(e, ERR_IO, errno, "cannot make the tap %s", device);
    return TAKE_FD(tap);
}

/* In the network of that end's process; we come back to our own. */
static int wire_tap_there(struct wire_end *end, bool whole_segments, struct err *e)
{
    CLEANUP_CLOSE int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0 || setns(end->pid_fd, CLONE_NEWNET) < 0)
        return err_set(e, ERR_IO, errno, "cannot enter the network of %s", end->device);
    end->tap = wire_tap(end->device, whole_segments, e);
    if (setns(own, CLONE_NEWNET) < 0)
        return err_set(e, ERR_IO, errno, "cannot leave the network of %s", end->device);
    return end->tap < 0 ? -1 : 0;
}

struct wire_direction {
    const char *to;
    struct wire_way *way;
    pthread_t thread;
};

static void wire_tell(const struct wire_direction *d)
{
    const struct wire_counts *c = wire_way_counts(d->way);
    fprintf(stderr,
            "wire: to the %s: %llu frames, %llu bytes; %llu lost as asked, %llu dropped by a full "
            "queue; %.3f ms late at most\n",
            d->to, (unsigned long long)c->frames, (unsigned long long)c->bytes,
            (unsigned long long)c->lost, (unsigned long long)c->full,
            (double)c->late_max_ns / (double)NS_PER_MS);
}

static void *wire_carry(void *direction)
{
    const struct sched_param p = {.sched_priority = WIRE_PRIORITY};
    pthread_setschedparam(pthread_self(), SCHED_RR, &p);
    wire_way_run(((struct wire_direction *)direction)->way);
    wire_tell(direction);
    return NULL;
}

static void *wire_watch_switch(void *end)
{
    struct pollfd ended = {.fd = ((const struct wire_end *)end)->pid_fd, .events = POLLIN};
    while (poll(&ended, 1, -1) != 1)
        ;
    fputs("wire: the switch has ended\n", stderr);
    _exit(0);
}

static int wire_begin(struct wire *w, struct wire_direction *d, struct err *e)
{
    pthread_t watch;
    int sys = pthread_create(&watch, NULL, wire_watch_switch, &w->sw);
    for (int i = 0; i < 2 && sys == 0; i++) {
        bool to_host = i == 0;
        d[i].to = to_host ? "host" : "switch";
        d[i].way = wire_way_new(to_host ? w->sw.tap : w->host.tap,
                                to_host ? w->host.tap : w->sw.tap, &w->terms, e);
        if (d[i].way == NULL)
            return -1;
        sys = pthread_create(&d[i].thread, NULL, wire_carry, &d[i]);
    }
    return sys == 0 ? 0 : err_set(e, ERR_IO, sys, "cannot start a thread");
}

/* The process that is the wire. `ready` gets a byte when frames are carried. A way ends when either tap is gone, so
 * both do. */
static int wire_run(struct wire *w, int ready)
{
    struct wire_direction d[2];
    struct err e = {0};
    if (wire_begin(w, d, &e) < 0) {
        err_print(&e, "wire", stderr);
        return 1;
    }
    if (write(ready, "r", 1) != 1)
        return 1;
    close(ready);
    pthread_join(d[0].thread, NULL);
    pthread_join(d[1].thread, NULL);
    return 0;
}

/* What it says goes to its log; nothing else of its parent's is kept. */
static int wire_detach(const struct wire *w)
{
    int null = open("/dev/null", O_RDWR);
    int log = open(w->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    bool done = null >= 0 && log >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
                dup2(null, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0 && setsid() >= 0 &&
                chdir("/") == 0;
    if (!done)
        perror("wire: cannot detach");
    return done ? 0 : -1;
}

/* Its pid, as we see it, when it carries frames. */
static pid_t wire_start(struct wire *w, struct err *e)
{
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0 || setns(w->host.pid_fd, CLONE_NEWPID) < 0)
        return err_set(e, ERR_IO, errno, "cannot enter the host of %s", w->host.device);
    pid_t pid = fork();
    if (pid < 0)
        return err_set(e, ERR_IO, errno, "cannot start");
    if (pid == 0) {
        close(ready[0]);
        _exit(wire_detach(w) < 0 ? 1 : wire_run(w, ready[1]));
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) == 1)
        return pid;
    waitpid(pid, NULL, 0);
    return err_set(e, ERR_IO, 0, "it has ended at once; see %s", w->log);
}

int main(int argc, char **argv)
{
    struct wire w = {.host = {.pid_fd = -1, .tap = -1}, .sw = {.pid_fd = -1, .tap = -1}};
    struct err e = {0};
    if (wire_parse(&w, argc, argv, &e) < 0) {
        if (e.class != ERR_NONE)
            err_print(&e, "wire", stderr);
        return 2;
    }
    bool whole_segments = w.terms.loss == 0;
    pid_t pid = -1;
    if (wire_tap_there(&w.host, whole_segments, &e) == 0 &&
        wire_tap_there(&w.sw, whole_segments, &e) == 0)
        pid = wire_start(&w, &e);
    if (pid < 0) {
        err_print(&e, "wire", stderr);
        return 1;
    }
    printf("%d\n", (int)pid);
    return 0;
}
