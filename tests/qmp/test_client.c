/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the other side does: each callback runs once, and never from within a send. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "fake_qmp.h"
#include "qmp/client.h"

#define LONG_NS (5 * NS_PER_S)

/* One command and what became of it. */
struct sent {
    struct conversation *of;
    int calls;
    enum err_class class;
    char msg[256];
    char result[128];
    bool send_again; /* from within the callback */
    struct sent *again;
};

struct conversation {
    struct loop *loop;
    struct fake_qmp *fake;
    struct qmp_client *client;
    struct err e;
    int events, losses;
    char last_event[64];
    bool sending;
    int total;
    bool all; /* total callbacks have run */
    int wanted;
};

static void on_event(void *arg, const char *name, struct json_object *data)
{
    (void)data;
    struct conversation *c = arg;
    if (name == NULL) {
        c->losses++;
    } else {
        c->events++;
        snprintf(c->last_event, sizeof c->last_event, "%s", name);
    }
}

static void submit(struct conversation *c, struct sent *s, const char *command, int64_t timeout_ns);

static void on_reply(void *arg, struct json_object *result, const struct err *e)
{
    struct sent *s = arg;
    struct conversation *c = s->of;
    assert_false(c->sending);
    s->calls++;
    s->class = e->class;
    snprintf(s->msg, sizeof s->msg, "%s", e->msg);
    if (result != NULL)
        snprintf(s->result, sizeof s->result, "%s", json_object_to_json_string(result));
    assert_true(e->class == ERR_NONE || result == NULL);
    c->all = ++c->total >= c->wanted;
    if (s->send_again)
        submit(c, s->again, "query-status", LONG_NS);
}

static void submit(struct conversation *c, struct sent *s, const char *command, int64_t timeout_ns)
{
    s->of = c;
    c->sending = true;
    qmp_client_send(c->client, command, NULL, timeout_ns, on_reply, s);
    c->sending = false;
}

static void open_it(struct conversation *c, struct fake_qmp *fake)
{
    struct qmp_endpoint ep;
    *c = (struct conversation){.fake = fake};
    c->loop = loop_new(&c->e);
    assert_non_null(c->loop);
    assert_int_equal(qmp_endpoint_parse(fake_qmp_endpoint(fake), &ep, &c->e), 0);
    c->client = qmp_client_open(c->loop, &ep, 500 * NS_PER_MS, true, on_event, c, &c->e);
}

static void await(struct conversation *c, int callbacks)
{
    struct err e = {0};
    c->wanted = callbacks;
    c->all = c->total >= callbacks;
    if (loop_spin(c->loop, &c->all, clock_now_ns() + LONG_NS, false, &e) < 0)
        fail_msg("%d callbacks instead of %d", c->total, callbacks);
}

static void close_it(struct conversation *c)
{
    qmp_client_close(c->client);
    loop_free(c->loop);
    fake_qmp_end(c->fake);
}

static void test_a_reply_and_an_error_arrive(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_REPLY, .command = "query-kvm", .text = "{\"enabled\":true,\"present\":true}"},
        {.what = FAKE_ERROR, .command = "cont", .text = "no such thing"},
        {.what = FAKE_EVENT, .command = "STOP"},
        {.what = FAKE_REPLY, .command = "stop"},
        {.what = FAKE_EXPECT_END},
    };
    struct conversation c;
    struct sent a = {0}, b = {0}, d = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    assert_non_null(c.client);
    submit(&c, &a, "query-kvm", LONG_NS);
    submit(&c, &b, "cont", LONG_NS);
    submit(&c, &d, "stop", LONG_NS);
    assert_int_equal(c.total, 0);
    assert_int_equal(qmp_link_peer_pid(qmp_client_link(c.client)), getpid());
    await(&c, 3);
    assert_string_equal(a.result, "{ \"enabled\": true, \"present\": true }");
    assert_int_equal(b.class, ERR_QMP);
    assert_string_equal(b.msg, "cont: no such thing");
    assert_int_equal(c.events, 1);
    assert_string_equal(c.last_event, "STOP");
    close_it(&c);
    assert_true(a.calls == 1 && b.calls == 1 && d.calls == 1 && c.losses == 0);
}

