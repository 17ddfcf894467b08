/* SPDX-License-Identifier: Apache-2.0 */
/* A QEMU as one side of a migration, from the probe to its end. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "vm_side.h"

static void test_probe(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_EXPECT_END}};
    struct side s;
    side_open_probed(&s, FAKE_QMP("10.0", steps));
    assert_string_equal(s.facts.hypervisor, "QEMU 10.0.2");
    assert_string_equal(s.facts.machine, "pc-q35-10.0");
    assert_int_equal(s.facts.ram_bytes, 268435456 + 65536);
    assert_int_equal(s.facts.vcpus, 2);
    assert_string_equal(s.facts.uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    assert_true(s.facts.kvm);
    assert_int_equal(s.facts.run, VM_RUN_RUNNING);
    assert_int_equal(s.facts.migration, VM_MIGRATION_NONE);
    assert_int_equal(s.facts.peer_pid, getpid());
    side_close(&s);
}

static void test_check_capabilities(void **state)
{
    (void)state;
    static const struct fake_step usual[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    static const struct fake_step without[] = {{.what = FAKE_ACCEPT},
                                               PROBE("true"),
                                               CAPS(CAP("events", "false")),
                                               {.what = FAKE_EXPECT_END}};
    static const struct fake_step xbzrle[] = {{.what = FAKE_ACCEPT},
                                              PROBE("true"),
                                              CAPS(USUAL "," CAP("xbzrle", "true")),
                                              {.what = FAKE_EXPECT_END}};
    static const struct fake_step preempt[] = {{.what = FAKE_ACCEPT},
                                               PROBE("true"),
                                               CAPS(USUAL "," CAP("postcopy-preempt", "true")),
                                               {.what = FAKE_EXPECT_END}};
    CHECK("10.0", usual, SETTINGS(.multifd_channels = 4), ERR_NONE, "");
    CHECK("10.0", usual, SETTINGS(.postcopy = true), ERR_NONE, "");
    CHECK("10.0", usual, SETTINGS(.postcopy = true, .multifd_channels = 2), ERR_REFUSED,
          "source: migration capability multifd cannot go with postcopy-ram");
    CHECK("10.0", without, SETTINGS(.multifd_channels = 4), ERR_REFUSED,
          "source: QEMU 10.0.2 has no migration capability multifd");
    CHECK("10.0", without, SETTINGS(.postcopy = true), ERR_REFUSED, "capability postcopy-ram");
    CHECK("10.0", without, SETTINGS(.unsafe = false), ERR_NONE, "");
    /* what somebody else has set */
    CHECK("10.0", xbzrle, SETTINGS(.multifd_channels = 4), ERR_REFUSED,
          "multifd cannot go with xbzrle");
    CHECK("10.0", xbzrle, SETTINGS(.unsafe = false), ERR_NONE, "");
    CHECK("10.0", preempt, SETTINGS(.unsafe = false), ERR_REFUSED,
          "postcopy-preempt needs postcopy-ram");
    CHECK("10.0", preempt, SETTINGS(.postcopy = true), ERR_NONE, "");
}

