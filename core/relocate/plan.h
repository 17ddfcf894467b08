/* SPDX-License-Identifier: Apache-2.0 */
/* What a relocation is going to do, found out without touching anything. */
#ifndef CORE_RELOCATE_PLAN_H
#define CORE_RELOCATE_PLAN_H

#include "core/relocate/place_set.h"
#include "core/relocate/transfer.h"

/* A name at the destination, before the run. */
struct plan_present {
    char *name;
    struct store_attr attr;
};

struct plan_directory {
    const struct relocate_site *from;
    char *name, *as;
    char *record; /* the name of what says that we have made it; NULL for the place itself */
    struct store_attr attr;
    bool made;                       /* by this run, or by one that it continues: */
    struct store_attr is, record_is; /* then */
};

struct plan {
    const struct relocate_site *to_site;
    struct relocate_options options;
    struct owner self;
    struct ring *ring;
    struct place_set places;
    struct store_place *to;
    struct transfer **transfers; /* n of room */
    size_t n, room;
    struct plan_directory *directories;
    size_t n_directories;
    struct plan_present *present; /* sorted by name */
    size_t n_present;
};

/* As relocate_plan(). *p has `to_site` and `options`, and is to be closed also after a failure. */
int plan_make(struct plan *p, const struct relocate_source *sources, size_t n, struct err *e);
void plan_close(struct plan *p);

/* One more image at the end of the list. */
int plan_add(struct plan *p, const struct relocate_source *s, const struct store_attr *attr,
             struct err *e);

#endif