static void test_answers_arrive_out_of_order_in_single_bytes(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_BYTES},
        {.what = FAKE_ACCEPT},
        {.what = FAKE_HOLD, .command = "query-kvm"},
        {.what = FAKE_HOLD, .command = "query-status"},
        {.what = FAKE_HOLD, .command = "stop"},
        {.what = FAKE_ANSWER, .n = 2},
        {.what = FAKE_EVENT, .command = "STOP"},
        {.what = FAKE_ANSWER, .n = 0, .text = "{\"enabled\":false,\"present\":true}"},
        {.what = FAKE_ANSWER, .n = 1, .text = "{\"running\":true,\"status\":\"running\"}"},
        {.what = FAKE_EXPECT_END},
    };
    struct conversation c;
    struct sent s[3] = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    submit(&c, &s[0], "query-kvm", LONG_NS);
    submit(&c, &s[1], "query-status", LONG_NS);
    submit(&c, &s[2], "stop", LONG_NS);
    await(&c, 3);
    assert_non_null(strstr(s[0].result, "enabled"));
    assert_non_null(strstr(s[1].result, "running"));
    assert_string_equal(s[2].result, "{ }");
    close_it(&c);
}

static void test_a_late_answer_is_dropped(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_HOLD, .command = "stop"},
        {.what = FAKE_REPLY, .command = "query-kvm", .text = "{\"enabled\":true,\"present\":true}"},
        {.what = FAKE_ANSWER, .n = 0},
        {.what = FAKE_REPLY, .command = "cont"},
        {.what = FAKE_EXPECT_END},
    };
    struct conversation c;
    struct sent late = {0}, b = {0}, d = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    submit(&c, &late, "stop", 30 * NS_PER_MS);
    await(&c, 1);
    assert_int_equal(late.class, ERR_TIMEOUT);
    submit(&c, &b, "query-kvm", LONG_NS);
    await(&c, 2);
    submit(&c, &d, "cont", LONG_NS);
    await(&c, 3);
    assert_int_equal(late.calls, 1);
    assert_true(b.class == ERR_NONE && d.class == ERR_NONE);
    assert_false(qmp_client_lost(c.client));
    close_it(&c);
}

static void test_a_lost_connection_ends_each_call_once(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_HOLD, .command = "query-status"},
        {.what = FAKE_HOLD, .command = "query-status"},
        {.what = FAKE_HOLD, .command = "query-status"},
        {.what = FAKE_CLOSE},
    };
    struct conversation c;
    struct sent s[3] = {0}, after = {0}, again = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    s[1].send_again = true; /* on a connection that is lost by then */
    s[1].again = &again;
    for (int i = 0; i < 3; i++)
        submit(&c, &s[i], "query-status", LONG_NS);
    await(&c, 4);
    for (int i = 0; i < 3; i++)
        assert_true(s[i].calls == 1 && s[i].class == ERR_LOST);
    assert_true(again.calls == 1 && again.class == ERR_LOST);
    assert_true(qmp_client_lost(c.client) && c.losses == 1);
    submit(&c, &after, "query-status", LONG_NS);
    assert_int_equal(after.calls, 0);
    await(&c, 5);
    assert_true(after.calls == 1 && after.class == ERR_LOST && c.losses == 1);
    close_it(&c);
}

