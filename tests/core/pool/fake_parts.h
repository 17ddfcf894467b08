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

/* Of this process; NULL: it moves no pool. */
struct fake_world *fake_world_here(void);

#endif
