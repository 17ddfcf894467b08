/* SPDX-License-Identifier: Apache-2.0 */
/* The workers that take transfers to their end, together. */
#ifndef CORE_RELOCATE_WORKERS_H
#define CORE_RELOCATE_WORKERS_H

#include "core/relocate/transfer.h"

struct workers_job {
    const struct relocate_options *options;
    const struct relocate_site *to;
    struct transfer **transfers;
    size_t n;
    struct relocate_totals *totals; /* filled at the end; images apart */
};

/* 0: all have ended well. -1: the first error. Those that have not ended are to be abandoned. */
int workers_run(const struct workers_job *job, struct err *e);

#endif
