/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "qmp/capability.h"
#include "qmp/schema.h"

static void test_names_go_both_ways(void **state)
{
    (void)state;
    for (int c = 0; c < CAP_COUNT; c++)
        assert_int_equal(qmp_capability_find(qmp_capability_name((enum qmp_capability)c)), c);
    assert_int_equal(qmp_capability_find("warp"), CAP_COUNT);
    assert_int_equal(qmp_capability_find(""), CAP_COUNT);
}

/* A name that we misspell would be a capability that no QEMU has. */
static void test_each_name_is_known_to_qemu(void **state)
{
    (void)state;
    struct err e = {0};
    struct qmp_schema *schema[2];
    static const char *const files[] = {SCHEMA_DIR "/schema-7.2.json",
                                        SCHEMA_DIR "/schema-10.0.json"};
    for (int i = 0; i < 2; i++) {
        struct json_object *json = json_object_from_file(files[i]);
        schema[i] = qmp_schema_new(json, &e);
        json_object_put(json);
        assert_non_null(schema[i]);
    }
    for (int c = 0; c < CAP_COUNT; c++) {
        const char *name = qmp_capability_name((enum qmp_capability)c);
        bool known = false;
        for (int i = 0; i < 2; i++)
            known |= qmp_schema_has_value(schema[i], "migrate-set-capabilities",
                                          "capabilities.capability", name);
        if (!known)
            fail_msg("%s", name);
    }
    qmp_schema_free(schema[0]);
    qmp_schema_free(schema[1]);
}

#define ON(a) CAP_BIT(CAP_##a)

static void test_excluding_capabilities_are_refused(void **state)
{
    (void)state;
    static const qmp_capability_set good[] = {
        0,
        ON(MULTIFD),
        ON(POSTCOPY_RAM) | ON(RETURN_PATH),
        ON(MULTIFD) | ON(ZERO_COPY_SEND),
        ON(POSTCOPY_RAM) | ON(POSTCOPY_PREEMPT),
        ON(XBZRLE) | ON(AUTO_CONVERGE),
        ON(SWITCHOVER_ACK) | ON(RETURN_PATH),
    };
    static const qmp_capability_set bad[] = {
        ON(MULTIFD) | ON(POSTCOPY_RAM),
        ON(MULTIFD) | ON(XBZRLE),
        ON(MULTIFD) | ON(COMPRESS),
        ON(AUTO_CONVERGE) | ON(DIRTY_LIMIT),
        ON(ZERO_COPY_SEND),
        ON(POSTCOPY_PREEMPT),
        ON(MULTIFD) | ON(ZERO_COPY_SEND) | ON(XBZRLE),
        ON(SWITCHOVER_ACK),
        ON(POSTCOPY_RAM) | ON(MAPPED_RAM),
        UINT32_MAX,
    };
    struct err e = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (qmp_capability_check(good[i], &e) < 0)
            fail_msg("%s", e.msg);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err_clear(&e);
        assert_int_equal(qmp_capability_check(bad[i], &e), -1);
        assert_int_equal(e.class, ERR_REFUSED);
    }
    err_clear(&e);
    qmp_capability_check(ON(ZERO_COPY_SEND), &e);
    assert_non_null(strstr(e.msg, "zero-copy-send needs multifd"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_go_both_ways),
                                       cmocka_unit_test(test_each_name_is_known_to_qemu),
                                       cmocka_unit_test(test_excluding_capabilities_are_refused)};
    return cmocka_run_group_tests_name("capability", tests, NULL, NULL);
}
