/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's vmstate_downtime_* trace points (QEMU 8.2 and later), as its trace backend "log" writes
 * them to the log file (-D FILE, or standard error, which libvirt has in its qemu/NAME.log).
 */
#ifndef BENCH_MIGRATE_TRACE_LOG_H
#define BENCH_MIGRATE_TRACE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"

enum trace_point {
    TRACE_CHECKPOINT, /* vmstate_downtime_checkpoint: `name` is the checkpoint */
    TRACE_SAVE,       /* vmstate_downtime_save: one device, `name`, has been saved in `took_ns` */
    TRACE_LOAD,       /* vmstate_downtime_load */
};

struct trace_line {
    enum trace_point point;
    int64_t at_ns;   /* CLOCK_MONOTONIC; TRIAL_NEVER: the line has no time (-msg timestamp=on) */
    int64_t took_ns; /* of a device */
    char type[16];   /* "iterable" (RAM's last pass) or "non-iterable" */
    char name[64];   /* "src-downtime-start", "0000:00:02.0/virtio-net" */
    int instance;
};

struct trace_log {
    struct trace_line *lines; /* in the order of the file */
    size_t n;
};

/* Where the log ends now; 0 where there is none yet. */
int64_t trace_log_end(const char *path);

/* What was written from the offset on. No such file is an empty log. Lines that are not of these
 * trace points are skipped, and so is one that is cut. ERR_IO. */
int trace_log_read(const char *path, int64_t from, struct trace_log *log, struct err *e);

/* One line without its newline; false: it is not of these trace points. The times of the line are
 * CLOCK_REALTIME: `offset_ns` is that minus CLOCK_MONOTONIC. */
bool trace_log_parse(const char *text, int64_t offset_ns, struct trace_line *line);

void trace_log_free(struct trace_log *log); /* what it owns, not itself */

#endif
