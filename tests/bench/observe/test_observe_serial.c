/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that is observed by what it writes to a socket, a file, a terminal or a FIFO. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_port.h"
#include "bench/guest/heartbeat.h"
#include "core/clock.h"

/* How late the observer was at its worst: a sign that it took in late, just before a gap, makes that gap
 * look shorter. Such a sign has ended a silence that is long enough to be in the list. */
static int64_t worst_late_ns(const struct observer_result *r)
{
    int64_t worst_ns = 0;
    for (size_t i = 0; i < r->silences_n; i++)
        if (r->silences[i].late_ns > worst_ns)
            worst_ns = r->silences[i].late_ns;
    return worst_ns;
}

/* The observer saw the longest gap; how late it was itself it says. */
static void assert_saw_gap(const struct observer_result *r, int64_t at_least_ms)
{
    assert_true(guest_gap_low_ns >= at_least_ms * NS_PER_MS);
    int64_t late_ns = r->silences[0].late_ns;
    assert_ms_within(r->longest_silence_ns, (guest_gap_low_ns - worst_late_ns(r)) / NS_PER_MS - 20,
                     (guest_gap_high_ns + late_ns) / NS_PER_MS + 200);
}

static void sees_a_pause(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_listen(&p, "pause");
    struct observer *o = guest_observe(&p);
    guest_port_accept(&p);
    guest_port_say(&p, "0001 00000002\n"); /* we come in the middle of a line */
    uint32_t seq = guest_port_beats(&p, 1000, 100);
    observer_mark(o);
    int64_t marked_ns = clock_now_ns();
    guest_gaps_from_here(); /* all since the mark: this machine may make a guest pause that does not mean to */
    seq = guest_port_beats(&p, seq, 50);
    guest_sleep_ns(150 * NS_PER_MS);
    guest_port_beats(&p, seq, 50);
    struct observer_result r = guest_observe_end(o);

    assert_int_equal(r.kind, OBSERVER_SERIAL);
    assert_string_equal(r.what, p.spec);
    assert_int_equal(r.count, 200);
    assert_saw_gap(&r, 150);
    assert_true(r.silence_began_ns > marked_ns && r.silence_began_ns < r.last_ns);
    assert_false(r.silences[0].open);
    assert_int_equal(r.silences_n, OBSERVER_SILENCES);
    assert_true(r.silences[0].length_ns >= r.silences[1].length_ns);
    assert_ms_within(r.median_interval_ns, 1, 500);
    assert_true(r.p99_interval_ns >= r.median_interval_ns);
    assert_true(r.max_interval_ns >= r.p99_interval_ns);
    assert_int_equal(r.lost + r.duplicates + r.reordered + r.restarts, 0);
    guest_port_close(&p);
}

/* The pause is before the mark: it is no silence of the migration. */
static void forgets_what_was_before_the_mark(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_listen(&p, "before");
    struct observer *o = guest_observe(&p);
    guest_port_accept(&p);
    uint32_t seq = guest_port_beats(&p, 0, 20);
    guest_sleep_ns(300 * NS_PER_MS);
    int64_t woke_ns = clock_now_ns();
    seq = guest_port_beats(&p, seq, 20);
    guest_sleep_ns(NS_PER_MS);
    observer_mark(o);
    guest_port_beats(&p, seq, 20);
    struct observer_result r = guest_observe_end(o);
    assert_ms_within(r.max_interval_ns, 250, 60000);
    assert_true(r.silence_began_ns >= woke_ns);
    guest_port_close(&p);
}

