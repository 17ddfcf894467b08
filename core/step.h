/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The step engine: a migration or a relocation is a const table of steps, run in order.
 *
 * When a step fails, the steps before it are undone, last first; the failed one has cleaned up
 * after itself. An undo cannot fail: what it could not put back it reports through its context
 * and the log. All that an undo needs is allocated before the step that it would undo.
 *
 * One step may be the point of no return. When that step has succeeded nothing is undone any
 * more: a later failure is returned as it is, and the caller has to settle where things stand.
 */
#ifndef CORE_STEP_H
#define CORE_STEP_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum { STEP_POINT_OF_NO_RETURN = 1 << 0 };

struct step {
    const char *name; /* "set source parameters": completes the sentence "step X failed" */
    int (*run)(void *ctx, struct err *e);
    void (*undo)(void *ctx); /* NULL: there is nothing to undo */
    unsigned flags;
};

/*
 * Runs `count` steps. 0, or -1 with the error of the step that failed (its name goes to the log).
 * *returnable tells whether the failure came before the point of no return, and so was undone.
 */
int step_run(const struct step *steps, size_t count, void *ctx, bool *returnable, struct err *e);

#endif
