/* SPDX-License-Identifier: Apache-2.0 */
#include "core/step.h"

#include "core/log.h"

static void step_undo(const struct step *steps, size_t done, void *ctx)
{
    while (done-- > 0) {
        if (steps[done].undo == NULL)
            continue;
        log_info("undo: %s", steps[done].name);
        steps[done].undo(ctx);
    }
}

int step_run(const struct step *steps, size_t count, void *ctx, bool *returnable, struct err *e)
{
    *returnable = true;
    for (size_t i = 0; i < count; i++) {
        log_info("step: %s", steps[i].name);
        if (steps[i].run(ctx, e) < 0) {
            log_info("step %s: %s", steps[i].name, e->msg);
            if (*returnable)
                step_undo(steps, i, ctx);
            return -1;
        }
        if (steps[i].flags & STEP_POINT_OF_NO_RETURN)
            *returnable = false;
    }
    return 0;
}
