/* SPDX-License-Identifier: Apache-2.0 */
/* The typed commands: what QEMU may say, in any version, and what it should not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "fake_qmp.h"
#include "qmp/command.h"

struct talk {
    struct loop *loop;
    struct fake_qmp *fake;
    struct qmp_client *c;
    struct fake_step steps[3];
    struct err e;
};

static void on_event(void *arg, const char *name, struct json_object *data)
{
    (void)arg, (void)name, (void)data;
}

/* One command, answered with `text`; `loose`: which no QEMU would say. */
static struct qmp_client *begin(struct talk *t, const char *command, const char *text, bool loose)
{
    struct qmp_endpoint ep;
    *t = (struct talk){
        .steps = {{.what = FAKE_ACCEPT},
                  {.what = loose ? FAKE_LOOSE : FAKE_REPLY, .command = command, .text = text},
                  {.what = FAKE_EXPECT_END}}};
    t->fake = FAKE_QMP("10.0", t->steps);
    t->loop = loop_new(&t->e);
    assert_int_equal(qmp_endpoint_parse(fake_qmp_endpoint(t->fake), &ep, &t->e), 0);
    t->c = qmp_client_open(t->loop, &ep, NS_PER_S, true, on_event, NULL, &t->e);
    assert_non_null(t->c);
    return t->c;
}

static void end(struct talk *t)
{
    qmp_client_close(t->c);
    loop_free(t->loop);
    fake_qmp_end(t->fake);
}

static enum vm_run run_of(const char *status)
{
    char text[100];
    struct talk t;
    enum vm_run run;
    snprintf(text, sizeof text, "{\"running\":false,\"status\":\"%s\"}", status);
    begin(&t, "query-status", text, true);
    assert_int_equal(qmp_query_status(t.c, &run, &t.e), 0);
    end(&t);
    return run;
}

static void test_status_is_read(void **state)
{
    (void)state;
    assert_int_equal(run_of("running"), VM_RUN_RUNNING);
    assert_int_equal(run_of("suspended"), VM_RUN_RUNNING);
    assert_int_equal(run_of("paused"), VM_RUN_STOPPED);
    assert_int_equal(run_of("io-error"), VM_RUN_STOPPED);
    assert_int_equal(run_of("inmigrate"), VM_RUN_INCOMING);
    assert_int_equal(run_of("postmigrate"), VM_RUN_MIGRATED);
    assert_int_equal(run_of("finish-migrate"), VM_RUN_FINISHING);
    assert_int_equal(run_of("guest-panicked"), VM_RUN_SHUTDOWN);
    assert_int_equal(run_of("levitating"), VM_RUN_UNKNOWN);
}

static struct vm_sample sample_of(const char *text, bool loose)
{
    struct talk t;
    struct vm_sample s = {0};
    begin(&t, "query-migrate", text, loose);
    if (qmp_query_migrate(t.c, &s, &t.e) < 0)
        fail_msg("%s: %s", text, t.e.msg);
    end(&t);
    return s;
}

#define RAM_REST                                                                      \
    "\"duplicate\":100,\"normal\":50,\"normal-bytes\":0,\"mbps\":80.0,\"skipped\":0," \
    "\"postcopy-requests\":0,\"multifd-bytes\":0,\"pages-per-second\":0,"             \
    "\"precopy-bytes\":0,\"downtime-bytes\":0,\"postcopy-bytes\":0,"                  \
    "\"dirty-sync-missed-zero-copy\":0"

