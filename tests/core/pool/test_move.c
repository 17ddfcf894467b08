/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The move of a pool, its undo and its end, with a fault at each call in turn: of the host, of the share, of
 * the journal, and of each removal. Whatever happens, a domain is defined as before or as after, what its
 * guest has written is where that leads, and nothing is removed to which a domain is led; what the exit
 * class says is true; and the next command ends it, one way or the other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "fake_parts.h"
#include "pool_rig.h"

#define UNDO_COMMAND "the command that takes it back"

static bool is_refusal(const struct rig *r)
{
    return !r->r->killed && r->r->rc < 0 &&
           (r->r->e.class == ERR_REFUSED || r->r->e.class == ERR_USAGE);
}

static bool somebody_meddled(const struct rig *r)
{
    return r->w->fault == FAKE_STARTED || r->w->fault == FAKE_USED;
}

/* Of a move or undo that failed, and says that all is well. */
static void look_at_failure(const struct rig *r, enum rig_act act, enum rig_state state)
{
    if (r->r->e.class == ERR_UNCERTAIN) {
        assert_true(act != RIG_MOVE || strstr(r->r->hint, UNDO_COMMAND) != NULL);
        return;
    }
    if (act == RIG_MOVE ? !(state & RIG_BEFORE) : state == RIG_MIXED)
        fail_msg("%s: and pool and domains are not as they were", rig_says(r));
    if (!r->w->pool_active)
        fail_msg("%s: and the pool is stopped", rig_says(r));
    for (size_t i = 0; act == RIG_MOVE && i < r->w->n; i++)
        if (r->at_first.domains[i].running_as[0] != '\0' && r->w->domains[i].running_as[0] == '\0')
            fail_msg("%s: and domain %s is left shut off", rig_says(r), r->w->domains[i].name);
}

static void look_at_result(const struct rig *r, enum rig_act act, const char *before)
{
    enum rig_state state = rig_look(r);
    if (r->r->killed)
        return;
    if (is_refusal(r)) {
        CLEANUP_FREE char *now = rig_print(r);
        if (strcmp(now, before) != 0)
            fail_msg("%s: and something was touched:\n%s\nwas:\n%s", rig_says(r), now, before);
    } else if (r->r->rc < 0) {
        look_at_failure(r, act, state);
    } else if (!(state & (act == RIG_UNDO ? RIG_BEFORE : RIG_AFTER)) || !r->w->pool_active) {
        fail_msg("%s: and pool and domains are not as they should be", rig_says(r));
    }
}

static void act(struct rig *r, enum rig_act what, enum fake_fault fault, unsigned at)
{
    CLEANUP_FREE char *before = rig_print(r);
    rig_do(r, what, fault, at);
    look_at_result(r, what, before);
}

static void must_list(const struct rig *r, const char *directory, const char *names)
{
    CLEANUP_FREE char *is = rig_list(r, directory);
    if (strcmp(is, names) != 0)
        fail_msg("%s: %s has: %s", rig_says(r), directory, is);
}

/* ---- the ends ---- */

static void must_be_done(const struct rig *r)
{
    if (r->r->rc < 0)
        fail_msg("again: %s", rig_says(r));
    must_list(r, "share", "a.img b.img sub sub/c.img ");
    assert_true(rig_has_journal(r));
}

static void must_be_undone(const struct rig *r)
{
    if (r->r->rc < 0 && !(is_refusal(r) && strstr(r->r->e.msg, "nothing to undo") != NULL))
        fail_msg("undo: %s", rig_says(r));
    if (rig_look(r) != RIG_BEFORE && !r->network)
        fail_msg("undo: %s: it is not as before", rig_says(r));
    must_list(r, "share", "");
    must_list(r, "pool", "a.img b.img sub sub/c.img ");
    assert_false(rig_has_journal(r));
}

static void must_be_deleted(const struct rig *r)
{
    if (r->r->rc < 0 && !(is_refusal(r) && strstr(r->r->e.msg, "nothing to delete") != NULL))
        fail_msg("delete: %s", rig_says(r));
    must_list(r, "pool", "");
    assert_false(rig_has_journal(r));
}

/* What somebody has running is ended, as the messages ask for. */
static void end_domains(struct rig *r)
{
    for (size_t i = 0; i < r->w->n; i++)
        if (r->w->domains[i].running_as[0] != '\0' && (int)i != 0)
            fake_end(&r->w->domains[i]);
    if (!r->shutdown)
        fake_end(&r->w->domains[0]);
}

static void use_domains(struct rig *r)
{
    for (size_t i = 0; i < r->w->n; i++) {
        if (r->w->domains[i].running_as[0] != '\0')
            continue;
        fake_start(r->w, &r->w->domains[i]);
        fake_end(&r->w->domains[i]);
    }
}

/* ---- sweeps ---- */

/* Each call is swept; with $POOL_SWEEP_STEP only each such one, another set of them for each `sweep`. */
static unsigned sweep_call(unsigned n, unsigned sweep)
{
    const char *text = getenv("POOL_SWEEP_STEP");
    unsigned step = text != NULL ? (unsigned)strtoul(text, NULL, 10) : 1;
    assert_true(step > 0);
    return 1 + n * step + sweep % step;
}

enum follow { AGAIN, BACK, USED_AGAIN, USED_BACK, FOLLOWS };

