/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/json.h"

static const char text[] =
    "{\"schema\": 1, \"ram\": {\"sent\": 7, \"below\": -1, \"rate\": 2.5, \"huge\": 1e30},"
    " \"on\": true, \"name\": \"a.b\", \"nothing\": null,"
    " \"list\": [{\"n\": 1}, {\"n\": 2}]}";

static void test_a_path_leads_to_its_value(void **state)
{
    (void)state;
    struct err e = {0};
    CLEANUP_JSON struct json *o = json_from_text(text);
    uint64_t u = 0;
    int64_t i = 0;
    double d = 0;
    bool on = false;
    const char *name = NULL;
    struct json *list = NULL;
    size_t n = 0;
    assert_non_null(o);
    assert_int_equal(json_find_u64(o, "ram.sent", &u, &e), 0);
    assert_int_equal(u, 7);
    assert_int_equal(json_find_u64(o, "ram.huge", &u, &e), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(json_find_i64(o, "ram.below", &i, &e), 0);
    assert_int_equal(i, -1);
    assert_int_equal(json_find_double_opt(o, "ram.rate", &d, &e), 0);
    assert_true(d > 2.4 && d < 2.6);
    assert_int_equal(json_find_flag(o, "on", &on, &e), 0);
    assert_true(on);
    assert_int_equal(json_find_text(o, "name", &name, &e), 0);
    assert_string_equal(name, "a.b");
    assert_int_equal(json_find_list(o, "list", &list, &n, &e), 0);
    assert_int_equal(n, 2);
    assert_int_equal(json_find_u64(json_nth(list, 1), "n", &u, &e), 0);
    assert_int_equal(u, 2);
    assert_true(json_is_object(json_find(o, "ram")));
    assert_false(json_is_object(json_find(o, "on")));
    assert_false(json_is_object(NULL));
}

static void test_a_fault_names_its_path(void **state)
{
    (void)state;
    CLEANUP_JSON struct json *o = json_from_text(text);
    uint64_t u = 0;
    int64_t i = 0;
    bool on;
    const char *name;
    struct json *list;
    size_t n;
    struct err e[7] = {0};
    assert_int_equal(json_find_u64(o, "ram.lost", &u, &e[0]), -1);
    assert_string_equal(e[0].msg, "ram.lost: missing");
    assert_int_equal(json_find_u64(o, "name", &u, &e[1]), -1);
    assert_string_equal(e[1].msg, "name: not an integer");
    assert_int_equal(json_find_i64(o, "ram.rate", &i, &e[2]), -1);
    assert_string_equal(e[2].msg, "ram.rate: not an integer");
    assert_int_equal(json_find_flag(o, "ram.sent", &on, &e[3]), -1);
    assert_string_equal(e[3].msg, "ram.sent: not a boolean");
    assert_int_equal(json_find_text(o, "on", &name, &e[4]), -1);
    assert_string_equal(e[4].msg, "on: not a string");
    assert_int_equal(json_find_list(o, "ram", &list, &n, &e[5]), -1);
    assert_string_equal(e[5].msg, "ram: not a list");
    assert_int_equal(json_find_text(o, "name.deeper", &name, &e[6]), -1);
    assert_string_equal(e[6].msg, "name.deeper: missing");
    for (size_t k = 0; k < sizeof e / sizeof *e; k++)
        assert_int_equal(e[k].class, ERR_PROTO);
}

static void test_what_is_missing_leaves_an_optional_value_alone(void **state)
{
    (void)state;
    struct err e = {0};
    CLEANUP_JSON struct json *o = json_from_text(text);
    uint64_t u = 42;
    const char *name = "kept";
    assert_int_equal(json_find_u64_opt(o, "ram.lost", &u, &e), 0);
    assert_int_equal(json_find_text_opt(o, "nothing", &name, &e), 0);
    assert_int_equal(u, 42);
    assert_string_equal(name, "kept");
    assert_int_equal(json_find_u64_opt(o, "on", &u, &e), -1);
}

static void test_only_a_whole_object_is_read(void **state)
{
    (void)state;
    static const char *const others[] = {"",          "{", "[]",    "5",           "null",
                                         "{\"a\": }", "x", "{} {}", "{\"a\": 1} x"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_null(json_from_text(others[i]));
}

static void test_a_key_that_nobody_knows_is_found(void **state)
{
    (void)state;
    CLEANUP_JSON struct json *o = json_from_text(" {\"a\": 1, \"b\": 2} \n");
    assert_null(json_unknown_key(o, (const char *const[]){"b", "c", "a", NULL}));
    assert_string_equal(json_unknown_key(o, (const char *const[]){"a", NULL}), "b");
}

static void test_what_is_written_is_read_back(void **state)
{
    (void)state;
    struct err e = {0};
    CLEANUP_JSON struct json *o = json_new();
    json_i64(o, "below", INT64_MIN);
    json_u64(o, "above", UINT64_MAX);
    json_text(json_item(json_list(o, "list")), "name", "a \"quoted\" /name\n");
    CLEANUP_JSON struct json *back = json_from_text(json_pretty(o));
    int64_t below = 0;
    uint64_t above = 0;
    size_t n = 0;
    struct json *list = NULL;
    const char *name = "";
    assert_int_equal(json_find_i64(back, "below", &below, &e), 0);
    assert_true(below == INT64_MIN);
    assert_int_equal(json_find_u64(back, "above", &above, &e), 0);
    assert_true(above == UINT64_MAX);
    assert_int_equal(json_find_list(back, "list", &list, &n, &e), 0);
    assert_int_equal(json_find_text(json_nth(list, 0), "name", &name, &e), 0);
    assert_string_equal(name, "a \"quoted\" /name\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_path_leads_to_its_value),
        cmocka_unit_test(test_a_fault_names_its_path),
        cmocka_unit_test(test_what_is_missing_leaves_an_optional_value_alone),
        cmocka_unit_test(test_only_a_whole_object_is_read),
        cmocka_unit_test(test_a_key_that_nobody_knows_is_found),
        cmocka_unit_test(test_what_is_written_is_read_back),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