static void test_check_tcg(void **state)
{
    (void)state;
    static const struct fake_step tcg[] = {
        {.what = FAKE_ACCEPT}, PROBE_7("false"), {.what = FAKE_EXPECT_END}};
    static const struct fake_step tcg_unsafe[] = {
        {.what = FAKE_ACCEPT}, PROBE_7("false"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    static const struct fake_step kvm[] = {
        {.what = FAKE_ACCEPT}, PROBE_7("true"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    static const struct fake_step tcg_10[] = {
        {.what = FAKE_ACCEPT}, PROBE("false"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    CHECK("7.2", tcg, SETTINGS(.unsafe = false), ERR_REFUSED, "QEMU 7.2.2 under TCG corrupts");
    CHECK("7.2", tcg_unsafe, SETTINGS(.unsafe = true), ERR_NONE, "");
    CHECK("7.2", kvm, SETTINGS(.unsafe = false), ERR_NONE, "");
    CHECK("10.0", tcg_10, SETTINGS(.unsafe = false), ERR_NONE, "");
}

#define SMALL_SCHEMA                                                                                             \
    "[{\"name\":\"migrate-set-parameters\",\"meta-type\":\"command\",\"arg-type\":\"1\",\"ret-type\":\"2\"},"    \
    "{\"name\":\"1\",\"meta-type\":\"object\",\"members\":[{\"name\":\"multifd-compression\",\"type\":\"3\"}]}," \
    "{\"name\":\"3\",\"meta-type\":\"enum\",\"values\":[\"none\",\"zlib\"]}]"

static void test_check_compression(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        PROBE("true"),
        CAPS(USUAL),
        {.what = FAKE_LOOSE, .command = "query-qmp-schema", .text = SMALL_SCHEMA},
        {.what = FAKE_EXPECT_END}};
    static const struct fake_step unasked[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    CHECK("10.0", steps, SETTINGS(.multifd_channels = 2, .compression = VM_COMPRESSION_ZLIB),
          ERR_NONE, "");
    CHECK("10.0", steps, SETTINGS(.multifd_channels = 2, .compression = VM_COMPRESSION_ZSTD),
          ERR_REFUSED, "source: QEMU 10.0.2 cannot compress with zstd");
    CHECK("10.0", unasked, SETTINGS(.compression = VM_COMPRESSION_ZSTD), ERR_REFUSED,
          "compression zstd needs multifd");
}

static void test_listen_arms_first(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SET("cont", NULL),
        SET("migrate-incoming", "{\"uri\":\"tcp:0:4444\"}"),
        SET("migrate", "{\"uri\":\"tcp:b:4444\"}"),
        SET("migrate-start-postcopy", NULL),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->listen(s.vm, "tcp:0:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->switch_over(s.vm, &s.e), 0);
    side_close(&s);
}

#define GATE_STATE "{\"state\":\"pre-switchover\"}"
#define AT_GATE                                                                               \
    {                                                                                         \
        .what = FAKE_EVENT, .command = "MIGRATION", .text = "{\"status\":\"pre-switchover\"}" \
    }
#define STANDS REPLY("query-migrate", "{\"status\":\"pre-switchover\"}"), STATUS("finish-migrate")

/* A source that stands at its gate is let go on: at its word, and where that was not heard by what it
 * is seen to do; and no more once it has been told to give up. */
static void test_gate(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        AT_GATE, /* of somebody else's migration */
        SET("migrate", "{\"uri\":\"tcp:b:4444\"}"),
        AT_GATE,
        SET("migrate-continue", GATE_STATE),
        STANDS,
        SET("migrate-continue", GATE_STATE),
        SET("migrate_cancel", NULL),
        AT_GATE,
        STANDS,
        REPLY("query-migrate", "{\"status\":\"cancelled\"}"),
        STATUS("running"),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    struct vm_sample sample;
    side_open(&s, FAKE_QMP("10.0", steps));
    ((struct vm_qmp *)s.vm)->gated = true;
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    if (s.vm->ops->sample(s.vm, &sample, &s.e) < 0) {
        fake_qmp_end(s.fake);
        fail_msg("%s", s.e.msg);
    }
    assert_int_equal(sample.migration, VM_MIGRATION_ACTIVE);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    if (s.vm->ops->cancel(s.vm, &s.e) < 0)
        fail_msg("%s", s.e.msg);
    side_close(&s);
}

/* Without a gate nobody's is opened. */
static void test_no_gate(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},     SET("migrate", "{\"uri\":\"tcp:b:4444\"}"), AT_GATE, STANDS,
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    struct vm_sample sample;
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    side_close(&s);
}

static void test_run_and_events(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SET("stop", NULL),
        STATUS("inmigrate"),
        {.what = FAKE_EVENT, .command = "STOP"},
        {.what = FAKE_EVENT, .command = "RESUME"},
        SET("cont", NULL),
        STATUS("running"),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    enum vm_run now;
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_int_equal(now, VM_RUN_INCOMING);
    assert_int_equal(s.vm->ops->run(s.vm, true, &now, &s.e), 0);
    assert_int_equal(now, VM_RUN_RUNNING);
    assert_true(s.vm->changed && s.vm->seen.stopped_ns > 0);
    assert_true(s.vm->seen.resumed_ns >= s.vm->seen.stopped_ns);
    side_close(&s);
}

#define IO_ERROR(does)                                                                            \
    {                                                                                             \
        .what = FAKE_EVENT, .command = "BLOCK_IO_ERROR",                                          \
        .text = "{\"device\":\"\",\"node-name\":\"d\",\"operation\":\"write\",\"action\":\"" does \
                "\",\"reason\":\"No space left on device\"}"                                      \
    }

/* A STOP after it is no switchover; one after another resume is. */
static void test_an_io_error_is_no_switchover(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SET("stop", NULL),
        IO_ERROR("report"), /* the guest sees to it itself */
        {.what = FAKE_EVENT, .command = "STOP"},
        STATUS("paused"),
        REPLY("query-migrate", "{\"status\":\"active\"}"),
        IO_ERROR("stop"),
        {.what = FAKE_EVENT, .command = "STOP"},
        STATUS("io-error"),
        SET("stop", NULL),
        {.what = FAKE_EVENT, .command = "RESUME"},
        {.what = FAKE_EVENT, .command = "STOP"},
        STATUS("paused"),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    struct vm_sample sample;
    enum vm_run now;
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_true(s.vm->seen.stopped_ns > 0 && !s.vm->seen.io_error);
    assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
    assert_true(s.vm->seen.io_error && sample.io_error);
    assert_int_equal(sample.run, VM_RUN_STOPPED);
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_false(s.vm->seen.io_error);
    side_close(&s);
}

static void test_cancel_waits(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SET("migrate_cancel", NULL),
        REPLY("query-migrate", "{\"status\":\"cancelling\"}"),
        STATUS("finish-migrate"),
        REPLY("query-migrate", "{\"status\":\"cancelled\"}"),
        STATUS("running"),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->cancel(s.vm, &s.e), 0);
    side_close(&s);
}

/* ssh drops, QEMU lives: the next operation connects anew. Also when Ctrl-C has been pressed: the
 * roll-back has to be said on this line. */
static void test_reconnect(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT}, {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT}, REPLY("query-migrate", "{\"status\":\"active\"}"),
        STATUS("running"),     {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT}, SET("stop", NULL),
        STATUS("paused"),      {.what = FAKE_EXPECT_END},
    };
    struct side s;
    struct vm_sample sample;
    enum vm_run now;
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(loop_catch_signals(s.loop, &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_true(s.vm->changed);
    assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
    assert_int_equal(sample.migration, VM_MIGRATION_ACTIVE);
    raise(SIGINT);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(loop_interrupts(s.loop), 1);
    if (s.vm->ops->run(s.vm, false, &now, &s.e) < 0)
        fail_msg("%s: %s", err_class_name(s.e.class), s.e.msg);
    assert_int_equal(now, VM_RUN_STOPPED);
    side_close(&s);
}

/* Runs it by sh, as a person would; what it says. */
static void type(const char *command, char *said, size_t room)
{
    FILE *f = popen(command, "re");
    assert_non_null(f);
    said[fread(said, 1, room - 1, f)] = '\0';
    assert_int_equal(pclose(f), 0);
}

/* What is printed in an emergency can be typed as it is. */
static void test_commands_can_be_typed(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},       {.what = FAKE_CLOSE}, {.what = FAKE_ACCEPT},
        STATUS("inmigrate"),         {.what = FAKE_CLOSE}, {.what = FAKE_ACCEPT},
        SET("migrate_cancel", NULL), SET("cont", NULL),    {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},       SET("stop", NULL),    {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},       SET("quit", NULL),    {.what = FAKE_CLOSE}};
    enum fake_transport transports[] = {FAKE_UNIX, FAKE_TCP};
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++) {
        struct side s;
        char said[4096];
        side_open(&s, fake_qmp_start("10.0", transports[i], steps, sizeof steps / sizeof *steps));
        const struct vm_commands *h = &s.vm->commands;
        type(h->look, said, sizeof said);
        assert_non_null(strstr(said, "\"status\":\"inmigrate\""));
        type(h->go_on, said, sizeof said);
        type(h->stop, said, sizeof said);
        type(h->end, said, sizeof said);
        side_close(&s);
    }
}

/* A path that is words for the shell, and signs for socat; over ssh it is typed there. */
static void test_commands_are_quoted(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-vm-hand-XXXXXX", link[64], text[96], said[4096];
    static const struct fake_step steps[] = {{.what = FAKE_ACCEPT},
                                             {.what = FAKE_CLOSE},
                                             {.what = FAKE_ACCEPT},
                                             STATUS("running"),
                                             {.what = FAKE_CLOSE}};
    struct qmp_endpoint ep;
    struct side s = {.fake = FAKE_QMP("10.0", steps)};
    assert_non_null(mkdtemp(dir));
    snprintf(link, sizeof link, "%s/it's, a:b $x", dir);
    assert_int_equal(symlink(fake_qmp_path(s.fake), link), 0);
    snprintf(text, sizeof text, "qmp+unix:%s", link);
    s.loop = loop_new(&s.e);
    assert_int_equal(qmp_endpoint_parse(text, &ep, &s.e), 0);
    s.vm = vm_qmp_open(s.loop, &ep, "destination", &s.e);
    assert_non_null(s.vm);
    type(s.vm->commands.look, said, sizeof said);
    assert_non_null(strstr(said, "\"status\":\"running\""));
    side_close(&s);
    unlink(link);
    rmdir(dir);
}

/* Each side its own way, also as typed by hand. */
static void test_recover(void **state)
{
    (void)state;
    static const struct fake_step there[] = {
        {.what = FAKE_ACCEPT},
        SET("migrate-pause", NULL),
        SET("migrate-recover", "{\"uri\":\"tcp:b:0\"}"),
        {.what = FAKE_REPLY,
         .command = "query-migrate",
         .text =
             "{\"status\":\"postcopy-paused\",\"socket-address\":[{\"type\":\"inet\",\"host\":\"b\","
             "\"port\":\"40123\"}]}"},
        {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},
        SET("migrate-recover", "{\"uri\":\"unix:/it's $x\"}"),
        {.what = FAKE_CLOSE}};
    static const struct fake_step here[] = {
        {.what = FAKE_ACCEPT},
        SET("migrate", "{\"uri\":\"tcp:b:40123\",\"resume\":true}"),
        {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},
        SET("migrate", "{\"uri\":\"unix:/it's $x\",\"resume\":true}"),
        {.what = FAKE_CLOSE}};
    char said[4096];
    unsigned port = 0;
    struct side s;
    side_open(&s, FAKE_QMP("10.0", there));
    struct vm_qmp *q = (struct vm_qmp *)s.vm;
    q->armed = true;
    if (s.vm->ops->recover(s.vm, NULL, NULL, &s.e) < 0)
        fail_msg("%s", s.e.msg);
    assert_int_equal(s.vm->ops->recover(s.vm, "tcp:b:0", &port, &s.e), 0);
    assert_int_equal(port, 40123);
    loop_sleep(s.loop, 50 * NS_PER_MS);
    type(vm_qmp_recover_command(q, "unix:/it's $x"), said, sizeof said);
    side_close(&s);
    side_open(&s, FAKE_QMP("10.0", here));
    q = (struct vm_qmp *)s.vm;
    assert_int_equal(s.vm->ops->recover(s.vm, "tcp:b:40123", NULL, &s.e), 0);
    loop_sleep(s.loop, 50 * NS_PER_MS);
    type(vm_qmp_recover_command(q, "unix:/it's $x"), said, sizeof said);
    assert_null(vm_qmp_recover_command(q, "unix:/a\"b"));
    side_close(&s);
}

static void test_quit(void **state)
{
    (void)state;
    static const struct fake_step answered[] = {
        {.what = FAKE_ACCEPT}, SET("quit", NULL), {.what = FAKE_CLOSE}};
    static const struct fake_step gone[] = {
        {.what = FAKE_ACCEPT}, {.what = FAKE_HOLD, .command = "quit"}, {.what = FAKE_CLOSE}};
    struct side s;
    side_open(&s, FAKE_QMP("10.0", answered));
    assert_int_equal(s.vm->ops->quit(s.vm, &s.e), 0);
    side_close(&s);
    side_open(&s, FAKE_QMP("10.0", gone));
    assert_int_equal(s.vm->ops->quit(s.vm, &s.e), 0);
    side_close(&s);
}

#define LOOKED(times, sent, left)                                                                 \
    {.what = FAKE_LOOSE,                                                                          \
     .command = "query-migrate",                                                                  \
     .text =                                                                                      \
         "{\"status\":\"active\",\"ram\":{\"total\":409600,\"transferred\":9,\"remaining\":" left \
         ",\"page-size\":4096,\"normal\":" sent ",\"duplicate\":0,\"mbps\":8.0,"                  \
         "\"dirty-sync-count\":" times "}}"},                                                     \
        STATUS("running")

/* Words of QEMU 11.1.3 with postcopy-ram: it has looked for dirty pages 31 times, and is in its first
 * pass, which the next migration begins anew. */
static void test_passes(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},        SET("migrate", NULL),          LOOKED("1", "1", "405504"),
        LOOKED("31", "50", "300000"), LOOKED("62", "101", "200000"), SET("migrate", NULL),
        LOOKED("1", "0", "409600"),   {.what = FAKE_EXPECT_END}};
    static const uint64_t passes[] = {1, 1, 2};
    struct side s;
    struct vm_sample sample;
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
        assert_int_equal(sample.passes, passes[i]);
    }
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
    assert_int_equal(sample.passes, 1);
    side_close(&s);
}

