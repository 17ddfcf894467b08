/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the network is told of a move, by frames on a tap in a network namespace of the test's own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/observe/observe.h"
#include "core/clock.h"
#include "tests/bench/observe/guest_port.h"

static const uint8_t guest[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56}, other[6] = {2, 0, 0, 0, 0, 9};

enum { FRAME = 86 };

static void frame_head(uint8_t *f, const uint8_t mac[6], unsigned type)
{
    memset(f, 0, FRAME);
    memset(f, 0xff, 6);
    memcpy(f + 6, mac, 6);
    f[12] = (uint8_t)(type >> 8);
    f[13] = (uint8_t)type;
}

/* What QEMU sends (net/announce.c). */
static void frame_rarp(uint8_t *f, const uint8_t mac[6])
{
    static const uint8_t body[] = {0, 1, 8, 0, 6, 4, 0, 3};
    frame_head(f, mac, 0x8035);
    memcpy(f + 14, body, sizeof body);
    memcpy(f + 22, mac, 6);
    memcpy(f + 32, mac, 6);
}

static void frame_arp(uint8_t *f, const uint8_t mac[6], uint8_t from, uint8_t to)
{
    static const uint8_t body[] = {0, 1, 8, 0, 6, 4, 0, 1};
    frame_head(f, mac, 0x0806);
    memcpy(f + 14, body, sizeof body);
    memcpy(f + 22, mac, 6);
    memcpy(f + 28, (const uint8_t[]){10, 0, 0, from}, 4);
    memcpy(f + 38, (const uint8_t[]){10, 0, 0, to}, 4);
}

static void frame_icmpv6(uint8_t *f, const uint8_t mac[6], uint8_t type, uint8_t to)
{
    frame_head(f, mac, 0x86dd);
    f[14] = 0x60;
    f[19] = 32;
    f[20] = 58;
    f[21] = 255;
    f[38] = 0xff;
    f[39] = 2;
    f[53] = to;
    f[54] = type;
}

static void knows_what_announces(void **state)
{
    (void)state;
    uint8_t f[FRAME];
    struct observer_announce a;
    frame_rarp(f, guest);
    assert_true(observe_announce_know(f, 60, &a));
    assert_int_equal(a.kind, OBSERVER_RARP);
    assert_memory_equal(a.mac, guest, 6);
    assert_false(observe_announce_know(f, 41, &a)); /* cut */
    frame_arp(f, other, 7, 7);
    assert_true(observe_announce_know(f, 60, &a));
    assert_int_equal(a.kind, OBSERVER_GRATUITOUS_ARP);
    frame_arp(f, other, 7, 8); /* a question */
    assert_false(observe_announce_know(f, 60, &a));
    frame_icmpv6(f, other, 136, 1);
    assert_true(observe_announce_know(f, FRAME, &a));
    assert_int_equal(a.kind, OBSERVER_UNSOLICITED_NA);
    assert_false(observe_announce_know(f, 54, &a));
    frame_icmpv6(f, other, 136, 2); /* to somebody */
    assert_false(observe_announce_know(f, FRAME, &a));
    frame_icmpv6(f, other, 135, 1);
    assert_false(observe_announce_know(f, FRAME, &a));
    frame_head(f, other, 0x0800);
    assert_false(observe_announce_know(f, FRAME, &a));
    for (size_t n = 0; n < 14; n++)
        assert_false(observe_announce_know(f, n, &a));
}

/* Up, in this thread's network namespace. -1: not here. */
static int tap_open(void)
{
    struct ifreq request = {.ifr_name = "guest0", .ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
        close(fd);
        return -1;
    }
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    request.ifr_flags = IFF_UP;
    int rc = ioctl(control, SIOCSIFFLAGS, &request);
    close(control);
    return rc == 0 ? fd : -1;
}

static void say_all(int tap, const uint8_t mac[6])
{
    uint8_t f[FRAME];
    frame_rarp(f, mac);
    assert_int_equal(write(tap, f, 60), 60);
    frame_arp(f, mac, 7, 8);
    assert_int_equal(write(tap, f, 60), 60);
    frame_arp(f, mac, 7, 7);
    assert_int_equal(write(tap, f, 60), 60);
    frame_icmpv6(f, mac, 136, 1);
    assert_int_equal(write(tap, f, FRAME), FRAME);
}

static struct observer *observe(const char *spec)
{
    struct err e = {0};
    struct observer *o = observer_open(&spec, 1, &e);
    if (o == NULL)
        fail_msg("%s", e.msg);
    return o;
}

static void check_all(const struct observer_result *r, int64_t from_ns)
{
    assert_int_equal(r->kind, OBSERVER_ANNOUNCE);
    assert_int_equal(r->count, 0); /* no signs of life */
    assert_int_equal(r->announced_count, 3);
    assert_int_equal(r->announced_n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(r->announced[i].kind, (enum observer_announce_kind)i);
        assert_memory_equal(r->announced[i].mac, guest, 6);
        assert_in_range(r->announced[i].at_ns, from_ns, clock_now_ns());
    }
    const struct observer_pause before = {from_ns, -1}, after = {clock_now_ns(), -1},
                                none = {-1, -1};
    assert_int_equal(observer_announced_after(r, &before), 3);
    assert_int_equal(observer_announced_after(r, &after), 0);
    assert_int_equal(observer_announced_after(r, &none), 3);
}

static void sees_what_is_announced(void **state)
{
    (void)state;
    int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), tap = -1;
    if (unshare(CLONE_NEWNET) < 0 || (tap = tap_open()) < 0) {
        print_message("no tap in a network namespace here: %s\n", strerror(errno));
        assert_int_equal(setns(home, CLONE_NEWNET), 0);
        close(home);
        skip();
    }
    struct observer *one = observe("announce:guest0@52:54:00:12:34:56");
    struct observer *all = observe("announce:guest0");
    struct observer *nothing = observe("announce:guest0@52:54:00:12:34:57");
    say_all(tap, guest); /* before anybody has moved */
    guest_sleep_ns(20 * NS_PER_MS);
    observer_mark(one);
    observer_mark(all);
    observer_mark(nothing);
    int64_t marked_ns = clock_now_ns();
    guest_sleep_ns(2 * NS_PER_MS);
    say_all(tap, guest);
    say_all(tap, other);
    struct observer_result r = guest_observe_end(one);
    check_all(&r, marked_ns);
    r = guest_observe_end(all);
    assert_int_equal(r.announced_count, 6);
    r = guest_observe_end(nothing);
    assert_int_equal(r.announced_count, 0);
    const struct observer_pause none = {-1, -1};
    assert_int_equal(observer_announced_after(&r, &none), 0);
    close(tap);
    assert_int_equal(setns(home, CLONE_NEWNET), 0);
    close(home);
}

static void refuses_what_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *spec;
        enum err_class class;
    } rows[] = {
        {"announce:", ERR_USAGE},
        {"announce:@52:54:00:12:34:56", ERR_USAGE},
        {"announce:lo@52:54:00:12:34", ERR_USAGE},
        {"announce:lo@52:54:00:12:34:5g", ERR_USAGE},
        {"announce:lo@", ERR_USAGE},
        {"announce:a-name-that-is-too-long", ERR_USAGE},
        {"announce:nosuch0", ERR_REFUSED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct err e = {0};
        if (observer_open(&rows[i].spec, 1, &e) != NULL)
            fail_msg("'%s' was taken", rows[i].spec);
        if (e.class != rows[i].class)
            fail_msg("'%s': %s", rows[i].spec, e.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_what_announces),
        cmocka_unit_test(sees_what_is_announced),
        cmocka_unit_test(refuses_what_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
