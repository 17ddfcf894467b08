/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scratch is a directory in which a benchmark works: what is put there before a run, checked and
 * removed after it, outside of the clock. All of it goes through the store port, never around it: a
 * server whose files are changed behind its back gives wrong answers.
 */
#ifndef BENCH_RELOCATE_SCRATCH_H
#define BENCH_RELOCATE_SCRATCH_H

#include <signal.h>

#include "core/relocate/checksum.h"
#include "core/store/store.h"

struct scratch;

struct scratch_content {
    uint64_t size_bytes;
    char xxh3_128[CHECKSUM_HEX_MAX];
};

/* Directory `where`, nfs://… or a local path, on `ring`. Calls fail soon with ERR_CANCELLED when
 * *cancel is not 0, but those that remove something. */
struct scratch *scratch_open(struct ring *ring, const char *where,
                             const volatile sig_atomic_t *cancel, struct err *e);
void scratch_close(struct scratch *s); /* NULL is fine */

/* Reads `name` whole: 1 and *c; 0 when there is no such name. */
int scratch_read(struct scratch *s, const char *name, struct scratch_content *c, struct err *e);

/* Writes `size_bytes` to a new file, durably, and removes it: then the far end's memory has been
 * touched, and is free. */
int scratch_ballast(struct scratch *s, uint64_t size_bytes, struct err *e);

/* Makes `name` of local file `path`, durably. Holes stay holes. */
int scratch_put(struct scratch *s, const char *path, const char *name, struct err *e);

int scratch_make_directory(struct scratch *s, const char *name, struct err *e);

int scratch_remove(struct scratch *s, const char *name, struct err *e);

/* ERR_REFUSED when `name` exists. */
int scratch_check_absent(struct scratch *s, const char *name, struct err *e);

/* Whether `base`, a name without its directory, is one that the benchmark makes. */
typedef bool scratch_ours_fn(void *arg, const char *base);

/* What an interrupted `godwit relocate` of our names leaves in `directory` ("" is the place) to be
 * continued: ERR_REFUSED when there is one; or removes them all. */
int scratch_check_leftovers(struct scratch *s, const char *directory, scratch_ours_fn *ours,
                            void *arg, struct err *e);
int scratch_remove_leftovers(struct scratch *s, const char *directory, scratch_ours_fn *ours,
                             void *arg, struct err *e);

#endif