/* Then a person has to say which of them count. */
static bool is_written_on_both_sides(const struct rig *r)
{
    unsigned places = 0;
    for (size_t i = 0; i < r->w->n; i++) {
        char path[512], share[96];
        const struct fake_domain *d = &r->w->domains[i];
        snprintf(share, sizeof share, "%s/share/", r->w->top);
        if (d->written > 0 && fake_disk(r->w, d->definition, 0, path))
            places |= strncmp(path, share, strlen(share)) == 0 ? 1 : 2;
    }
    return places == 3;
}

static void follow(struct rig *r, enum follow what)
{
    bool meddled = somebody_meddled(r) || what == USED_AGAIN || what == USED_BACK;
    end_domains(r);
    if (what == USED_AGAIN || what == USED_BACK)
        use_domains(r);
    bool back = what == BACK || what == USED_BACK;
    act(r, back ? RIG_UNDO : RIG_MOVE, FAKE_NONE, 0);
    /* what guests have written since is in one place alone: it may not be given up, or has to be copied
     * again */
    if (meddled && r->r->rc < 0) {
        if (back || is_written_on_both_sides(r))
            return;
        act(r, RIG_MOVE, FAKE_NONE, 0);
    }
    if (back)
        must_be_undone(r);
    else
        must_be_done(r);
}

/* A move, or the undo of one that is done, with each fault at each call. The number of worlds. */
static unsigned sweep(bool network, bool shutdown, enum rig_act first, enum fake_fault fault,
                      enum follow then)
{
    struct rig r;
    unsigned n = 0;
    rig_set_up(&r, network, shutdown);
    for (bool hit = true; hit; n++) {
        if (n > 0)
            rig_reset(&r);
        if (first == RIG_UNDO) {
            act(&r, RIG_MOVE, FAKE_NONE, 0);
            must_be_done(&r);
        }
        r.w->meddled = n % 3;
        act(&r, first, fault, sweep_call(n, (unsigned)fault + (unsigned)then));
        hit = r.w->hit[0] != '\0';
        follow(&r, then);
    }
    rig_tear_down(&r);
    return n;
}

static void sweep_all(bool network, bool shutdown, enum rig_act first)
{
    unsigned worlds = 0;
    for (enum fake_fault fault = FAKE_FAILS; fault < FAKE_FAULTS; fault++) {
        bool killed = fault == FAKE_KILLED || fault == FAKE_KILLED_AFTER;
        for (enum follow then = AGAIN; then < (killed ? FOLLOWS : USED_AGAIN); then++)
            worlds += sweep(network, shutdown, first, fault, then);
    }
    print_message("%u worlds\n", worlds);
}

static void a_move_of_files_fails_anywhere(void **state)
{
    (void)state;
    sweep_all(false, false, RIG_MOVE);
}

static void a_move_that_shuts_down_fails_anywhere(void **state)
{
    (void)state;
    sweep_all(false, true, RIG_MOVE);
}

static void a_move_to_network_disks_fails_anywhere(void **state)
{
    (void)state;
    sweep_all(true, true, RIG_MOVE);
}

static void an_undo_fails_anywhere(void **state)
{
    (void)state;
    sweep_all(false, false, RIG_UNDO);
}

static void an_undo_of_network_disks_fails_anywhere(void **state)
{
    (void)state;
    sweep_all(true, false, RIG_UNDO);
}

static void sweep_delete(bool network, enum fake_fault fault)
{
    struct rig r;
    unsigned n = 0;
    rig_set_up(&r, network, false);
    for (bool hit = true; hit; n++) {
        if (n > 0)
            rig_reset(&r);
        act(&r, RIG_MOVE, FAKE_NONE, 0);
        must_be_done(&r);
        r.w->meddled = n % 3;
        act(&r, RIG_DELETE, fault, sweep_call(n, (unsigned)fault));
        hit = r.w->hit[0] != '\0';
        end_domains(&r);
        act(&r, RIG_DELETE, FAKE_NONE, 0);
        must_be_deleted(&r);
    }
    rig_tear_down(&r);
}

static void a_deletion_fails_anywhere(void **state)
{
    (void)state;
    for (enum fake_fault fault = FAKE_FAILS; fault < FAKE_FAULTS; fault++) {
        sweep_delete(false, fault);
        sweep_delete(true, fault);
    }
}

/* Killed at the first such call; what somebody changes then in a domain that was not redefined stays. */
static void an_undo_leaves_what_was_changed(void **state)
{
    static const char *const calls[] = {"share publish", "host define pool", "host define"};
    (void)state;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct rig r;
        unsigned n = 1;
        rig_set_up(&r, false, false);
        struct fake_domain *last = &r.w->domains[2];
        for (; rig_do(&r, RIG_MOVE, FAKE_KILLED, n) > 0 && strcmp(r.w->hit, calls[i]) != 0; n++)
            rig_reset(&r);
        assert_true(r.r->killed);
        fake_note(last);
        rig_do(&r, RIG_UNDO, FAKE_NONE, 0);
        if (r.r->rc < 0 || strstr(last->definition, "note changed") == NULL)
            fail_msg("%s: %s", rig_says(&r), last->definition);
        must_list(&r, "share", "");
        rig_tear_down(&r);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_move_of_files_fails_anywhere),
        cmocka_unit_test(a_move_that_shuts_down_fails_anywhere),
        cmocka_unit_test(a_move_to_network_disks_fails_anywhere),
        cmocka_unit_test(an_undo_fails_anywhere),
        cmocka_unit_test(an_undo_of_network_disks_fails_anywhere),
        cmocka_unit_test(a_deletion_fails_anywhere),
        cmocka_unit_test(an_undo_leaves_what_was_changed),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
