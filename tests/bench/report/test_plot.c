/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/report/plot.h"
#include "core/cleanup.h"

static const volatile sig_atomic_t never;

/* Without gnuplot there is nothing to test. */
static struct plot *open_or_skip(void)
{
    struct err e = {0};
    struct plot *p = plot_open(&e);
    if (p == NULL) {
        print_message("%s\n", e.msg);
        skip();
    }
    return p;
}

static char *drawn(const struct plot *p, size_t number)
{
    char *text = NULL;
    size_t len = 0;
    struct err e = {0};
    FILE *to = open_memstream(&text, &len);
    assert_non_null(to);
    if (plot_svg(p, number, to, &e) < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(fclose(to), 0);
    return text;
}

static void charts_are_elements(void **state)
{
    (void)state;
    struct plot *p = open_or_skip();
    struct err e = {0};
    size_t one, two;
    fputs("set label 'kept' at 1,1\nplot [0:2][0:2] x\n", plot_chart(p, 200, 100, &one));
    fputs("plot [0:2][0:2] -x\n", plot_chart(p, 300, 100, &two));
    assert_int_equal(plot_draw(p, &never, &e), 0);
    CLEANUP_FREE char *first = drawn(p, one);
    CLEANUP_FREE char *second = drawn(p, two);
    assert_int_equal(strncmp(first, "<svg", 4), 0);
    assert_non_null(strstr(first, "viewBox=\"0 0 200 100\""));
    assert_non_null(strstr(first, "kept"));
    assert_non_null(strstr(second, "viewBox=\"0 0 300 100\""));
    assert_null(strstr(second, "kept")); /* each begins anew */
    assert_null(strstr(first, "<title>"));
    assert_null(strstr(first, "<?xml"));
    plot_close(p);
}

/* gnuplot runs what is in back quotes or after system(), and ends a string at its quote. */
static void text_is_only_text(void **state)
{
    (void)state;
    static const char *const evil[] = {"`touch plot-was-here`",
                                       "'; system('touch plot-was-here'); set label '",
                                       "\"; system(\"touch plot-was-here\") #",
                                       "a\nsystem('touch plot-was-here')\n",
                                       "\\",
                                       "@GPVAL_VERSION $d <script>alert(1)</script> & {/Bold x}_^",
                                       "ends with '"};
    char dir[] = "/tmp/godwit-test-plot.XXXXXX", kept[1024];
    struct plot *p = open_or_skip();
    struct err e = {0};
    size_t number;
    assert_non_null(getcwd(kept, sizeof kept));
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    FILE *to = plot_chart(p, 200, 100, &number);
    for (size_t i = 0; i < sizeof evil / sizeof *evil; i++) {
        fputs("set label ", to);
        plot_text(to, evil[i]);
        fputs(" at 1,1\n", to);
    }
    fputs("plot [0:2][0:2] NaN\n", to);
    int rc = plot_draw(p, &never, &e);
    int touched = access("plot-was-here", F_OK);
    (void)!unlink("plot-was-here");
    assert_int_equal(chdir(kept), 0);
    assert_int_equal(rmdir(dir), 0);
    if (rc < 0)
        fail_msg("%s", e.msg);
    assert_int_equal(touched, -1);
    CLEANUP_FREE char *svg = drawn(p, number);
    assert_null(strstr(svg, "<script"));
    assert_non_null(strstr(svg, "{/Bold x}_^"));
    plot_close(p);
}

static void faults_are_reported(void **state)
{
    (void)state;
    struct plot *p = open_or_skip();
    struct err e = {0};
    size_t number;
    fputs("set nonsense\n", plot_chart(p, 200, 100, &number));
    assert_int_equal(plot_draw(p, &never, &e), -1);
    assert_int_equal(e.class, ERR_IO);
    assert_int_equal(strncmp(e.msg, "gnuplot: exit code", 18), 0);
    plot_close(p);
}

static void it_may_be_missing(void **state)
{
    (void)state;
    CLEANUP_FREE char *path = strdup(getenv("PATH"));
    struct err e = {0};
    setenv("PATH", "/nonexistent", 1);
    struct plot *p = plot_open(&e);
    setenv("PATH", path, 1);
    assert_null(p);
    assert_int_equal(e.class, ERR_REFUSED);
    assert_string_equal(e.msg, "gnuplot is not installed");
    assert_string_equal(e.hint, "install gnuplot-nox");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charts_are_elements),
        cmocka_unit_test(text_is_only_text),
        cmocka_unit_test(faults_are_reported),
        cmocka_unit_test(it_may_be_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
