/* SPDX-License-Identifier: Apache-2.0 */
/* The fake guest is the test itself: it writes heartbeats, pauses, hands over, and dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pty.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/guest/heartbeat.h"
#include "bench/observe/observer.h"
#include "bench/observe/silence.h"
#include "core/cleanup.h"
#include "core/clock.h"

static char folder[] = "/tmp/godwit-observer-XXXXXX";

struct guest_port {
    char spec[128];
    const char *path; /* within spec */
    int listen_fd;
    int fd;
};

static void sleep_ns(int64_t ns)
{
    struct timespec ts = {ns / NS_PER_S, ns % NS_PER_S};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
        ;
}

static void port_name(struct guest_port *p, const char *name)
{
    *p = (struct guest_port){.listen_fd = -1, .fd = -1};
    snprintf(p->spec, sizeof p->spec, "serial:%s/%s", folder, name);
    p->path = p->spec + strlen("serial:");
}

static void port_listen(struct guest_port *p, const char *name)
{
    port_name(p, name);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    assert_true(strlen(p->path) < sizeof at.sun_path);
    memcpy(at.sun_path, p->path, strlen(p->path) + 1);
    p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(p->listen_fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(p->listen_fd, 1), 0);
}

static void port_accept(struct guest_port *p)
{
    p->fd = accept(p->listen_fd, NULL, NULL);
    assert_true(p->fd >= 0);
}

static void port_write_file(struct guest_port *p, const char *name)
{
    port_name(p, name);
    p->fd = open(p->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(p->fd >= 0);
}

static void port_close(struct guest_port *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->listen_fd >= 0)
        close(p->listen_fd);
    unlink(p->path);
}

static void say(struct guest_port *p, const char *text)
{
    assert_int_equal(write(p->fd, text, strlen(text)), strlen(text));
}

/*
 * The longest time between two beats as the guest knows it, because this machine is late at times:
 * at least from the end of one write to the start of the next, at most from start to end.
 */
static int64_t beat_began_ns, beat_ended_ns, gap_low_ns, gap_high_ns;

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void gaps_from_here(void)
{
    gap_low_ns = gap_high_ns = 0;
}

static void beat(struct guest_port *p, uint32_t seq)
{
    char line[HEARTBEAT_LINE_MAX];
    uint32_t n = heartbeat_format(line, seq, seq, NULL);
    int64_t began_ns = clock_now_ns();
    assert_int_equal(write(p->fd, line, n), n);
    int64_t ended_ns = clock_now_ns();
    gap_low_ns = larger(gap_low_ns, began_ns - beat_ended_ns);
    gap_high_ns = larger(gap_high_ns, ended_ns - beat_began_ns);
    beat_began_ns = began_ns;
    beat_ended_ns = ended_ns;
}

/* One beat a millisecond, `n` of them from `seq` on; returns the next. */
static uint32_t beats(struct guest_port *p, uint32_t seq, int n)
{
    for (int i = 0; i < n; i++) {
        beat(p, seq++);
        sleep_ns(NS_PER_MS);
    }
    return seq;
}