static void test_query_migrate_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum vm_migration migration;
    } words[] = {
        {"{\"status\":\"none\"}", VM_MIGRATION_NONE},
        {"{}", VM_MIGRATION_NONE},
        {"{\"status\":\"active\",\"new-field\":{\"x\":1}}", VM_MIGRATION_ACTIVE},
        {"{\"status\":\"pre-switchover\"}", VM_MIGRATION_ACTIVE},
        {"{\"status\":\"device\"}", VM_MIGRATION_DEVICE},
        {"{\"status\":\"postcopy-active\"}", VM_MIGRATION_POSTCOPY},
        {"{\"status\":\"postcopy-paused\"}", VM_MIGRATION_PAUSED},
        {"{\"status\":\"failing\"}", VM_MIGRATION_CANCELLING},
        {"{\"status\":\"completed\"}", VM_MIGRATION_COMPLETED},
        {"{\"status\":\"teleporting\"}", VM_MIGRATION_UNKNOWN},
        {"{\"socket-address\":[]}", VM_MIGRATION_SETUP},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (sample_of(words[i].text, true).migration != words[i].migration)
            fail_msg("%s", words[i].text);

    struct vm_sample s = sample_of(
        "{\"status\":\"failed\",\"error-desc\":\"broken pipe\",\"total-time\":1500,\"downtime\":21,"
        "\"expected-downtime\":300,\"ram\":{\"total\":1000,\"transferred\":600,\"remaining\":400,"
        "\"page-size\":4096,\"dirty-pages-rate\":10,\"dirty-sync-count\":3," RAM_REST "}}",
        true);
    assert_int_equal(s.migration, VM_MIGRATION_FAILED);
    assert_string_equal(s.reason, "broken pipe");
    assert_true(s.downtime_ns == 21 * NS_PER_MS);
    assert_true(s.ram_total_bytes == 1000 && s.ram_transferred_bytes == 600);
    assert_true(s.dirty_bytes_per_s == 40960 && s.bandwidth_bytes_per_s == 10000000);
    assert_int_equal(s.passes, 0); /* dirty-sync-count is none: core/migrate/passes.h */
    assert_int_equal(s.ram_handled_bytes, 4096 * (100 + 50));
}

/* Numbers that cannot be: whatever they become, they break nothing. */
static void test_absurd_numbers_do_no_harm(void **state)
{
    (void)state;
    sample_of("{\"status\":\"active\",\"total-time\":9223372036854775807,\"downtime\":-5}", true);
    sample_of("{\"status\":\"active\",\"total-time\":18446744073709551615}", true);
    sample_of("{\"status\":\"active\",\"ram\":{\"mbps\":1e300,\"dirty-pages-rate\":-1}}", true);
    sample_of("{\"status\":\"active\",\"downtime\":1e300}", true);
}

static void refused(const char *text, const char *says)
{
    struct talk t;
    struct vm_sample s = {0};
    begin(&t, "query-migrate", text, true);
    assert_int_equal(qmp_query_migrate(t.c, &s, &t.e), -1);
    assert_int_equal(t.e.class, ERR_PROTO);
    if (strstr(t.e.msg, says) == NULL)
        fail_msg("'%s' does not say '%s'", t.e.msg, says);
    end(&t);
}

static void test_wrong_types_are_reported_with_their_path(void **state)
{
    (void)state;
    refused("{\"status\":5}", "query-migrate: status: not a string");
    refused("{\"status\":\"active\",\"ram\":{\"transferred\":\"many\"}}",
            "query-migrate: ram.transferred: not an integer");
}

static void test_capabilities_are_read(void **state)
{
    (void)state;
    struct talk t;
    qmp_capability_set on, known;
    begin(
        &t, "query-migrate-capabilities",
        "[{\"capability\":\"multifd\",\"state\":true},{\"capability\":\"events\",\"state\":false},"
        "{\"capability\":\"brand-new\",\"state\":true}]",
        true);
    assert_int_equal(qmp_query_capabilities(t.c, &on, &known, &t.e), 0);
    assert_int_equal(on, CAP_BIT(CAP_MULTIFD));
    assert_int_equal(known, CAP_BIT(CAP_MULTIFD) | CAP_BIT(CAP_EVENTS));
    end(&t);
    begin(&t, "query-migrate-capabilities", "[{\"capability\":\"multifd\"}]", true);
    assert_int_equal(qmp_query_capabilities(t.c, &on, &known, &t.e), -1);
    assert_int_equal(t.e.class, ERR_PROTO);
    end(&t);
}

static void test_the_machine_type_is_read(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"\"pc-q35-10.0-machine\"", "pc-q35-10.0"},
                                           {"\"odd-machine-x\"", "odd-machine-x"},
                                           {"\"\"", ""}};
    for (size_t i = 0; i < 3; i++) {
        struct talk t;
        char name[64];
        begin(&t, "qom-get", names[i][0], false);
        assert_int_equal(qmp_query_machine(t.c, name, sizeof name, &t.e), 0);
        assert_string_equal(name, names[i][1]);
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_is_read),
        cmocka_unit_test(test_query_migrate_is_read),
        cmocka_unit_test(test_absurd_numbers_do_no_harm),
        cmocka_unit_test(test_wrong_types_are_reported_with_their_path),
        cmocka_unit_test(test_capabilities_are_read),
        cmocka_unit_test(test_the_machine_type_is_read),
    };
    return cmocka_run_group_tests_name("command", tests, NULL, NULL);
}
