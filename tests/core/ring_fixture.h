/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the ring share: a ring of either backend, a file, a pair of sockets. */
#ifndef TESTS_CORE_RING_FIXTURE_H
#define TESTS_CORE_RING_FIXTURE_H

#include "core/ring.h"

/* What a callback brought; `see` is the callback. */
struct seen {
    int count;
    int res;
};

struct fixture {
    enum ring_backend backend;
    struct ring *ring;
    int file; /* an unlinked one, empty */
    int pair[2];
};

void see(void *arg, int res);

/* *state points to the backend. */
void set_up(struct fixture *f, void **state);
void tear_down(struct fixture *f);

/* Turns until `s` was called. */
void await(struct fixture *f, const struct seen *s);

#endif
