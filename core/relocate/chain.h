/* SPDX-License-Identifier: Apache-2.0 */
/* Backing chains: which images belong together, and in which order they go. */
#ifndef CORE_RELOCATE_CHAIN_H
#define CORE_RELOCATE_CHAIN_H

#include "core/relocate/plan.h"

/*
 * Looks into each image of the plan. Where the operator said that it is qcow2, its backing files
 * are added to the plan; each image then follows the one that it is based on. -1: an image is not
 * what it was said to be, or needs a file that would stay behind.
 */
int chain_resolve(struct plan *p, struct err *e);

#endif