/* That a command cannot be sent any more is noticed first; what QEMU had said is still read. */
static void test_last_words_are_read(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_EVENT, .command = "STOP"},
        {.what = FAKE_EVENT, .command = "RESUME"},
        {.what = FAKE_CLOSE},
    };
    struct conversation c;
    struct sent s = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    usleep(50000); /* it has spoken and gone by now */
    submit(&c, &s, "query-status", LONG_NS);
    await(&c, 1);
    assert_int_equal(s.class, ERR_LOST);
    assert_int_equal(c.events, 2);
    assert_string_equal(c.last_event, "RESUME");
    assert_true(qmp_client_lost(c.client) && qmp_client_ended_by_peer(c.client));
    close_it(&c);
}

static void test_closing_ends_each_call_once(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_HOLD, .command = "stop"},
        {.what = FAKE_HOLD, .command = "cont"},
        {.what = FAKE_EXPECT_END},
    };
    struct conversation c;
    struct sent a = {0}, b = {0}, again = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    a.send_again = true;
    a.again = &again;
    submit(&c, &a, "stop", LONG_NS);
    submit(&c, &b, "cont", LONG_NS);
    close_it(&c);
    assert_true(a.calls == 1 && a.class == ERR_CANCELLED);
    assert_true(b.calls == 1 && b.class == ERR_CANCELLED);
    assert_true(again.calls == 1 && again.class == ERR_CANCELLED);
    assert_int_equal(c.losses, 0);
}

static void test_a_callback_may_send(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_REPLY, .command = "stop"},
        {.what = FAKE_REPLY,
         .command = "query-status",
         .text = "{\"running\":false,\"status\":\"paused\"}"},
        {.what = FAKE_EXPECT_END},
    };
    struct conversation c;
    struct sent a = {0}, again = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    a.send_again = true;
    a.again = &again;
    submit(&c, &a, "stop", LONG_NS);
    await(&c, 2);
    assert_true(a.calls == 1 && again.calls == 1 && again.class == ERR_NONE);
    close_it(&c);
}

/* What breaks the protocol ends the connection, and every wait on it. */
static void test_nonsense_ends_the_connection(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"return\": {}, \"id\": 4711}\r\n", /* an id that was never sent */
        "{\"return\": {}, \"id\": -1}\r\n",
        "{\"return\": {}, \"id\": \"zero\"}\r\n",
        "{\"return\": {}}\r\n", /* no id at all */
        "garbage\r\n",
        "[1, 2]\r\n",
        "{\"return\": \r\n",
        "\xff\xfe\r\n",
        "{\"event\": null}\r\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const struct fake_step steps[] = {
            {.what = FAKE_ACCEPT},
            {.what = FAKE_HOLD, .command = "stop"},
            {.what = FAKE_RAW, .text = lines[i]},
            {.what = FAKE_EXPECT_END},
        };
        struct conversation c;
        struct sent a = {0};
        open_it(&c, FAKE_QMP("10.0", steps));
        submit(&c, &a, "stop", LONG_NS);
        await(&c, 1);
        if (a.class != ERR_PROTO)
            fail_msg("%s: %s", lines[i], err_class_name(a.class));
        assert_true(qmp_client_lost(c.client) && c.losses == 1);
        close_it(&c);
        assert_int_equal(a.calls, 1);
    }
}

static void test_odd_errors_are_errors(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"id\": 1, \"error\": {\"class\": \"GenericError\"}}\r\n",
        "{\"id\": 1, \"error\": {\"desc\": null}}\r\n",
        "{\"id\": 1, \"error\": \"no\"}\r\n",
        "{\"id\": 1}\r\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const struct fake_step steps[] = {
            {.what = FAKE_ACCEPT},
            {.what = FAKE_HOLD, .command = "stop"}, /* qmp_capabilities was 0 */
            {.what = FAKE_RAW, .text = lines[i]},
            {.what = FAKE_EXPECT_END},
        };
        struct conversation c;
        struct sent a = {0};
        open_it(&c, FAKE_QMP("10.0", steps));
        submit(&c, &a, "stop", LONG_NS);
        await(&c, 1);
        assert_true(a.calls == 1 && a.class == ERR_QMP);
        assert_string_equal(a.msg, "stop: an error without a description");
        close_it(&c);
    }
}

