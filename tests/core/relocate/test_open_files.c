/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/relocate/open_files.h"

struct seen {
    size_t n;
    struct open_file last;
};

/* Who has it open. */
static bool see(void *arg, const struct open_file *f)
{
    struct seen *s = arg;
    if (f->why != 0)
        return true;
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

/* ---- who cannot be asked ---- */

enum { NOBODY = 65534, OTHER = 65533 };

/* Another process, called `comm`, of user `uid`, until it is killed. */
static pid_t start_other(const char *comm, uid_t uid)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (setresuid(uid, uid, uid) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
            prctl(PR_SET_NAME, comm) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void end_other(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

struct silent {
    char who[64];
    bool reported;
    int why;
};

static bool look_for_silent(void *arg, const struct open_file *f)
{
    struct silent *s = arg;
    if (strcmp(f->who, s->who) != 0)
        return true;
    s->reported = true;
    s->why = f->why;
    return false;
}

/* Whether process `comm` of another user is reported as one that does not say, to `uid`. */
static bool is_reported(const char *comm, uid_t uid)
{
    const struct open_file_id id = {1, 2, false};
    pid_t other = start_other(comm, OTHER);
    int status;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct silent s = {0};
        struct err e = {0};
        snprintf(s.who, sizeof s.who, "%s (%d)", comm, (int)other);
        if (setresuid(uid, uid, uid) < 0 || open_files_find(&id, 1, look_for_silent, &s, &e) < 0)
            _exit(99);
        _exit(s.reported && s.why != EACCES ? 98 : s.reported);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    end_other(other);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) == 1;
}

static void test_who_cannot_be_asked_is_reported(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip(); /* another user's processes are needed */
    assert_true(is_reported("qemu-system-x86", NOBODY));
    assert_true(is_reported("qemu-nbd", NOBODY));
    assert_false(is_reported("sleeper", NOBODY));
}

/* ---- loop devices ---- */

static const char *block; /* in the place of /sys/block */

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
    return __real_opendir(block != NULL && strcmp(path, "/sys/block") == 0 ? block : path);
}

/* What is reported of a loop device that the kernel says is on `backing`; NULL: /sys is not there. */
static struct silent loop_on(const char *backing, const struct open_file_id *id)
{
    char dir[] = "/tmp/godwit-test-XXXXXX", path[128];
    struct silent s = {.who = "/dev/loop99999"};
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/loop99999", dir);
    if (backing == NULL) {
        snprintf(s.who, sizeof s.who, "a loop device");
        block = "/absent";
    } else {
        block = dir;
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/loop");
        assert_int_equal(mkdir(path, 0700), 0);
        strcat(path, "/backing_file");
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fprintf(f, "%s\n", backing) > 0 && fclose(f) == 0);
    }
    assert_int_equal(open_files_find(id, 1, look_for_silent, &s, &e), 0);
    block = NULL;
    snprintf(path, sizeof path, "rm -r %s", dir);
    assert_int_equal(system(path), 0);
    return s;
}

static void test_a_loop_device_is_found_or_reported(void **state)
{
    (void)state;
    char file[] = "/tmp/godwit-test-XXXXXX";
    struct stat st;
    int fd = mkstemp(file);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    close(fd);
    const struct open_file_id id = open_file_id_of(&st), other = {1, 2, false};
    struct silent found = loop_on(file, &id);
    assert_true(found.reported && found.why == 0);
    assert_false(loop_on(file, &other).reported);
    /* in another mount namespace it means a file that is not seen here */
    struct silent elsewhere = loop_on("/absent/a.img", &id);
    assert_true(elsewhere.reported && elsewhere.why != 0);
    struct silent no_sys = loop_on(NULL, &id);
    assert_true(no_sys.reported && no_sys.why == ENOENT);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_renamed_file_is_found_open),
        cmocka_unit_test(test_a_reader_is_found),
        cmocka_unit_test(test_where_nobody_has_it_open_nobody_is_found),
        cmocka_unit_test(test_who_cannot_be_asked_is_reported),
        cmocka_unit_test(test_a_loop_device_is_found_or_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