static struct observer *open_one(const struct guest_port *p)
{
    struct err e = {0};
    const char *specs[] = {p->spec};
    struct observer *o = observer_open(specs, 1, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    return o;
}

static struct observer *open_two(const struct guest_port *a, const struct guest_port *b)
{
    struct err e = {0};
    const char *specs[] = {a->spec, b->spec};
    struct observer *o = observer_open(specs, 2, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    return o;
}

static struct observer_result stop_one(struct observer *o)
{
    struct observer_result r[2];
    assert_int_equal(observer_stop(o, r, 2), 1);
    return r[0];
}

static void assert_ms_within(int64_t ns, int64_t low_ms, int64_t high_ms)
{
    if (ns < low_ms * NS_PER_MS || ns > high_ms * NS_PER_MS)
        fail_msg("%.3f ms is not within %d … %d ms", (double)ns / NS_PER_MS, (int)low_ms,
                 (int)high_ms);
}

/* How late the observer was at its worst: a sign that it took in late, just before a gap, makes that gap
 * look shorter. Such a sign has ended a silence that is long enough to be in the list. */
static int64_t worst_late_ns(const struct observer_result *r)
{
    int64_t worst_ns = 0;
    for (size_t i = 0; i < r->silences_n; i++)
        worst_ns = larger(worst_ns, r->silences[i].late_ns);
    return worst_ns;
}

/* The observer saw the longest gap; how late it was itself it says. */
static void assert_saw_gap(const struct observer_result *r, int64_t at_least_ms)
{
    assert_true(gap_low_ns >= at_least_ms * NS_PER_MS);
    int64_t late_ns = r->silences[0].late_ns;
    assert_ms_within(r->longest_silence_ns, (gap_low_ns - worst_late_ns(r)) / NS_PER_MS - 20,
                     (gap_high_ns + late_ns) / NS_PER_MS + 20);
}

static void assert_refuses(const char *spec, enum err_class class)
{
    struct err e = {0};
    struct observer *o = observer_open(&spec, 1, &e);
    if (o != NULL)
        fail_msg("'%s' was accepted", spec);
    if (e.class != class)
        fail_msg("'%s': %s: %s", spec, err_class_name(e.class), e.msg);
}

static void refuses_specs_it_cannot_read(void **state)
{
    (void)state;
    static const char *const specs[] = {
        "",
        "ping",
        "ping:",
        "serial:",
        "serial",
        "Ping:::1",
        "tcp:1.2.3.4",
        "ping:@2ms",
        "ping:127.0.0.1@",
        "ping:127.0.0.1@2",
        "/dev/pts/0",
        "ping:127.0.0.1@0ms",
        "ping:127.0.0.1@2m s",
        "ping:127.0.0.1@100us",
        "ping:127.0.0.1@2h",
        "ping:127.0.0.1@-5ms",
    };
    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++)
        assert_refuses(specs[i], ERR_USAGE);