static void test_a_long_line_is_read(void **state)
{
    (void)state;
    static char big[1 << 20];
    memset(big, 'x', sizeof big - 1);
    const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_HOLD, .command = "stop"},
        {.what = FAKE_RAW, .text = "{\"event\": \"NEW\", \"data\": {\"pad\": \""},
        {.what = FAKE_RAW, .text = big},
        {.what = FAKE_RAW, .text = "\"}}\n"},
        {.what = FAKE_ANSWER, .n = 0},
        {.what = FAKE_EXPECT_END},
    };
    struct conversation c;
    struct sent a = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    submit(&c, &a, "stop", LONG_NS);
    await(&c, 1);
    assert_true(a.class == ERR_NONE && c.events == 1);
    assert_string_equal(c.last_event, "NEW");
    close_it(&c);
}

static void test_a_line_without_end_ends_the_connection(void **state)
{
    (void)state;
    static char big[1 << 20];
    memset(big, 'x', sizeof big - 1);
    const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_HOLD, .command = "stop"},
        {.what = FAKE_RAW, .text = big, .n = 40},
    };
    struct conversation c;
    struct sent a = {0};
    open_it(&c, FAKE_QMP("10.0", steps));
    submit(&c, &a, "stop", LONG_NS);
    await(&c, 1);
    assert_int_equal(a.class, ERR_PROTO);
    close_it(&c);
}

static void expect_no_client(const struct fake_step *steps, size_t count, enum err_class class,
                             const char *says)
{
    struct conversation c;
    open_it(&c, fake_qmp_start("10.0", FAKE_UNIX, steps, count));
    assert_null(c.client);
    if (c.e.class != class || strstr(c.e.msg, says) == NULL)
        fail_msg("%s: %s", err_class_name(c.e.class), c.e.msg);
    assert_int_equal(c.losses, 0);
    close_it(&c);
}

static void test_what_is_no_qmp_is_refused(void **state)
{
    (void)state;
    static const struct fake_step dumb[] = {{.what = FAKE_ACCEPT_DUMB}, {.what = FAKE_EXPECT_END}};
    static const struct fake_step closed[] = {{.what = FAKE_ACCEPT_DUMB}, {.what = FAKE_CLOSE}};
    static const struct fake_step http[] = {
        {.what = FAKE_ACCEPT_DUMB},
        {.what = FAKE_RAW, .text = "HTTP/1.1 400 Bad Request\r\n\r\n"},
        {.what = FAKE_EXPECT_END}};
    static const struct fake_step other[] = {
        {.what = FAKE_ACCEPT_DUMB},
        {.what = FAKE_RAW, .text = "{\"event\": \"STOP\"}\r\n"},
        {.what = FAKE_EXPECT_END}};
    expect_no_client(dumb, 2, ERR_TIMEOUT, "no QMP greeting");
    expect_no_client(closed, 2, ERR_LOST, "closed without a QMP greeting");
    expect_no_client(http, 3, ERR_REFUSED, "not QMP");
    expect_no_client(other, 3, ERR_REFUSED, "not QMP");
}

