/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small NFSv3 server on a loopback port, in a thread of its own: one directory, a few files in
 * memory, and faults at the Nth call. What was written but not committed is forgotten when it is
 * told to crash.
 */
#ifndef TESTS_NFS_FAKE_SERVER_H
#define TESTS_NFS_FAKE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

enum { FAKE_FILES = 4, FAKE_NAME_MAX = 255 };

struct fake_file {
    char name[FAKE_NAME_MAX + 1]; /* "": the slot is free */
    unsigned char *cached, *durable;
    uint64_t size;
    uint32_t mode;
};

/* All are counts of calls, from 1, over all connections; 0: never. */
struct fake_faults {
    unsigned close_at;   /* close all connections instead of answering */
    unsigned drop_at;    /* do it, then close all connections instead of answering */
    unsigned crash_at;   /* forget what was not committed, change the verifier */
    unsigned garbage_at; /* answer with what is no RPC reply */
    unsigned mute_from;  /* from here on answer nothing */
    unsigned status_at;  /* answer a WRITE, COMMIT or CREATE from here on with this: */
    uint32_t status;
    uint32_t write_max;   /* what FSINFO says; 0: 1 MiB */
    uint32_t short_write; /* do only so much of a WRITE; 0: all */
    uint32_t fragment;    /* answer in RPC fragments of so many bytes; 0: in one */
    bool twice;           /* send each answer to a WRITE or COMMIT twice */
    bool denied;          /* refuse the credential of each WRITE */
    bool eperm_chown;     /* a SETATTR with an owner fails */
};

struct fake_server;

struct fake_server *fake_server_start(const struct fake_faults *faults);
/* Ends the thread; the files can be looked at after this. */
void fake_server_stop(struct fake_server *s);
void fake_server_free(struct fake_server *s);

int fake_server_port(const struct fake_server *s);
/* How many calls there were. */
unsigned fake_server_calls(const struct fake_server *s);
unsigned fake_server_writes(const struct fake_server *s);
/* Whether all calls but those without any came with the same credential: machine, uid and gid. */
bool fake_server_one_credential(const struct fake_server *s);
/* The file of that name; one whose name begins so, with `prefix`. NULL: none. */
const struct fake_file *fake_server_file(const struct fake_server *s, const char *name,
                                         bool prefix);

#endif
