/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/place_set.h"

#include <errno.h>
#include <stdlib.h>

struct place_set_entry {
    const struct relocate_site *site;
    struct store_place *place;
};

struct store_place *place_set_get(struct place_set *s, const struct relocate_site *site,
                                  struct err *e)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->at[i].site == site)
            return s->at[i].place;
    struct place_set_entry *more = realloc(s->at, (s->n + 1) * sizeof *more);
    if (more == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot allocate for %s", site->url);
        return NULL;
    }
    s->at = more;
    struct store_place *p = site->open(site, s->ring, e);
    if (p != NULL)
        s->at[s->n++] = (struct place_set_entry){site, p};
    return p;
}

void place_set_close(struct place_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        s->at[i].place->ops->place_close(s->at[i].place);
    free(s->at);
    *s = (struct place_set){.ring = s->ring};
}
