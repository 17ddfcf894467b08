/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "qmp/schema.h"

static struct qmp_schema *read_schema(const char *file)
{
    struct err e = {0};
    struct json_object *json = json_object_from_file(file);
    assert_non_null(json);
    struct qmp_schema *s = qmp_schema_new(json, &e);
    json_object_put(json);
    assert_non_null(s);
    return s;
}

static void test_recorded(void **state)
{
    (void)state;
    struct qmp_schema *old = read_schema(SCHEMA_DIR "/schema-7.2.json");
    struct qmp_schema *new = read_schema(SCHEMA_DIR "/schema-10.0.json");
    static const char caps[] = "migrate-set-capabilities", params[] = "migrate-set-parameters";

    assert_true(qmp_schema_has_command(old, "migrate"));
    assert_false(qmp_schema_has_command(old, "migrate-warp"));
    assert_false(qmp_schema_has_command(old, "STOP")); /* an event */
    assert_false(qmp_schema_has_command(old, ""));
    assert_true(qmp_schema_has_argument(old, "migrate", "uri"));
    assert_false(qmp_schema_has_argument(old, "migrate", "channels"));
    assert_true(qmp_schema_has_argument(new, "migrate", "channels"));
    assert_true(qmp_schema_has_argument(new, caps, "capabilities.capability"));
    assert_false(qmp_schema_has_argument(new, caps, "capabilities.name"));
    assert_false(qmp_schema_has_argument(new, caps, "capabilities.capability.deeper"));
    assert_false(qmp_schema_has_argument(new, "no-such", "x"));
    assert_true(qmp_schema_has_value(old, caps, "capabilities.capability", "compress"));
    assert_false(qmp_schema_has_value(new, caps, "capabilities.capability", "compress"));
    assert_false(qmp_schema_has_value(old, caps, "capabilities.capability", "mapped-ram"));
    assert_true(qmp_schema_has_value(new, caps, "capabilities.capability", "mapped-ram"));
    assert_true(qmp_schema_has_value(new, params, "multifd-compression", "zstd"));
    assert_false(qmp_schema_has_value(new, params, "multifd-compression", "lz4"));
    assert_false(qmp_schema_has_value(new, params, "downtime-limit", "zstd"));
    qmp_schema_free(old);
    qmp_schema_free(new);
    qmp_schema_free(NULL);
}

/* Whatever comes, there is an answer: no, or an error. */
static void test_nonsense(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[]", "[1, null, \"x\", []]", "[{\"name\": null}]", "[{\"name\": 5}]",
        "[{\"name\": \"migrate\"}]", "[{\"name\": \"migrate\", \"meta-type\": 7}]",
        "[{\"name\": \"migrate\", \"meta-type\": \"command\"}]",
        "[{\"name\": \"migrate\", \"meta-type\": \"command\", \"arg-type\": \"none\"}]",
        "[{\"name\": \"migrate\", \"meta-type\": \"command\", \"arg-type\": \"1\"},"
        " {\"name\": \"1\", \"members\": 5}]",
        "[{\"name\": \"migrate\", \"meta-type\": \"command\", \"arg-type\": \"1\"},"
        " {\"name\": \"1\", \"members\": [null, 5, {}, {\"name\": \"uri\", \"type\": \"2\"}]},"
        " {\"name\": \"2\", \"values\": [null, 5]}]",
        /* an array of itself */
        "[{\"name\": \"migrate\", \"meta-type\": \"command\", \"arg-type\": \"1\"},"
        " {\"name\": \"1\", \"members\": [{\"name\": \"uri\", \"type\": \"2\"}]},"
        " {\"name\": \"2\", \"meta-type\": \"object\"}]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err e = {0};
        struct json_object *json = json_tokener_parse(texts[i]);
        struct qmp_schema *s = qmp_schema_new(json, &e);
        json_object_put(json);
        assert_non_null(s);
        assert_false(qmp_schema_has_value(s, "migrate", "uri", "x"));
        qmp_schema_free(s);
    }
    static const char *const no_arrays[] = {"{}", "5", "null", "\"x\""};
    for (size_t i = 0; i < 4; i++) {
        struct err e = {0};
        struct json_object *json = json_tokener_parse(no_arrays[i]);
        assert_null(qmp_schema_new(json, &e));
        assert_int_equal(e.class, ERR_PROTO);
        json_object_put(json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded), cmocka_unit_test(test_nonsense)};
    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