    struct err e = {0};
    const char *twice[] = {"serial:/x", "serial:/x"};
    assert_null(observer_open(twice, 2, &e));
    assert_int_equal(e.class, ERR_USAGE);
    err_clear(&e);
    assert_null(observer_open(twice, 0, &e));
    assert_int_equal(e.class, ERR_USAGE);
    err_clear(&e);
    const char *many[OBSERVER_SPECS_MAX + 1] = {0};
    assert_null(observer_open(many, OBSERVER_SPECS_MAX + 1, &e));
    assert_int_equal(e.class, ERR_USAGE);
    err_clear(&e);
    const char *good_then_bad[] = {"serial:/nonexistent/path", "ping:127.0.0.1@0s"};
    assert_null(observer_open(good_then_bad, 2, &e));
    assert_int_equal(e.class, ERR_USAGE); /* the usage of all comes before the opening of any */
}

static void refuses_what_it_cannot_open(void **state)
{
    (void)state;
    char spec[256];
    assert_refuses("serial:/nonexistent/path", ERR_REFUSED);
    assert_refuses("serial:/dev/null", ERR_REFUSED);
    snprintf(spec, sizeof spec, "serial:%s", folder);
    assert_refuses(spec, ERR_REFUSED);
    assert_refuses("ping:256.1.1.1", ERR_REFUSED);

    struct guest_port p; /* a socket that nobody listens on */
    port_listen(&p, "deaf");
    close(p.listen_fd);
    p.listen_fd = -1;
    assert_refuses(p.spec, ERR_REFUSED);

    struct guest_port good; /* what was opened before the bad one is closed again */
    port_listen(&good, "good");
    const char *specs[] = {good.spec, p.spec};
    struct err e = {0};
    assert_null(observer_open(specs, 2, &e));
    assert_int_equal(e.class, ERR_REFUSED);
    assert_non_null(strstr(e.msg, p.spec));
    port_close(&good);
    port_close(&p);
}

static void sees_a_pause(void **state)
{
    (void)state;
    struct guest_port p;
    port_listen(&p, "pause");
    struct observer *o = open_one(&p);
    port_accept(&p);
    say(&p, "0001 00000002\n"); /* we come in the middle of a line */
    uint32_t seq = beats(&p, 1000, 100);
    observer_mark(o);
    int64_t marked_ns = clock_now_ns();
    gaps_from_here(); /* all since the mark: this machine may make a guest pause that does not mean to */
    seq = beats(&p, seq, 50);
    sleep_ns(150 * NS_PER_MS);
    beats(&p, seq, 50);
    struct observer_result r = stop_one(o);

    assert_int_equal(r.kind, OBSERVER_SERIAL);
    assert_string_equal(r.what, p.spec);
    assert_int_equal(r.count, 200);
    assert_saw_gap(&r, 150);
    assert_true(r.silence_began_ns > marked_ns && r.silence_began_ns < r.last_ns);
    assert_false(r.silences[0].open);
    assert_int_equal(r.silences_n, OBSERVER_SILENCES);
    assert_true(r.silences[0].length_ns >= r.silences[1].length_ns);
    assert_ms_within(r.median_interval_ns, 1, 20);
    assert_true(r.p99_interval_ns >= r.median_interval_ns);
    assert_true(r.max_interval_ns >= r.p99_interval_ns);
    assert_int_equal(r.lost + r.duplicates + r.reordered + r.restarts, 0);
    port_close(&p);
}

/* The pause is before the mark: it is no silence of the migration. */
static void forgets_what_was_before_the_mark(void **state)
{
    (void)state;
    struct guest_port p;
    port_listen(&p, "before");
    struct observer *o = open_one(&p);
    port_accept(&p);
    uint32_t seq = beats(&p, 0, 20);
    sleep_ns(300 * NS_PER_MS);
    seq = beats(&p, seq, 20);
    sleep_ns(NS_PER_MS);
    observer_mark(o);
    beats(&p, seq, 20);
    struct observer_result r = stop_one(o);
    assert_ms_within(r.max_interval_ns, 250, 1000);
    assert_true(r.longest_silence_ns < 250 * NS_PER_MS);
    port_close(&p);
}

static void follows_a_handover(void **state)
{
    (void)state;
    struct guest_port a, b;
    port_listen(&a, "source");
    port_listen(&b, "destination");
    struct observer *o = open_two(&a, &b);
    port_accept(&a);
    port_accept(&b);
    uint32_t seq = beats(&a, 0xffffffd0, 80); /* through the end of the sequence */
    observer_mark(o);
    gaps_from_here();
    seq = beats(&a, seq, 20);
    sleep_ns(30 * NS_PER_MS);
    close(a.fd); /* the source quits */
    a.fd = -1;
    beats(&b, seq + 3, 50);
    struct observer_result r = stop_one(o);

    char both[300];
    snprintf(both, sizeof both, "%s + %s", a.spec, b.spec);
    assert_string_equal(r.what, both);
    assert_int_equal(r.count, 150);
    assert_int_equal(r.lost, 3);
    assert_int_equal(r.duplicates + r.reordered + r.restarts, 0);
    assert_saw_gap(&r, 30);
    assert_int_equal(r.crossing.from,
                     0); /* which is not always the longest: see gaps_from_here() */
    assert_int_equal(r.crossing.to, 1);
    assert_true(r.crossing.length_ns + worst_late_ns(&r) >= 28 * NS_PER_MS);
    port_close(&a);
    port_close(&b);
}

/* The source ends within `line`, after `cut` bytes; the destination says the rest. */
static void check_cut(const char *line, size_t cut)
{
    struct guest_port a, b;
    port_listen(&a, "head");
    port_listen(&b, "tail");
    struct observer *o = open_two(&a, &b);
    port_accept(&a);
    port_accept(&b);
    beat(&a, 8);
    char head[HEARTBEAT_LINE_MAX + 1] = "";
    memcpy(head, line, cut);
    say(&a, head);
    say(&b, line + cut);
    beat(&b, 10);
    struct observer_result r = stop_one(o);
    if (r.count != 3 || r.lost + r.duplicates + r.reordered + r.restarts != 0)
        fail_msg("cut after %zu bytes: %d beats, %d lost", cut, (int)r.count, (int)r.lost);
    port_close(&a);
    port_close(&b);
}

static void joins_a_line_that_the_migration_cut(void **state)
{
    (void)state;
    const uint32_t record = 7;
    for (int with_record = 0; with_record < 2; with_record++) {
        char line[HEARTBEAT_LINE_MAX + 1] = "";
        uint32_t n = heartbeat_format(line, 9, 9, with_record ? &record : NULL);
        for (size_t cut = 0; cut <= n; cut++)
            check_cut(line, cut);
    }
}

static void joins_no_halves_that_do_not_fit(void **state)
{
    (void)state;
    struct guest_port a, b;
    port_listen(&a, "head");
    port_listen(&b, "tail");
    struct observer *o = open_two(&a, &b);
    port_accept(&a);
    port_accept(&b);
    beat(&a, 8);
    say(&a, "H 0007"); /* of a beat far away */
    say(&b, "0009 00000001\n");
    beat(&b, 10);
    struct observer_result r = stop_one(o);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.lost, 1);
    assert_int_equal(r.duplicates + r.reordered + r.restarts, 0);
    port_close(&a);
    port_close(&b);
}