/* An armed destination that runs when it is stopped has run, also where RESUME was not heard. */
static void test_stopped_while_it_ran(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},    SET("cont", NULL), SET("migrate-incoming", NULL),
        STATUS("inmigrate"),      SET("stop", NULL), STATUS("inmigrate"),
        STATUS("running"),        SET("stop", NULL), STATUS("paused"),
        {.what = FAKE_EXPECT_END}};
    struct side s;
    enum vm_run now;
    side_open_as(&s, "destination", FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->listen(s.vm, "tcp:0:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_false(s.vm->seen.ran);
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_int_equal(now, VM_RUN_STOPPED);
    assert_true(s.vm->seen.ran);
    side_close(&s);
}

int main(int argc, char **argv)
{
    side_set_thread(getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_check_capabilities),
        cmocka_unit_test(test_check_tcg),
        cmocka_unit_test(test_check_compression),
        cmocka_unit_test(test_listen_arms_first),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_no_gate),
        cmocka_unit_test(test_run_and_events),
        cmocka_unit_test(test_an_io_error_is_no_switchover),
        cmocka_unit_test(test_cancel_waits),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_recover),
        cmocka_unit_test(test_quit),
        cmocka_unit_test(test_commands_can_be_typed),
        cmocka_unit_test(test_commands_are_quoted),
        cmocka_unit_test(test_stopped_while_it_ran),
        cmocka_unit_test(test_passes),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests_name("vm_qmp", tests, NULL, NULL);
}