static void test_a_call_waits_for_its_answer(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        {.what = FAKE_REPLY, .command = "query-kvm", .text = "{\"enabled\":true,\"present\":true}"},
        {.what = FAKE_ERROR, .command = "cont", .text = "no"},
        {.what = FAKE_HOLD, .command = "stop"},
        {.what = FAKE_HOLD, .command = "query-status"},
        {.what = FAKE_ANSWER, .n = 1, .text = "{\"running\":true,\"status\":\"running\"}"},
        {.what = FAKE_EXPECT_END},
    };
    struct conversation c;
    struct json_object *result = NULL;
    open_it(&c, FAKE_QMP("10.0", steps));
    assert_int_equal(loop_catch_signals(c.loop, &c.e), 0);
    assert_int_equal(qmp_client_call(c.client, "query-kvm", NULL, LONG_NS, true, &result, &c.e), 0);
    json_object_put(result);
    assert_int_equal(qmp_client_call(c.client, "cont", NULL, LONG_NS, true, NULL, &c.e), -1);
    assert_int_equal(c.e.class, ERR_QMP);
    err_clear(&c.e);
    assert_int_equal(qmp_client_call(c.client, "stop", NULL, 30 * NS_PER_MS, true, NULL, &c.e), -1);
    assert_int_equal(c.e.class, ERR_TIMEOUT);
    err_clear(&c.e);
    raise(SIGINT);
    loop_turn(c.loop, 0);
    assert_int_equal(qmp_client_call(c.client, "query-status", NULL, LONG_NS, true, &result, &c.e),
                     -1);
    assert_int_equal(c.e.class, ERR_CANCELLED);
    loop_sleep(c.loop, 20 * NS_PER_MS); /* its answer has nobody left to go to */
    close_it(&c);
}

/* The fake itself: what no QEMU would take must not pass. */
static void test_the_fake_refuses_what_no_qemu_takes(void **state)
{
    (void)state;
    static const struct {
        const char *command, *arguments, *says;
    } cases[] = {
        {"no-such-command", NULL, "expected stop"},
        {"migrate", "{\"uri\":\"tcp:a:1\",\"fast\":true}", "migrate.fast: unknown"},
        {"migrate-set-capabilities", NULL, "migrate-set-capabilities.capabilities: missing"},
        {"migrate-set-capabilities",
         "{\"capabilities\":[{\"capability\":\"warp\",\"state\":true}]}",
         "not a value of this enum"},
        {"migrate-set-capabilities", "{\"capabilities\":[{\"capability\":\"multifd\"}]}",
         "capabilities[0].state: missing"},
        {"migrate-set-parameters", "{\"downtime-limit\":\"300\"}", "of the wrong type"},
        {"qom-get", "{\"path\":5,\"property\":\"type\"}", "of the wrong type"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct fake_step steps[] = {
            {.what = FAKE_ACCEPT},
            {.what = FAKE_REPLY, .command = i == 0 ? "stop" : cases[i].command}};
        for (int v = 0; v < 2; v++) {
            struct conversation c;
            char fault[512];
            open_it(&c, FAKE_QMP(v ? "10.0" : "7.2", steps));
            struct json_object *args =
                cases[i].arguments == NULL ? NULL : json_tokener_parse(cases[i].arguments);
            qmp_client_call(c.client, cases[i].command, args, LONG_NS, false, NULL, &c.e);
            qmp_client_close(c.client);
            loop_free(c.loop);
            fake_qmp_end_fault(c.fake, fault, sizeof fault);
            if (strstr(fault, cases[i].says) == NULL)
                fail_msg("'%s' does not say '%s'", fault, cases[i].says);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reply_and_an_error_arrive),
        cmocka_unit_test(test_answers_arrive_out_of_order_in_single_bytes),
        cmocka_unit_test(test_a_late_answer_is_dropped),
        cmocka_unit_test(test_a_lost_connection_ends_each_call_once),
        cmocka_unit_test(test_last_words_are_read),
        cmocka_unit_test(test_closing_ends_each_call_once),
        cmocka_unit_test(test_a_callback_may_send),
        cmocka_unit_test(test_nonsense_ends_the_connection),
        cmocka_unit_test(test_odd_errors_are_errors),
        cmocka_unit_test(test_a_long_line_is_read),
        cmocka_unit_test(test_a_line_without_end_ends_the_connection),
        cmocka_unit_test(test_what_is_no_qmp_is_refused),
        cmocka_unit_test(test_a_call_waits_for_its_answer),
        cmocka_unit_test(test_the_fake_refuses_what_no_qemu_takes),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
