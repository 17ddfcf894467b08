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

static void test_recorded_schemas_tell_what_a_qemu_has(void **state)
{
    (void)state;
    struct qmp_schema *old = read_schema(SCHEMA_DIR "/schema-7.2.json");
    struct qmp_schema *new = read_schema(SCHEMA_DIR "/schema-10.0.json");
    static const char caps[] = "migrate-set-capabilities", params[] = "migrate-set-parameters";
    const char *names[4];

    assert_int_not_equal(qmp_schema_names(old, "migrate", "", names, 4), 0);
    assert_int_equal(qmp_schema_names(old, "migrate-warp", "", names, 4), 0);
    assert_int_equal(qmp_schema_names(old, "STOP", "", names, 4), 0); /* an event */
    assert_int_equal(qmp_schema_names(old, "", "", names, 4), 0);
    assert_int_not_equal(qmp_schema_kind(old, "migrate", "uri"), QMP_KIND_NONE);
    assert_int_equal(qmp_schema_kind(old, "migrate", "channels"), QMP_KIND_NONE);
    assert_int_not_equal(qmp_schema_kind(new, "migrate", "channels"), QMP_KIND_NONE);
    assert_int_not_equal(qmp_schema_kind(new, caps, "capabilities.capability"), QMP_KIND_NONE);
    assert_int_equal(qmp_schema_kind(new, caps, "capabilities.name"), QMP_KIND_NONE);
    assert_int_equal(qmp_schema_kind(new, caps, "capabilities.capability.deeper"), QMP_KIND_NONE);
    assert_int_equal(qmp_schema_kind(new, "no-such", "x"), QMP_KIND_NONE);
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

static void test_each_argument_has_its_kind(void **state)
{
    (void)state;
    struct qmp_schema *s = read_schema(SCHEMA_DIR "/schema-10.0.json");
    static const char caps[] = "migrate-set-capabilities", params[] = "migrate-set-parameters";
    static const struct {
        const char *path;
        enum qmp_kind kind;
    } all[] = {
        {"downtime-limit", QMP_KIND_INT},
        {"cpu-throttle-tailslow", QMP_KIND_BOOL},
        {"tls-creds", QMP_KIND_TEXT},
        {"multifd-compression", QMP_KIND_ENUM},
        {"block-bitmap-mapping", QMP_KIND_OTHER},
        {"warp", QMP_KIND_NONE},
        {"block-bitmap-mapping.alias", QMP_KIND_TEXT},
    };
    const char *names[64];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_int_equal(qmp_schema_kind(s, params, all[i].path), all[i].kind);
    assert_int_equal(qmp_schema_kind(s, caps, "capabilities"), QMP_KIND_OTHER);
    assert_int_equal(qmp_schema_kind(s, caps, "capabilities.state"), QMP_KIND_BOOL);
    assert_int_equal(qmp_schema_names(s, params, "multifd-compression", names, 64), 3);
    assert_string_equal(names[2], "zstd");
    assert_int_equal(qmp_schema_names(s, params, "multifd-compression", names, 2), 2);
    assert_true(qmp_schema_names(s, params, "", names, 64) > 20);
    assert_string_equal(names[0], "announce-initial");
    assert_int_equal(qmp_schema_names(s, params, "downtime-limit", names, 64), 0);
    assert_int_equal(qmp_schema_names(s, "warp", "", names, 64), 0);
    qmp_schema_free(s);
}

/* Whatever comes, there is an answer: no, or an error. */
static void test_nonsense_has_an_answer(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[]",
        "[1, null, \"x\", []]",
        "[{\"name\": null}]",
        "[{\"name\": 5}]",
        "[{\"name\": \"migrate\"}]",
        "[{\"name\": \"migrate\", \"meta-type\": 7}]",
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
        const char *names[4];
        qmp_schema_kind(s, "migrate", "uri");
        qmp_schema_names(s, "migrate", "", names, 4);
        qmp_schema_names(s, "migrate", "uri", names, 4);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recorded_schemas_tell_what_a_qemu_has),
                                       cmocka_unit_test(test_each_argument_has_its_kind),
                                       cmocka_unit_test(test_nonsense_has_an_answer)};
    return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