static void tells_copies_late_ones_and_reboots(void **state)
{
    (void)state;
    struct guest_port p;
    port_listen(&p, "order");
    struct observer *o = open_one(&p);
    port_accept(&p);
    static const uint32_t order[] = {5000, 5001, 5001, 5003, 5002, 5000, 5010, 8000, 7999};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        beat(&p, order[i]);
        sleep_ns(NS_PER_MS / 4);
    }
    beat(&p, 0); /* anew, and the banner was missed */
    beat(&p, 1);
    say(&p, "GODWIT-GUEST bare 1 period_us=1000 working_set=4096 rate=0\n");
    beat(&p, 0);
    struct observer_result r = stop_one(o);
    assert_int_equal(r.duplicates, 2);
    assert_int_equal(r.reordered, 2);
    assert_int_equal(r.lost, 6 + 2989 - 1);
    assert_int_equal(r.restarts, 2);
    assert_int_equal(r.count, 10);
    port_close(&p);
}

static void tails_a_file(void **state)
{
    (void)state;
    struct guest_port p;
    port_write_file(&p, "log");
    beats(&p, 0, 3); /* from before: does not count */
    struct observer *o = open_one(&p);
    gaps_from_here();
    uint32_t seq = beats(&p, 3, 100);
    sleep_ns(150 * NS_PER_MS);
    assert_int_equal(ftruncate(p.fd, 0), 0); /* QEMU empties the log that it opens */
    sleep_ns(150 * NS_PER_MS);
    beats(&p, seq, 10);
    struct observer_result r = stop_one(o);
    assert_int_equal(r.count, 110);
    assert_int_equal(r.lost + r.duplicates + r.reordered + r.restarts, 0);
    assert_saw_gap(&r, 150);
    assert_ms_within(r.median_interval_ns, 1, 20);
    port_close(&p);
}

static void reads_a_pty_without_talking_back(void **state)
{
    (void)state;
    int slave;
    struct guest_port p = {.listen_fd = -1};
    char name[64];
    if (openpty(&p.fd, &slave, name, NULL, NULL) < 0) {
        print_message("no pty here: %s\n", strerror(errno));
        skip();
    }
    snprintf(p.spec, sizeof p.spec, "serial:%s", name);
    struct observer *o = open_one(&p);
    close(slave);
    beats(&p, 0, 30);
    assert_int_equal(fcntl(p.fd, F_SETFL, O_NONBLOCK), 0);
    char echo[64];
    assert_int_equal(read(p.fd, echo, sizeof echo), -1);
    assert_int_equal(errno, EAGAIN);
    sleep_ns(200 * NS_PER_MS); /* what a pty still holds is lost when its master closes */
    close(p.fd);               /* QEMU quits */
    sleep_ns(5 * NS_PER_MS);
    struct observer_result r = stop_one(o);
    assert_int_equal(r.count, 30);
    assert_int_equal(r.lost, 0);
}

static void reads_a_fifo(void **state)
{
    (void)state;
    struct guest_port p;
    port_name(&p, "fifo");
    assert_int_equal(mkfifo(p.path, 0600), 0);
    struct observer *o = open_one(&p);
    uint32_t seq = 0;
    for (int i = 0; i < 2; i++) { /* a writer that goes and comes again */
        p.fd = open(p.path, O_WRONLY | O_CLOEXEC);
        assert_true(p.fd >= 0);
        seq = beats(&p, seq, 10);
        close(p.fd);
    }
    p.fd = -1;
    struct observer_result r = stop_one(o);
    assert_int_equal(r.count, 20);
    port_close(&p);
}

