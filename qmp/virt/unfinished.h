/* SPDX-License-Identifier: Apache-2.0 */
/* What a migration has left that nobody has brought to an end, as both QEMUs tell it. */
#ifndef QMP_VIRT_UNFINISHED_H
#define QMP_VIRT_UNFINISHED_H

#include <libvirt/libvirt.h>
#include <stdbool.h>

/* What a migration has left that was not brought to an end. */
enum virt_left {
    VIRT_LEFT_NOTHING,
    VIRT_LEFT_AT_GATE, /* the source stands before its switchover */
    VIRT_LEFT_UNDER_WAY,
    VIRT_LEFT_WAITING,    /* a destination for which nothing comes */
    VIRT_LEFT_LOADING,    /* all has been sent, and the destination has not loaded it yet */
    VIRT_LEFT_LOADED,     /* … has loaded it, and is stopped */
    VIRT_LEFT_MOVED,      /* … runs it */
    VIRT_LEFT_SENT,       /* … is not to be seen */
    VIRT_LEFT_COPY,       /* the source runs, the destination has a stopped copy */
    VIRT_LEFT_RUNS_THERE, /* the destination runs, the source is stopped */
    VIRT_LEFT_TWICE,      /* both run */
    VIRT_LEFT_UNKNOWN,
};

/* Whether query-migrate's "status" is of no migration that goes on. */
bool virt_migration_is_over(const char *status);

/* From QEMU's words: the source's run state and migration, and the run state of the destination's
 * domain of the same UUID; NULL: there is none, "": it does not tell. */
enum virt_left virt_left_is(const char *source_run, const char *source_migration,
                            const char *there);

/* The "status" in what QEMU answers, "none" where it has none, free() it; NULL: it does not answer
 *. */
char *virt_left_ask(virDomainPtr dom, const char *command);

#endif
