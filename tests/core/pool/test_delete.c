/* SPDX-License-Identifier: Apache-2.0 */
/* What stops the deletion of originals, and what is said then. */
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
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/pool/move.h"

enum { IMAGES = 3 };

static char pool[64];
static struct pool_journal_image images[IMAGES];

static void path_of(size_t i, char path[128])
{
    snprintf(path, 128, "%s/%s", pool, images[i].name);
}

static int make_originals(void **state)
{
    static const char *const names[IMAGES] = {"a.img", "b.img", "c.img"};
    struct err e = {0};
    (void)state;
    snprintf(pool, sizeof pool, "/tmp/godwit-test-XXXXXX");
    if (mkdtemp(pool) == NULL)
        return -1;
    for (size_t i = 0; i < IMAGES; i++) {
        char path[128];
        images[i] = (struct pool_journal_image){.name = (char *)(uintptr_t)names[i],
                                                .copy = {.made = true}};
        path_of(i, path);
        FILE *f = fopen(path, "w");
        if (f == NULL || fputs("data", f) < 0 || fclose(f) != 0 ||
            pool_original_read(pool, &images[i], &e) < 0)
            return -1;
    }
    return 0;
}

static int remove_originals(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", pool);
    return system(command);
}

/* Another process, which has it open for reading until it is killed. */
static pid_t hold_open(const char *path)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* a test that fails does not come to its end */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || open(path, O_RDONLY) < 0 ||
            write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void end_holder(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static bool is_there(size_t i)
{
    char path[128];
    path_of(i, path);
    return access(path, F_OK) == 0;
}

static void test_one_that_is_open_stops_it_half_way(void **state)
{
    (void)state;
    struct pool_journal j = {.path = pool, .images = images, .n_images = IMAGES};
    struct pool_move m = {.journal = &j};
    struct err e = {0};
    char path[128];
    path_of(1, path);
    pid_t pid = hold_open(path);
    assert_int_equal(pool_delete_originals(&m, &e), -1);
    /* no refusal: that would be one that has touched nothing */
    assert_int_equal(e.class, ERR_IO);
    assert_non_null(strstr(e.msg, "1 of 3 originals are gone, the others stay"));
    assert_non_null(strstr(e.msg, path));
    assert_non_null(strstr(e.hint, "run --delete-originals again"));
    assert_false(is_there(0));
    assert_true(is_there(1) && is_there(2));
    end_holder(pid);
    e = (struct err){0};
    assert_int_equal(pool_delete_originals(&m, &e), 0);
    assert_false(is_there(1) || is_there(2));
}

static void test_what_is_on_no_record_stays(void **state)
{
    (void)state;
    struct pool_journal j = {.path = pool, .images = images, .n_images = IMAGES};
    struct pool_move m = {.journal = &j};
    struct err e = {0};
    images[1].copy.made = false; /* was there before, and is not known to be the same */
    images[2].copy.made = false;
    images[2].compared.made = true; /* was there before, and was compared */
    assert_int_equal(pool_delete_originals(&m, &e), 0);
    assert_false(is_there(0));
    assert_true(is_there(1));
    assert_false(is_there(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_that_is_open_stops_it_half_way, make_originals,
                                        remove_originals),
        cmocka_unit_test_setup_teardown(test_what_is_on_no_record_stays, make_originals,
                                        remove_originals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
