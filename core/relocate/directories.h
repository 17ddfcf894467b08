/* SPDX-License-Identifier: Apache-2.0 */
/* The directories of a relocation: made before its images, and given their attributes after them. */
#ifndef CORE_RELOCATE_DIRECTORIES_H
#define CORE_RELOCATE_DIRECTORIES_H

#include "core/relocate/plan.h"

/* Those that are not there are made, parents first. */
int directories_make(struct plan *p, struct err *e);

/* All images stand: attributes for those that were made, children first; sources that are empty now
 * are removed, with `move`. */
int directories_end(struct plan *p, struct err *e);

/* After a failure: those that were made get their attributes, too, so that they can be used as they
 * are; that they were made stays on record, for the run that continues. */
void directories_abandon(struct plan *p);

#endif
