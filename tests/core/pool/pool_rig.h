/* SPDX-License-Identifier: Apache-2.0 */
/* A pool with domains on the fake host, moved by processes of their own; and what must hold then. */
#ifndef TESTS_CORE_POOL_POOL_RIG_H
#define TESTS_CORE_POOL_POOL_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/pool/move.h"
#include "fake_host.h"

enum rig_act { RIG_MOVE, RIG_UNDO, RIG_DELETE };

struct rig_result {
    bool killed;
    int rc;
    struct err e;
    char hint[512];
};

/* Whether all is there, and nothing else has changed. */
enum rig_state {
    RIG_BEFORE = 1, /* pool and domains are as they were before the move */
    RIG_AFTER = 2,  /* they are as the move makes them */
    RIG_MIXED = 0,  /* some so, some so */
};

struct rig {
    struct fake_world *w;
    bool network, shutdown;
    struct fake_world at_first; /* as it was made */
    struct rig_result *r;       /* of the last act; shared with its process */
    const char *past;           /* the acts before it, for messages */
};

/* A world with three domains that use the pool, one of them by a volume, and one that does not. */
void rig_set_up(struct rig *r, bool network, bool shutdown);
/* The same again. */
void rig_reset(struct rig *r);
void rig_tear_down(struct rig *r);

/* In a process of its own, with that fault at call `at`. The number of calls that it made. */
unsigned rig_do(struct rig *r, enum rig_act act, enum fake_fault fault, unsigned at);

/* Fails, with what has happened, unless each domain is defined as before or as after the move and has
 * all that its guest has written where that leads, and nothing was done that must never be. */
enum rig_state rig_look(const struct rig *r);

/* All that a refusal must not have touched, as a text of the caller's; but for whether the domain runs
 * that somebody else starts. */
char *rig_print(const struct rig *r);

bool rig_has_journal(const struct rig *r);
/* Names below directory `name`, in order: "a.img b.img sub/c.img ". The caller's. */
char *rig_list(const struct rig *r, const char *name);

/* What was going on, for the message of a test that fails. */
const char *rig_says(const struct rig *r);

#endif