static void says_that_there_was_never_a_sign(void **state)
{
    (void)state;
    struct guest_port p;
    port_write_file(&p, "dumb");
    struct observer *o = open_one(&p);
    sleep_ns(20 * NS_PER_MS);
    observer_mark(o);
    sleep_ns(20 * NS_PER_MS);
    struct observer_result r = stop_one(o);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.first_ns, -1);
    assert_int_equal(r.last_ns, -1);
    assert_int_equal(r.median_interval_ns, -1);
    assert_int_equal(r.p99_interval_ns, -1);
    assert_ms_within(r.longest_silence_ns, 19, 1000);
    assert_true(r.silences[0].open);
    assert_int_equal(r.silences[0].from, -1);
    port_close(&p);
}

/* The last sign comes before the mark, then the guest is gone, though it still prints. It is open from
 * the last sign to the end, whenever this machine has let the observer take that sign in: late enough,
 * and the silence before it was the longer one. */
static void counts_the_silence_still_open(void **state)
{
    (void)state;
    struct guest_port p;
    port_listen(&p, "gone");
    struct observer *o = open_one(&p);
    port_accept(&p);
    beats(&p, 0, 30);
    observer_mark(o);
    for (int i = 0; i < 8; i++) {
        say(&p, "[    1.0] Kernel panic - not syncing\r\n");
        sleep_ns(5 * NS_PER_MS);
    }
    int64_t stop_ns = clock_now_ns();
    struct observer_result r = stop_one(o);
    int64_t stopped_ns = clock_now_ns();
    assert_int_equal(r.count, 30);
    const struct observer_silence *open = NULL;
    for (size_t i = 0; i < r.silences_n; i++)
        if (r.silences[i].open)
            open = &r.silences[i];
    assert_non_null(open);
    assert_int_equal(open->to, -1);
    assert_int_equal(open->began_ns, r.last_ns);
    assert_true(open->length_ns >= stop_ns - r.last_ns);
    assert_true(open->length_ns <= stopped_ns - r.last_ns);
    assert_true(r.longest_silence_ns >= open->length_ns);
    assert_true(r.longest_silence_ns + worst_late_ns(&r) >= 38 * NS_PER_MS);
    port_close(&p);
}

static void takes_any_text_of_other_guests(void **state)
{
    (void)state;
    struct guest_port p;
    port_listen(&p, "console");
    struct observer *o = open_one(&p);
    port_accept(&p);
    char flood[1000];
    memset(flood, 'x', sizeof flood - 1);
    flood[sizeof flood - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        say(&p, i % 2 ? "login: " : flood);
        sleep_ns((i == 10 ? 50 : 2) * NS_PER_MS);
    }
    struct observer_result r = stop_one(o);
    assert_in_range(r.count, 2, 20); /* what arrives together is one */
    assert_int_equal(r.lost, 0);
    assert_ms_within(r.longest_silence_ns + worst_late_ns(&r), 48, 1000);
    port_close(&p);
}

/* Why there is no ping here, or NULL. */
static const char *no_ping(int family, int protocol)
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

static void check_ping(const char *spec)
{
    struct err e = {0};
    struct observer *o = observer_open(&spec, 1, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    sleep_ns(200 * NS_PER_MS);
    observer_mark(o);
    sleep_ns(100 * NS_PER_MS);
    struct observer_result r = stop_one(o);
    assert_int_equal(r.kind, OBSERVER_PING);
    if (r.count == 0 || r.count > r.sent || r.lost > 0)
        fail_msg("%d sent, %d answered, %d lost", (int)r.sent, (int)r.count, (int)r.lost);
    assert_int_equal(r.duplicates + r.reordered, 0);
    assert_ms_within(r.median_interval_ns, 1, 9);
    assert_true(r.longest_silence_ns < 290 * NS_PER_MS);
    assert_true(r.first_ns > 0 && r.last_ns > r.first_ns);
}

static void pings(void **state)
{
    (void)state;
    const char *why = no_ping(AF_INET, IPPROTO_ICMP);
    if (why != NULL) {
        print_message("no ping over IPv4 here: %s\n", why);
        skip();
    }
    check_ping("ping:127.0.0.1");
    check_ping("ping:127.0.0.1@2ms");
}

static void pings_over_ipv6(void **state)
{
    (void)state;
    const char *why = no_ping(AF_INET6, IPPROTO_ICMPV6);
    if (why != NULL) {
        print_message("no ping over IPv6 here: %s\n", why);
        skip();
    }
    check_ping("ping:::1@2ms");
}

/* Takes the loopback of this thread's network namespace up or down. */
static void set_loopback(bool up)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = (short)(up ? IFF_UP : 0)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    close(fd);
}

