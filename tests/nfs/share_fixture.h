/* SPDX-License-Identifier: Apache-2.0 */
/* A share over real sockets to a small NFS server, for tests. */
#ifndef TESTS_NFS_SHARE_FIXTURE_H
#define TESTS_NFS_SHARE_FIXTURE_H

#include <signal.h>

#include "fake_server.h"
#include "nfs/share.h"

enum { KIB = 1024, BLOCK = 16 * KIB, SIZE = 70 * KIB + 77, BLOCKS = (SIZE + BLOCK - 1) / BLOCK };

/* Tests are run for each data path, with each ring: their state. */
struct variant {
    enum share_path path;
    enum ring_backend backend;
};

struct fixture {
    struct fake_server *server;
    struct ring *ring;
    struct store_place *place;
    enum share_path path;
    int64_t timeout_ns;
    unsigned warnings; /* that were logged before share_fixture_end() */
    struct err e;
    unsigned char data[SIZE], back[SIZE];
};

/* The operator's wish to stop; share_fixture_set_up() takes it back. */
extern volatile sig_atomic_t share_fixture_cancel;

/* `state` is that of cmocka. */
void share_fixture_set_up(struct fixture *f, const struct fake_faults *faults, void **state);
int share_fixture_open(struct fixture *f, const char *path);
/* Both, with "/export". */
void share_fixture_start(struct fixture *f, const struct fake_faults *faults, void **state);
/* Closes the share, before the server's state is looked at. */
void share_fixture_end(struct fixture *f);
void share_fixture_tear_down(struct fixture *f);

/* Removes what has this name now, if anything. As the store's remove(). */
int share_fixture_remove(struct fixture *f, const char *name);

/* What publish() gives. */
extern const struct store_attr share_fixture_attr;

/* Starts `count` I/Os, and waits for all. */
typedef void share_fixture_io_fn(struct store_io *io);
void share_fixture_run(struct fixture *f, share_fixture_io_fn *fn, struct store_io *ios,
                       unsigned count);

#endif
