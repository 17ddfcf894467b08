/* SPDX-License-Identifier: Apache-2.0 */
#include "core/migrate/phase.h"

#include <assert.h>

#include "core/clock.h"
#include "core/log.h"

#define BIT(phase) (1u << (phase))

static const struct {
    const char *name;
    unsigned next; /* the phases that may follow */
} phases[PHASE_COUNT] = {
    [PHASE_PLANNED] = {"planned", BIT(PHASE_PREPARING) | BIT(PHASE_FAILED)},
    [PHASE_PREPARING] = {"preparing", BIT(PHASE_PRECOPY) | BIT(PHASE_UNDOING)},
    [PHASE_PRECOPY] = {"precopy", BIT(PHASE_SWITCHOVER) | BIT(PHASE_UNDOING)},
    /* back to precopy: QEMU stopped the guest, failed to finish, and started it again */
    [PHASE_SWITCHOVER] = {"switchover", BIT(PHASE_POSTCOPY) | BIT(PHASE_CONFIRMING) |
                                            BIT(PHASE_PRECOPY) | BIT(PHASE_UNDOING)},
    [PHASE_POSTCOPY] = {"postcopy", BIT(PHASE_CONFIRMING) | BIT(PHASE_UNDOING)},
    [PHASE_CONFIRMING] = {"confirming", BIT(PHASE_DONE) | BIT(PHASE_UNDOING)},
    [PHASE_DONE] = {"done", 0},
    /* to done: while rolling back it was found that the guest had already moved */
    [PHASE_UNDOING] = {"undoing", BIT(PHASE_FAILED) | BIT(PHASE_DONE) | BIT(PHASE_UNCERTAIN)},
    [PHASE_FAILED] = {"failed", 0},
    [PHASE_UNCERTAIN] = {"uncertain", 0},
};

static void phase_note(struct phase_track *p, enum phase phase, int64_t at_ns)
{
    p->now = phase;
    if (p->logged == PHASE_LOG_MAX)
        p->logged--; /* the last word counts most */
    p->log[p->logged++] = (struct phase_entry){phase, at_ns};
}

void phase_init(struct phase_track *p, phase_fn *observer, void *arg)
{
    *p = (struct phase_track){.observer = observer, .observer_arg = arg};
    phase_note(p, PHASE_PLANNED, clock_now_ns());
}

void phase_set(struct phase_track *p, enum phase from, enum phase to, int64_t at_ns)
{
    assert(p->now == from);
    assert(phases[from].next & BIT(to));
    phase_note(p, to, at_ns);
    log_info("phase: %s -> %s", phases[from].name, phases[to].name);
    if (p->observer != NULL)
        p->observer(p->observer_arg, from, to, at_ns);
}

const char *phase_name(enum phase phase)
{
    assert(phase < PHASE_COUNT);
    return phases[phase].name;
}