/* In a network namespace of its own, whose link is down for a while. */
static void pings_through_a_link_that_fails(void **state)
{
    (void)state;
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (unshare(CLONE_NEWNET) < 0) {
        close(home);
        print_message("no network namespace here: %s\n", strerror(errno));
        skip();
    }
    set_loopback(true);
    const char *spec = "ping:127.0.0.1@1ms", *nowhere = "ping:192.0.2.1";
    struct err e = {0}, no_route = {0};
    struct observer *o = observer_open(&spec, 1, &e);
    struct observer *lost = observer_open(&nowhere, 1, &no_route);
    if (o == NULL)
        fail_msg("%s", e.msg);
    sleep_ns(100 * NS_PER_MS);
    observer_mark(o);
    set_loopback(false);
    int64_t down_ns = clock_now_ns();
    sleep_ns(150 * NS_PER_MS);
    int64_t gap_ms = (clock_now_ns() - down_ns) / NS_PER_MS;
    set_loopback(true);
    sleep_ns(50 * NS_PER_MS);
    struct observer_result r = stop_one(o);
    assert_int_equal(setns(home, CLONE_NEWNET), 0);
    close(home);

    assert_ms_within(r.longest_silence_ns, gap_ms - 2,
                     gap_ms + 50 + r.silences[0].late_ns / NS_PER_MS);
    assert_false(r.silences[0].open);
    assert_true(r.lost > 20 && r.lost <= r.sent - r.count);
    assert_null(lost);
    assert_int_equal(no_route.class, ERR_REFUSED);
}

