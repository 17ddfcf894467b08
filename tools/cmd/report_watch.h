/* SPDX-License-Identifier: Apache-2.0 */
/* What `godwit watch` shows of a migration: rows for people, a JSON object a line for programs, and
 * a file for Prometheus. */
#ifndef TOOLS_CMD_REPORT_WATCH_H
#define TOOLS_CMD_REPORT_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/err.h"
#include "qmp/watch.h"

enum watch_end {
    WATCH_GOES_ON,
    WATCH_COMPLETED,
    WATCH_FAILED,
    WATCH_CANCELLED, /* by whoever drives it */
    WATCH_LOST,      /* QEMU has ended or is unreachable, and nobody said how it went */
};

struct watch_view {
    const char *target;         /* as the user named it */
    struct watch_sample sample; /* the last one; of all zeros before the first */
    bool sampled;
    bool begun;
    bool postcopy;      /* was seen: unless it completes, the guest may be on either side */
    bool unreachable;   /* the connection was lost, and QEMU is not known to have ended */
    bool diverges;      /* it falls behind, pass after pass: left alone, it never ends */
    int64_t elapsed_ns; /* since it was seen to begin */
    int64_t began_epoch_ns, ended_epoch_ns, sampled_epoch_ns; /* CLOCK_REALTIME; 0: not yet */
    const char *counted_by; /* the downtime: "QEMU" or "libvirt"; NULL: it is not known */
    enum watch_end end;
};

const char *watch_state_name(enum vm_migration m);

/* The guest dirties memory faster than it is sent. */
bool watch_falls_behind(const struct watch_sample *s);

void report_watch_head(FILE *to);
/* Without a newline. */
void report_watch_row(const struct watch_view *v, char *line, size_t size);
void report_watch_summary(const struct watch_view *v, FILE *to);

/* "event": "sample", and at the end "end". */
void report_watch_json(const struct watch_view *v, int fd);

/* Replaces the file as a whole, so that a reader never sees half of one. The values stay after the
 * end. ERR_IO. */
int report_watch_metrics(const struct watch_view *v, const char *path, struct err *e);

#endif
