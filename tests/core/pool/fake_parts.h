/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the fake host share. */
#ifndef TESTS_CORE_POOL_FAKE_PARTS_H
#define TESTS_CORE_POOL_FAKE_PARTS_H

#include "fake_host.h"

enum fate { FATE_GOES, FATE_FAILS, FATE_FAILS_AFTER, FATE_DIES_AFTER };

/* Counts a call; what it names is for messages. One that is to die before its effect does not return. */
enum fate fake_enter(struct fake_world *w, const char *call);
/* After the effect, if it is to have one: 0, or the error. One that is to die then does not return. */
int fake_leave(enum fate fate, const char *call, enum err_class class, struct err *e);

/* Remembers the first. */
void fake_violation(struct fake_world *w, const char *what, const char *path);

/* The file of this machine that its disk `k` leads to; false: it has not so many. */
bool fake_disk(const struct fake_world *w, const char *definition, unsigned k, char path[512]);

/* A line of a definition, or of the pool. */
struct fake_line {
    char word[8], a[256], b[256];
};

/* The next line; NULL: there is none. */
const char *fake_next_line(const char *at, struct fake_line *l);
void fake_put_line(char text[FAKE_TEXT], const char *word, const char *a, const char *b);
/* In the host's own words. */
void fake_give(struct fake_world *w, const char *definition, char to[FAKE_TEXT]);
/* Where the pool's volumes are, as the definition means them: one that a domain runs with says where they
 * were when it started. */
void fake_volumes_path(const struct fake_world *w, const char *definition, char to[256]);
/* Where on this machine it leads; false: the line is no disk. */
bool fake_disk_path(const struct fake_world *w, const struct fake_line *l, const char *pool_path,
                    char to[512]);

/* Ends the test: the fake itself cannot go on. */
void fake_die(const char *what);

/* Of this process; NULL: it moves no pool. */
struct fake_world *fake_world_here(void);

#endif
