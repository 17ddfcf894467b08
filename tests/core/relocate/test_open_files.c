/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/relocate/open_files.h"

struct seen {
    size_t n;
    struct open_file last;
};

static bool see(void *arg, const struct open_file *f)
{
    struct seen *s = arg;
    s->n++;
    s->last = *f;
    return true;
}

/* Opened like that by a child, and renamed under it. */
static struct seen seen_with(int flags, char who[64])
{
    char dir[] = "/tmp/godwit-test-XXXXXX", path[64], renamed[64];
    struct stat st;
    struct err e = {0};
    struct seen s = {0};
    int ready[2];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/a", dir);
    snprintf(renamed, sizeof renamed, "%s/b", dir);
    assert_int_equal(close(open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = flags >= 0 ? open(path, flags) : 0;
        if (fd < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(rename(path, renamed), 0);
    assert_int_equal(stat(renamed, &st), 0);
    const struct open_file_id ids[] = {{1, 2, false}, open_file_id_of(&st)};
    assert_int_equal(open_files_find(ids, 2, see, &s, &e), 0);
    snprintf(who, 64, "(%d)", (int)pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    unlink(renamed);
    rmdir(dir);
    return s;
}

static void test_a_renamed_file_is_found_open(void **state)
{
    (void)state;
    char who[64];
    struct seen s = seen_with(O_RDWR, who);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.last.which, 1);
    assert_true(s.last.writing);
    assert_non_null(strstr(s.last.who, who));
    assert_non_null(strstr(s.last.who, "test-"));
}

static void test_a_reader_is_found(void **state)
{
    (void)state;
    char who[64];
    struct seen s = seen_with(O_RDONLY, who);
    assert_int_equal(s.n, 1);
    assert_false(s.last.writing);
}

static void test_where_nobody_has_it_open_nobody_is_found(void **state)
{
    (void)state;
    char who[64];
    assert_int_equal(seen_with(-1, who).n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_renamed_file_is_found_open),
        cmocka_unit_test(test_a_reader_is_found),
        cmocka_unit_test(test_where_nobody_has_it_open_nobody_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
