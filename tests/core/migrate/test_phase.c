/* SPDX-License-Identifier: Apache-2.0 */
/* Every pair of phases: the legal moves are made, each other one aborts. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/migrate/phase.h"

/* As drawn in core/migrate/phase.h, written down a second time on purpose. */
static const char *const legal[] = {
    "planned preparing",     "planned failed",     "preparing precopy",   "preparing undoing",
    "precopy switchover",    "precopy undoing",    "switchover precopy",  "switchover postcopy",
    "switchover confirming", "switchover undoing", "postcopy confirming", "postcopy undoing",
    "confirming done",       "confirming undoing", "undoing failed",      "undoing done",
    "undoing uncertain",
};

static bool is_legal(enum phase from, enum phase to)
{
    for (size_t i = 0; i < sizeof legal / sizeof *legal; i++) {
        size_t len = strlen(phase_name(from));
        if (strncmp(legal[i], phase_name(from), len) == 0 && legal[i][len] == ' ' &&
            strcmp(legal[i] + len + 1, phase_name(to)) == 0)
            return true;
    }
    return false;
}

static bool move_aborts(enum phase now, enum phase from, enum phase to)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct phase_track p;
        close(STDERR_FILENO);
        phase_init(&p, NULL, NULL);
        p.now = now;
        phase_set(&p, from, to, 1);
        _exit(p.now == to ? 0 : 1);
    }
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_only_legal_moves_are_made(void **state)
{
    (void)state;
    for (enum phase from = 0; from < PHASE_COUNT; from++)
        for (enum phase to = 0; to < PHASE_COUNT; to++)
            if (move_aborts(from, from, to) == is_legal(from, to))
                fail_msg("%s -> %s", phase_name(from), phase_name(to));
}

static void test_a_move_from_another_phase_aborts(void **state)
{
    (void)state;
    assert_true(move_aborts(PHASE_PLANNED, PHASE_PREPARING, PHASE_PRECOPY));
}

struct watch {
    int calls;
    enum phase from, to;
    int64_t at_ns;
};

static void on_phase(void *arg, enum phase from, enum phase to, int64_t at_ns)
{
    struct watch *w = arg;
    *w = (struct watch){w->calls + 1, from, to, at_ns};
}

static void test_a_move_is_logged_and_observed(void **state)
{
    (void)state;
    struct watch w = {0};
    struct phase_track p;
    phase_init(&p, on_phase, &w);
    assert_int_equal(p.logged, 1);
    assert_true(p.log[0].phase == PHASE_PLANNED && p.log[0].at_ns > 0);
    phase_set(&p, PHASE_PLANNED, PHASE_PREPARING, 42);
    assert_true(w.calls == 1 && w.from == PHASE_PLANNED && w.to == PHASE_PREPARING &&
                w.at_ns == 42);
    assert_true(p.logged == 2 && p.log[1].phase == PHASE_PREPARING && p.log[1].at_ns == 42);
    phase_set(&p, PHASE_PREPARING, PHASE_PRECOPY, 43);
    for (int i = 0; i < 40; i++) { /* more than the log holds */
        phase_set(&p, PHASE_PRECOPY, PHASE_SWITCHOVER, 44);
        phase_set(&p, PHASE_SWITCHOVER, PHASE_PRECOPY, 45);
    }
    assert_int_equal(p.logged, PHASE_LOG_MAX);
    assert_true(p.now == PHASE_PRECOPY && w.calls == 82);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_legal_moves_are_made),
        cmocka_unit_test(test_a_move_from_another_phase_aborts),
        cmocka_unit_test(test_a_move_is_logged_and_observed),
    };
    return cmocka_run_group_tests_name("phase", tests, NULL, NULL);
}