static void follows_a_handover(void **state)
{
    (void)state;
    struct guest_port a, b;
    guest_port_listen(&a, "source");
    guest_port_listen(&b, "destination");
    struct observer *o = guest_observe_two(&a, &b);
    guest_port_accept(&a);
    guest_port_accept(&b);
    uint32_t seq = guest_port_beats(&a, 0xffffffd0, 80); /* through the end of the sequence */
    observer_mark(o);
    guest_gaps_from_here();
    seq = guest_port_beats(&a, seq, 20);
    guest_sleep_ns(30 * NS_PER_MS);
    close(a.fd); /* the source quits */
    a.fd = -1;
    guest_port_beats(&b, seq + 3, 50);
    struct observer_result r = guest_observe_end(o);

    char both[300];
    snprintf(both, sizeof both, "%s + %s", a.spec, b.spec);
    assert_string_equal(r.what, both);
    assert_int_equal(r.count, 150);
    assert_int_equal(r.lost, 3);
    assert_int_equal(r.duplicates + r.reordered + r.restarts, 0);
    assert_saw_gap(&r, 30);
    assert_int_equal(r.crossing.from,
                     0); /* which is not always the longest: see guest_gaps_from_here() */
    assert_int_equal(r.crossing.to, 1);
    assert_true(r.crossing.length_ns + worst_late_ns(&r) >= 28 * NS_PER_MS);
    guest_port_close(&a);
    guest_port_close(&b);
}

/* The source ends within `line`, after `cut` bytes; the destination says the rest. */
static void check_cut(const char *line, size_t cut)
{
    struct guest_port a, b;
    guest_port_listen(&a, "head");
    guest_port_listen(&b, "tail");
    struct observer *o = guest_observe_two(&a, &b);
    guest_port_accept(&a);
    guest_port_accept(&b);
    guest_port_beat(&a, 8);
    char head[HEARTBEAT_LINE_MAX + 1] = "";
    memcpy(head, line, cut);
    guest_port_say(&a, head);
    guest_port_say(&b, line + cut);
    guest_port_beat(&b, 10);
    struct observer_result r = guest_observe_end(o);
    if (r.count != 3 || r.lost + r.duplicates + r.reordered + r.restarts != 0)
        fail_msg("cut after %zu bytes: %d beats, %d lost", cut, (int)r.count, (int)r.lost);
    guest_port_close(&a);
    guest_port_close(&b);
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
    guest_port_listen(&a, "head");
    guest_port_listen(&b, "tail");
    struct observer *o = guest_observe_two(&a, &b);
    guest_port_accept(&a);
    guest_port_accept(&b);
    guest_port_beat(&a, 8);
    guest_port_say(&a, "H 0007"); /* of a beat far away */
    guest_port_say(&b, "0009 00000001\n");
    guest_port_beat(&b, 10);
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.lost, 1);
    assert_int_equal(r.duplicates + r.reordered + r.restarts, 0);
    guest_port_close(&a);
    guest_port_close(&b);
}

static void tells_copies_late_ones_and_reboots(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_listen(&p, "order");
    struct observer *o = guest_observe(&p);
    guest_port_accept(&p);
    static const uint32_t order[] = {5000, 5001, 5001, 5003, 5002, 5000, 5010, 8000, 7999};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        guest_port_beat(&p, order[i]);
        guest_sleep_ns(NS_PER_MS / 4);
    }
    guest_port_beat(&p, 0); /* anew, and the banner was missed */
    guest_port_beat(&p, 1);
    guest_port_say(&p, "GODWIT-GUEST bare 1 period_us=1000 working_set=4096 rate=0\n");
    guest_port_beat(&p, 0);
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(r.duplicates, 2);
    assert_int_equal(r.reordered, 2);
    assert_int_equal(r.lost, 6 + 2989 - 1);
    assert_int_equal(r.restarts, 2);
    assert_int_equal(r.count, 10);
    guest_port_close(&p);
}

