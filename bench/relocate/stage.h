/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A place between the runs of a benchmark: what is put there before, checked and removed after,
 * outside of the clock. All of it goes through the store port, never around it: a server whose
 * files are changed behind its back gives wrong answers.
 */
#ifndef BENCH_RELOCATE_STAGE_H
#define BENCH_RELOCATE_STAGE_H

#include <signal.h>

#include "core/relocate/checksum.h"
#include "core/store/store.h"

struct stage;

struct stage_content {
    uint64_t size_bytes;
    char xxh3_128[CHECKSUM_HEX_MAX];
};

/* Directory `where`, nfs://… or a local path, on `ring`. Calls fail soon with ERR_CANCELLED when
 * *cancel is not 0, but those that remove something. */
struct stage *stage_open(struct ring *ring, const char *where, const volatile sig_atomic_t *cancel,
                         struct err *e);
void stage_close(struct stage *s); /* NULL is fine */

/* Reads `name` whole: 1 and *c; 0 when there is no such name. */
int stage_read(struct stage *s, const char *name, struct stage_content *c, struct err *e);

/* Writes `size_bytes` to a new file, durably, and removes it: then the far end's memory has been
 * touched, and is free. */
int stage_ballast(struct stage *s, uint64_t size_bytes, struct err *e);

/* Makes `name` of local file `path`, durably. Holes stay holes. */
int stage_put(struct stage *s, const char *path, const char *name, struct err *e);

int stage_make_directory(struct stage *s, const char *name, struct err *e);

int stage_remove(struct stage *s, const char *name, struct err *e);

/* ERR_REFUSED when `name` exists. */
int stage_check_absent(struct stage *s, const char *name, struct err *e);

/* Whether `base`, a name without its directory, is one that the benchmark makes. */
typedef bool stage_ours_fn(void *arg, const char *base);

/* What an interrupted `godwit relocate` of our names leaves in `directory` ("" is the place) to be
 * continued: ERR_REFUSED when there is one; or removes them all. */
int stage_check_leftovers(struct stage *s, const char *directory, stage_ours_fn *ours, void *arg,
                          struct err *e);
int stage_remove_leftovers(struct stage *s, const char *directory, stage_ours_fn *ours, void *arg,
                           struct err *e);

#endif
