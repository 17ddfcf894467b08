/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/migrate/trace_log.h"
#include "bench/migrate/trial.h"
#include "core/clock.h"

static struct trace_line line_of(const char *text)
{
    struct trace_line line;
    if (!trace_log_parse(text, 1795667456 * NS_PER_S, &line))
        fail_msg("%s", text);
    return line;
}

/* As QEMU 10.0.2 wrote them. */
static void parses_what_qemu_writes(void **state)
{
    (void)state;
    struct trace_line l =
        line_of("22702@1795667456.213455:vmstate_downtime_checkpoint src-vm-stopped\n");
    assert_int_equal(l.point, TRACE_CHECKPOINT);
    assert_string_equal(l.name, "src-vm-stopped");
    assert_int_equal(l.at_ns, 213455 * NS_PER_US);

    l = line_of("22702@1795667457.215746:vmstate_downtime_save type=non-iterable idstr=cpu "
                "instance_id=0 downtime=1053\n");
    assert_int_equal(l.point, TRACE_SAVE);
    assert_string_equal(l.type, "non-iterable");
    assert_string_equal(l.name, "cpu");
    assert_int_equal(l.took_ns, 1053 * NS_PER_US);
    assert_int_equal(l.at_ns, NS_PER_S + 215746 * NS_PER_US);

    l = line_of("22500@1795667456.241774:vmstate_downtime_load type=non-iterable "
                "idstr=0000:00:1f.2/ich9_ahci instance_id=3 downtime=10325\n");
    assert_int_equal(l.point, TRACE_LOAD);
    assert_string_equal(l.name, "0000:00:1f.2/ich9_ahci");
    assert_int_equal(l.instance, 3);
}

static void parses_without_time(void **state)
{
    (void)state;
    struct trace_line l = line_of("vmstate_downtime_checkpoint src-downtime-end");
    assert_string_equal(l.name, "src-downtime-end");
    assert_true(l.at_ns == TRIAL_NEVER);
    l = line_of("vmstate_downtime_save type=non-iterable idstr=a name of its own instance_id=1 "
                "downtime=7");
    assert_string_equal(l.name, "a name of its own");
    assert_int_equal(l.took_ns, 7 * NS_PER_US);
}

static void refuses_what_is_none(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "\n",
        "2026-11-26T04:38:45.718664Z qemu-system-x86_64: terminating on signal 15",
        "vmstate_downtime_checkpoint ",
        "vmstate_downtime_save type=iterable",
        "vmstate_downtime_save type=iterable idstr=ram instance_id=0 downtime=",
        "vmstate_downtime_save instance_id=0 downtime=3 type=x idstr=ram",
        "1@2.3:migrate_set_state new state active",
    };
    struct trace_line l;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (trace_log_parse(others[i], 0, &l))
            fail_msg("'%s'", others[i]);
}

static void reads_from_an_offset(void **state)
{
    (void)state;
    char path[] = "/tmp/test-trace-log.XXXXXX";
    struct trace_log log;
    struct err e = {0};
    struct timespec now;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    clock_gettime(CLOCK_REALTIME, &now);
    dprintf(fd, "1@5.000001:vmstate_downtime_checkpoint src-downtime-start\n");
    int64_t from = trace_log_end(path);
    assert_true(from > 0);
    dprintf(fd,
            "some other line\n1@%lld.%06ld:vmstate_downtime_checkpoint src-vm-stopped\n"
            "1@5.000003:vmstate_downtime_checkpoint src-iter",
            (long long)now.tv_sec, now.tv_nsec / 1000);
    assert_int_equal(trace_log_read(path, from, &log, &e), 0);
    assert_int_equal(log.n, 1); /* the last one is cut */
    assert_string_equal(log.lines[0].name, "src-vm-stopped");
    assert_true(llabs(log.lines[0].at_ns - clock_now_ns()) < NS_PER_S);
    trace_log_free(&log);

    assert_int_equal(ftruncate(fd, 0), 0); /* rotated: what is there now is new */
    dprintf(fd, "x\n");
    assert_int_equal(trace_log_read(path, from, &log, &e), 0);
    assert_int_equal(log.n, 0);
    close(fd);
    unlink(path);
    assert_int_equal(trace_log_end(path), 0);
    assert_int_equal(trace_log_read(path, 0, &log, &e), 0);
    assert_int_equal(log.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_what_qemu_writes),
        cmocka_unit_test(parses_without_time),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(reads_from_an_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