static void tails_a_file(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_write_file(&p, "log");
    guest_port_beats(&p, 0, 3); /* from before: does not count */
    struct observer *o = guest_observe(&p);
    guest_gaps_from_here();
    uint32_t seq = guest_port_beats(&p, 3, 100);
    guest_sleep_ns(150 * NS_PER_MS);
    assert_int_equal(ftruncate(p.fd, 0), 0); /* QEMU empties the log that it opens */
    guest_sleep_ns(150 * NS_PER_MS);
    guest_port_beats(&p, seq, 10);
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(r.count, 110);
    assert_int_equal(r.lost + r.duplicates + r.reordered + r.restarts, 0);
    assert_saw_gap(&r, 150);
    assert_ms_within(r.median_interval_ns, 1, 500);
    guest_port_close(&p);
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
    struct observer *o = guest_observe(&p);
    close(slave);
    guest_port_beats(&p, 0, 30);
    assert_int_equal(fcntl(p.fd, F_SETFL, O_NONBLOCK), 0);
    char echo[64];
    assert_int_equal(read(p.fd, echo, sizeof echo), -1);
    assert_int_equal(errno, EAGAIN);
    guest_sleep_ns(200 * NS_PER_MS); /* what a pty still holds is lost when its master closes */
    close(p.fd);                     /* QEMU quits */
    guest_sleep_ns(5 * NS_PER_MS);
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(r.count, 30);
    assert_int_equal(r.lost, 0);
}

static void reads_a_fifo(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_name(&p, "fifo");
    assert_int_equal(mkfifo(p.path, 0600), 0);
    struct observer *o = guest_observe(&p);
    uint32_t seq = 0;
    for (int i = 0; i < 2; i++) { /* a writer that goes and comes again */
        p.fd = open(p.path, O_WRONLY | O_CLOEXEC);
        assert_true(p.fd >= 0);
        seq = guest_port_beats(&p, seq, 10);
        close(p.fd);
    }
    p.fd = -1;
    struct observer_result r = guest_observe_end(o);
    assert_int_equal(r.count, 20);
    guest_port_close(&p);
}

/* The last sign comes before the mark, then the guest is gone, though it still prints. It is open from
 * the last sign to the end, whenever this machine has let the observer take that sign in: late enough,
 * and the silence before it was the longer one. */
static void counts_the_silence_still_open(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_listen(&p, "gone");
    struct observer *o = guest_observe(&p);
    guest_port_accept(&p);
    guest_port_beats(&p, 0, 30);
    observer_mark(o);
    for (int i = 0; i < 8; i++) {
        guest_port_say(&p, "[    1.0] Kernel panic - not syncing\r\n");
        guest_sleep_ns(5 * NS_PER_MS);
    }
    int64_t stop_ns = clock_now_ns();
    struct observer_result r = guest_observe_end(o);
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
    guest_port_close(&p);
}

static void takes_any_text_of_other_guests(void **state)
{
    (void)state;
    struct guest_port p;
    guest_port_listen(&p, "console");
    struct observer *o = guest_observe(&p);
    guest_port_accept(&p);
    char flood[1000];
    memset(flood, 'x', sizeof flood - 1);
    flood[sizeof flood - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        guest_port_say(&p, i % 2 ? "login: " : flood);
        guest_sleep_ns((i == 10 ? 50 : 2) * NS_PER_MS);
    }
    struct observer_result r = guest_observe_end(o);
    assert_in_range(r.count, 2, 20); /* what arrives together is one */
    assert_int_equal(r.lost, 0);
    assert_ms_within(r.longest_silence_ns + worst_late_ns(&r), 48, 60000);
    guest_port_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_a_pause),
        cmocka_unit_test(forgets_what_was_before_the_mark),
        cmocka_unit_test(follows_a_handover),
        cmocka_unit_test(joins_a_line_that_the_migration_cut),
        cmocka_unit_test(joins_no_halves_that_do_not_fit),
        cmocka_unit_test(tells_copies_late_ones_and_reboots),
        cmocka_unit_test(tails_a_file),
        cmocka_unit_test(reads_a_pty_without_talking_back),
        cmocka_unit_test(reads_a_fifo),
        cmocka_unit_test(counts_the_silence_still_open),
        cmocka_unit_test(takes_any_text_of_other_guests),
    };
    return cmocka_run_group_tests(tests, guest_folder_make, guest_folder_remove);
}
