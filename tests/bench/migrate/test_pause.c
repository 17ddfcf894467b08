/* SPDX-License-Identifier: Apache-2.0 */
/* The pause of one migration of a bare-metal guest between two QEMUs 10.0.2, as they logged it: the
 * lines of most devices are left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/migrate/pause.h"
#include "core/clock.h"

#define STARTED_NS (1795667456 * NS_PER_S)
#define US(n) ((n)*NS_PER_US)

static const char *const source_lines[] = {
    "22702@1795667456.112750:vmstate_downtime_checkpoint src-downtime-start",
    "22702@1795667456.113000:vmstate_downtime_save type=iterable idstr=ram instance_id=0 downtime=9",
    "22702@1795667456.212750:vmstate_downtime_checkpoint src-downtime-start",
    "22702@1795667456.213455:vmstate_downtime_checkpoint src-vm-stopped",
    "22702@1795667456.214362:vmstate_downtime_save type=iterable idstr=ram instance_id=0 downtime=361",
    "22702@1795667456.214415:vmstate_downtime_checkpoint src-iterable-saved",
    "22702@1795667456.214595:vmstate_downtime_save type=non-iterable idstr=ram instance_id=0 downtime=2",
    "22702@1795667456.215746:vmstate_downtime_save type=non-iterable idstr=cpu instance_id=0 downtime=1053",
    "22702@1795667456.216327:vmstate_downtime_save type=non-iterable idstr=dma instance_id=0 downtime=39",
    "22702@1795667456.216339:vmstate_downtime_save type=non-iterable idstr=dma instance_id=1 downtime=8",
    "22702@1795667456.221675:vmstate_downtime_save type=non-iterable idstr=smbus-eeprom instance_id=0 downtime=11",
    "22702@1795667456.223764:vmstate_downtime_checkpoint src-non-iterable-saved",
    "22702@1795667456.223784:vmstate_downtime_checkpoint src-downtime-end",
};

static const char *const destination_lines[] = {
    "22500@1795667456.215142:vmstate_downtime_load type=iterable idstr=ram instance_id=0 downtime=879",
    "22500@1795667456.222450:vmstate_downtime_load type=non-iterable idstr=cpu instance_id=0 downtime=120",
    "22500@1795667456.228995:vmstate_downtime_load type=non-iterable idstr=dma instance_id=0 downtime=11",
    "22500@1795667456.229001:vmstate_downtime_load type=non-iterable idstr=dma instance_id=1 downtime=2",
    "22500@1795667456.242715:vmstate_downtime_checkpoint dst-precopy-loadvm-completed",
    "22500@1795667456.242771:vmstate_downtime_checkpoint dst-precopy-bh-enter",
    "22500@1795667456.242823:vmstate_downtime_checkpoint dst-precopy-bh-announced",
    "22500@1795667456.244529:vmstate_downtime_checkpoint dst-precopy-bh-vm-started",
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static struct trace_log log_of(const char *const *lines, size_t n)
{
    struct trace_log log = {.lines = calloc(n, sizeof *log.lines), .n = n};
    for (size_t i = 0; i < n; i++)
        assert_true(trace_log_parse(lines[i], STARTED_NS, &log.lines[i]));
    return log;
}

static struct trial_event events[] = {
    {US(100), TRIAL_SOURCE, "STOP", ""}, /* taken back */
    {US(200), TRIAL_SOURCE, "RESUME", ""},
    {US(213300), TRIAL_SOURCE, "STOP", ""},
    {US(213900), TRIAL_SOURCE, "MIGRATION", "device"},
    {US(244400), TRIAL_DESTINATION, "RESUME", ""},
};

static struct trial_beat beats[] = {
    {US(190000), 7, 0, TRIAL_SOURCE},
    {US(210000), 8, 0, TRIAL_SOURCE},
    {US(261000), 9, 0, TRIAL_DESTINATION},
    {US(271000), 10, 0, TRIAL_DESTINATION},
};

static void device_is(const struct trial_pause *p, const char *name, int64_t save_ns,
                      int64_t load_ns)
{
    for (size_t i = 0; i < p->devices_n; i++) {
        if (strcmp(p->devices[i].name, name) != 0)
            continue;
        assert_true(p->devices[i].save_ns == save_ns);
        assert_true(p->devices[i].load_ns == load_ns);
        return;
    }
    fail_msg("there is no %s", name);
}

static void all_is_known_of_a_new_qemu(void **state)
{
    (void)state;
    struct err e = {0};
    struct trial t = {
        .timeline = {
            .events = events, .events_n = COUNT(events), .beats = beats, .beats_n = COUNT(beats)}};
    struct trace_log log[] = {log_of(source_lines, COUNT(source_lines)),
                              log_of(destination_lines, COUNT(destination_lines))};
    assert_int_equal(pause_fill(&t, log, &e), 0);
    const struct trial_pause *p = &t.pause;
    assert_true(p->last_beat_ns == US(210000));
    assert_true(p->stopped_ns == US(213300));
    assert_true(p->ram_sent_ns == US(214415));
    assert_true(p->devices_sent_ns == US(223764));
    assert_true(p->loaded_ns == US(242715));
    assert_true(p->resumed_ns == US(244400));
    assert_true(p->first_beat_ns == US(261000));
    assert_int_equal(p->devices_n, 5);
    device_is(p, "ram", US(363), US(879)); /* of the last attempt: its last pass and its state */
    device_is(p, "cpu", US(1053), US(120));
    device_is(p, "dma", US(39), US(11));
    device_is(p, "dma#1", US(8), US(2));
    device_is(p, "smbus-eeprom", US(11), TRIAL_NEVER); /* nothing to load */
    free(t.pause.devices);
    for (int i = 0; i < TRIAL_SIDES; i++)
        trace_log_free(&log[i]);
}

static void the_log_stands_in_for_events(void **state)
{
    (void)state;
    struct err e = {0};
    struct trial t = {0};
    struct trace_log log[] = {log_of(source_lines, COUNT(source_lines)),
                              log_of(destination_lines, COUNT(destination_lines))};
    assert_int_equal(pause_fill(&t, log, &e), 0);
    assert_true(t.pause.stopped_ns == US(213455));
    assert_true(t.pause.resumed_ns == US(244529));
    assert_true(t.pause.first_beat_ns == TRIAL_NEVER);
    free(t.pause.devices);
    for (int i = 0; i < TRIAL_SIDES; i++)
        trace_log_free(&log[i]);
}

static void an_old_qemu_has_events_only(void **state)
{
    (void)state;
    struct err e = {0};
    struct trial t = {.timeline = {.events = events, .events_n = COUNT(events)}};
    const struct trace_log log[TRIAL_SIDES] = {{0}};
    assert_int_equal(pause_fill(&t, log, &e), 0);
    assert_true(t.pause.stopped_ns == US(213300));
    assert_true(t.pause.resumed_ns == US(244400));
    assert_true(t.pause.ram_sent_ns == TRIAL_NEVER);
    assert_true(t.pause.devices_sent_ns == TRIAL_NEVER);
    assert_true(t.pause.loaded_ns == TRIAL_NEVER);
    assert_int_equal(t.pause.devices_n, 0);
    assert_null(t.pause.devices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_known_of_a_new_qemu),
        cmocka_unit_test(the_log_stands_in_for_events),
        cmocka_unit_test(an_old_qemu_has_events_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