static void groups_pings_and_serials(void **state)
{
    (void)state;
    const char *why = no_ping(AF_INET, IPPROTO_ICMP);
    if (why != NULL) {
        print_message("no ping over IPv4 here: %s\n", why);
        skip();
    }
    struct guest_port a, b;
    port_write_file(&a, "a.log");
    port_write_file(&b, "b.log");
    const char *specs[] = {"ping:127.0.0.1", a.spec, "ping:127.0.0.2@9ms", b.spec};
    struct err e = {0};
    struct observer *o = observer_open(specs, 4, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    beats(&b, beats(&a, 0, 20), 20);
    struct observer_result r[4];
    assert_int_equal(observer_stop(o, r, 4), 3);
    assert_string_equal(r[0].what, "ping:127.0.0.1");
    assert_int_equal(r[1].kind, OBSERVER_SERIAL);
    assert_int_equal(r[1].count, 40);
    assert_string_equal(r[2].what, "ping:127.0.0.2");
    port_close(&a);
    port_close(&b);
}

static void distributes_intervals(void **state)
{
    (void)state;
    _Atomic int64_t mark_ns = INT64_MAX;
    struct silence s;
    struct observer_result r = {0};
    silence_init(&s, &mark_ns);
    int64_t at_ns = NS_PER_S;
    silence_add(&s, at_ns, 0);
    for (int i = 0; i < 980; i++)
        silence_add(&s, at_ns += NS_PER_MS, 0);
    for (int i = 0; i < 19; i++)
        silence_add(&s, at_ns += 20 * NS_PER_MS, 0);
    silence_add(&s, at_ns += 1000 * NS_PER_S, 0); /* past the last bucket */
    silence_add(&s, at_ns, 0);                    /* with the one before: no interval */
    mark_ns = at_ns + NS_PER_MS;
    silence_late(&s, 3);
    silence_late(&s, 2);
    silence_add(&s, at_ns + 7 * NS_PER_MS, 1);
    silence_finish(&s, 0, at_ns + 9 * NS_PER_MS, &r);

    assert_int_equal(r.count, 1003);
    assert_in_range(r.median_interval_ns, 970000, 1030000);
    assert_in_range(r.p99_interval_ns, 19400000, 20600000);
    assert_int_equal(r.max_interval_ns, 1000 * NS_PER_S);
    assert_int_equal(r.longest_silence_ns, 7 * NS_PER_MS); /* it spans the mark */
    assert_int_equal(r.silences[0].late_ns, 3);
    assert_int_equal(r.silences[0].to, 1);
    assert_int_equal(r.silences_n, 2);
    assert_true(r.silences[1].open);
    assert_int_equal(r.silences[1].length_ns, 2 * NS_PER_MS);
    assert_int_equal(r.silences[1].late_ns, 0);
}

/* What is open at the end competes with the others. */
static void ranks_the_silence_still_open(void **state)
{
    (void)state;
    static const struct {
        int64_t ended_ns;
        size_t at; /* in the list */
    } cases[] = {{130, 0}, {107, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        _Atomic int64_t mark_ns = 95;
        struct silence s;
        struct observer_result r = {0};
        silence_init(&s, &mark_ns);
        silence_add(&s, 90, 0);
        silence_add(&s, 100, 0);
        silence_finish(&s, 0, cases[i].ended_ns, &r);
        const struct observer_silence *open = &r.silences[cases[i].at];
        assert_int_equal(r.silences_n, 2);
        assert_true(open->open);
        assert_int_equal(open->began_ns, 100);
        assert_int_equal(open->to, -1);
        assert_int_equal(open->length_ns, cases[i].ended_ns - 100);
        assert_int_equal(r.silence_began_ns, cases[i].at == 0 ? 100 : 90);
    }
}

static void keeps_the_longest_silences(void **state)
{
    (void)state;
    _Atomic int64_t mark_ns = INT64_MAX;
    struct silence s;
    struct observer_result r = {0};
    silence_init(&s, &mark_ns);
    static const int64_t gaps_ns[] = {5, 9, 2, 7, 9, 1, 8};
    int64_t at_ns = 100;
    silence_add(&s, at_ns, 0);
    for (size_t i = 0; i < sizeof gaps_ns / sizeof gaps_ns[0]; i++)
        silence_add(&s, at_ns += gaps_ns[i], 0);
    silence_finish(&s, 0, at_ns, &r);
    static const int64_t want_ns[OBSERVER_SILENCES] = {9, 9, 8, 7};
    for (size_t i = 0; i < OBSERVER_SILENCES; i++)
        assert_int_equal(r.silences[i].length_ns, want_ns[i]);
    assert_int_equal(r.silence_began_ns, 105);
    assert_int_equal(r.median_interval_ns, 9); /* the first bucket's middle is past the maximum */
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_specs_it_cannot_read),
        cmocka_unit_test(refuses_what_it_cannot_open),
        cmocka_unit_test(sees_a_pause),
        cmocka_unit_test(forgets_what_was_before_the_mark),
        cmocka_unit_test(follows_a_handover),
        cmocka_unit_test(joins_a_line_that_the_migration_cut),
        cmocka_unit_test(joins_no_halves_that_do_not_fit),
        cmocka_unit_test(tells_copies_late_ones_and_reboots),
        cmocka_unit_test(tails_a_file),
        cmocka_unit_test(reads_a_pty_without_talking_back),
        cmocka_unit_test(reads_a_fifo),
        cmocka_unit_test(says_that_there_was_never_a_sign),
        cmocka_unit_test(counts_the_silence_still_open),
        cmocka_unit_test(takes_any_text_of_other_guests),
        cmocka_unit_test(pings),
        cmocka_unit_test(pings_over_ipv6),
        cmocka_unit_test(pings_through_a_link_that_fails),
        cmocka_unit_test(groups_pings_and_serials),
        cmocka_unit_test(distributes_intervals),
        cmocka_unit_test(ranks_the_silence_still_open),
        cmocka_unit_test(keeps_the_longest_silences),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
