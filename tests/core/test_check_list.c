/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/check_list.h"

static void nothing_found_is_good(void **state)
{
    (void)state;
    struct check_list l = {0};
    struct err e = {0};
    assert_int_equal(check_list_verdict(&l, &e), 0);
    check_list_add(&l, CHECK_OK, "a", "fine");
    check_list_add(&l, CHECK_WARN, "b", "so so");
    check_list_add(&l, CHECK_SKIPPED, "c", "unknown");
    assert_int_equal(check_list_verdict(&l, &e), 0);
    assert_int_equal(e.class, ERR_NONE);
    check_list_free(&l);
}

static void first_refusal_is_the_verdict(void **state)
{
    (void)state;
    struct check_list l = {0};
    struct err e = {0};
    check_list_add(&l, CHECK_WARN, "w", "so so");
    check_list_fix(&l, "true");
    check_list_add(&l, CHECK_REFUSE, "disk vda", "%s is %s", "it", "local");
    check_list_fix(&l, "godwit relocate %s", "x");
    check_list_add(&l, CHECK_REFUSE, "disk vdb", "later");
    assert_int_equal(check_list_verdict(&l, &e), -1);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_string_equal(e.msg, "disk vda: it is local");
    assert_string_equal(e.hint, "godwit relocate x");
    assert_int_equal(check_list_count(&l, CHECK_REFUSE), 2);
    check_list_free(&l);
}

static void it_grows(void **state)
{
    (void)state;
    struct check_list l = {0};
    for (int i = 0; i < 1000; i++)
        check_list_add(&l, CHECK_OK, "n", "%d", i);
    assert_int_equal(l.n, 1000);
    assert_string_equal(l.at[0].sentence, "0");
    assert_string_equal(l.at[999].sentence, "999");
    check_list_free(&l);
    assert_int_equal(l.n, 0);
}

/* Half a command would be worse than none: it is kept whole; a name with a newline must not forge a finding. */
static void what_does_not_fit(void **state)
{
    (void)state;
    struct check_list l = {0};
    char longer[1000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    check_list_add(&l, CHECK_WARN, longer, "%s", longer);
    check_list_fix(&l, "rm %s", longer);
    assert_int_equal(strncmp(l.at[0].fix, "rm xxx", 6), 0);
    assert_int_equal(strlen(l.at[0].fix), strlen("rm ") + sizeof longer - 1);
    assert_int_equal(strlen(l.at[0].sentence), sizeof longer - 1);
    assert_true(strlen(l.at[0].what) < sizeof l.at[0].what);
    check_list_add(&l, CHECK_WARN, "a\nrefuse b", "c\nok d\te");
    check_list_fix(&l, "one\ntwo");
    assert_string_equal(l.at[1].what, "a refuse b");
    assert_string_equal(l.at[1].sentence, "c ok d e");
    assert_string_equal(l.at[1].fix, "one two");
    check_list_free(&l);
}

static void verdicts_have_names(void **state)
{
    (void)state;
    assert_string_equal(check_verdict_name(CHECK_OK), "ok");
    assert_string_equal(check_verdict_name(CHECK_WARN), "warn");
    assert_string_equal(check_verdict_name(CHECK_REFUSE), "refuse");
    assert_string_equal(check_verdict_name(CHECK_SKIPPED), "skipped");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_found_is_good),
        cmocka_unit_test(first_refusal_is_the_verdict),
        cmocka_unit_test(it_grows),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(verdicts_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
