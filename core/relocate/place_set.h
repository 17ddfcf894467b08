/* SPDX-License-Identifier: Apache-2.0 */
/* The places that one thread has opened: each site once, when it is needed first. */
#ifndef CORE_RELOCATE_PLACE_SET_H
#define CORE_RELOCATE_PLACE_SET_H

#include "core/relocate/relocate.h"

struct place_set {
    struct ring *ring;
    struct place_set_entry *at;
    size_t n;
};

/* NULL with the error. The place stays the set's. */
struct store_place *place_set_get(struct place_set *s, const struct relocate_site *site,
                                  struct err *e);

void place_set_close(struct place_set *s);

#endif
