/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that is observed by what it answers to echo requests. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest_port.h"
#include "core/clock.h"

static void check_ping(const char *spec)
{
    struct err e = {0};
    int64_t opened_ns = clock_now_ns();
    struct observer *o = observer_open(&spec, 1, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    guest_sleep_ns(200 * NS_PER_MS);
    observer_mark(o);
    guest_sleep_ns(100 * NS_PER_MS);
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(r.kind, OBSERVER_PING);
    if (r.count == 0 || r.count > r.sent || r.lost > 0)
        fail_msg("%d sent, %d answered, %d lost", (int)r.sent, (int)r.count, (int)r.lost);
    assert_int_equal(r.duplicates + r.reordered, 0);
    assert_ms_within(r.median_interval_ns, 1, 100);
    assert_true(r.first_ns > opened_ns && r.last_ns > r.first_ns);
    assert_true(r.longest_silence_ns < clock_now_ns() - opened_ns);
}

static void pings(void **state)
{
    (void)state;
    const char *why = guest_no_ping(AF_INET, IPPROTO_ICMP);
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
    const char *why = guest_no_ping(AF_INET6, IPPROTO_ICMPV6);
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
    guest_sleep_ns(100 * NS_PER_MS);
    observer_mark(o);
    set_loopback(false);
    int64_t down_ns = clock_now_ns();
    guest_sleep_ns(150 * NS_PER_MS);
    int64_t gap_ms = (clock_now_ns() - down_ns) / NS_PER_MS;
    set_loopback(true);
    guest_sleep_ns(300 * NS_PER_MS);
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(setns(home, CLONE_NEWNET), 0);
    close(home);

    assert_ms_within(r.longest_silence_ns, gap_ms - 2,
                     gap_ms + 250 + r.silences[0].late_ns / NS_PER_MS);
    assert_false(r.silences[0].open);
    assert_true(r.lost > 20 && r.lost <= r.sent - r.count);
    assert_null(lost);
    assert_int_equal(no_route.class, ERR_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pings),
        cmocka_unit_test(pings_over_ipv6),
        cmocka_unit_test(pings_through_a_link_that_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
