/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small NFSv3 server on a loopback port, in a thread of its own: a few files in memory, and
 * faults at the Nth call. What was written but not committed is forgotten when it is to crash.
 */
#ifndef TESTS_NFS_FAKE_SERVER_H
#define TESTS_NFS_FAKE_SERVER_H

#include <stdbool.h>
#include <stdint.h>

enum { FAKE_FILES = 64, FAKE_NAME_MAX = 255, FAKE_GROUPS_MAX = 16 };

struct fake_file {
    enum { FAKE_FREE, FAKE_REGULAR, FAKE_DIRECTORY, FAKE_LINK = 5 } type; /* as ftype3 */
    char name[FAKE_NAME_MAX + 1];
    char target[FAKE_NAME_MAX + 1]; /* of a link */
    unsigned parent;                /* of the directory it is in, the index; [0] is the export */
    char second[FAKE_NAME_MAX + 1]; /* another name there that LINK gave it; "": none */
    uint64_t id;
    unsigned char *cached, *durable; /* nothing but zeros from `end` on */
    uint64_t size, end;
    uint32_t mode, mtime_s;
};

/* A byte that is wrong in the answer to a call, counted like those below. */
struct fake_patch {
    unsigned call;
    uint16_t
        offset; /* behind the record mark; in the xid nothing is wrong: that would be no answer */
    uint8_t value;
};

/* Those that end in _at are counts of calls, from 1, over all connections; 0: never. */
struct fake_faults {
    unsigned close_at;  /* close all connections instead of doing it */
    unsigned drop_at;   /* do it, then close all connections instead of answering */
    unsigned cut_at;    /* answer with `cut_bytes` of the answer, then close all connections */
    unsigned cut_bytes; /* with the record mark */
    unsigned refuse_ms; /* after each of these, refuse connections for so long */
    bool silent; /* after each of these, neither take connections nor refuse them, as when packets
                            * are dropped: for refuse_ms, or for ever */
    unsigned crash_at;     /* forget what was not committed, change the verifier */
    unsigned stale_at;     /* before it is done, all handles but the export's become stale */
    unsigned stale_all_at; /* the export's, too, until it is mounted again */
    unsigned garbage_at;   /* answer with what is no RPC reply */
    unsigned mute_from;    /* from here on answer nothing */
    unsigned mute_until;   /* if not 0: up to this call */
    unsigned status_at;    /* answer with `status` from here on: */
    uint32_t status;
    unsigned status_proc;         /* this procedure; 0: READ, WRITE, COMMIT and CREATE */
    unsigned status_times;        /* so often; 0: for ever */
    const char *export;           /* the path that can be mounted; NULL: /export */
    uint32_t read_max, write_max; /* what FSINFO says; 0: 1 MiB */
    uint32_t short_read;          /* give only so much to a READ; 0: all */
    uint32_t short_write;         /* do only so much of a WRITE; 0: all */
    uint32_t fragment;            /* answer in RPC fragments of so many bytes; 0: in one */
    unsigned page_entries;        /* list so many at a time; 0: 8 */
    bool list_circles;            /* after the last entry they come again, from the second on */
    bool list_goes_on;            /* there is always one more page, of thousands of names */
    unsigned strays_from; /* from this call on, no end of answers to nothing in the place of one to
                            * READ, WRITE or COMMIT */
    bool reads_nothing;   /* READ is answered with 0 bytes that are not the end */
    unsigned reverse;     /* hold so many answers to READ, WRITE or COMMIT, and turn them round */
    const struct fake_patch *patches; /* n_patches */
    unsigned n_patches;
    const char *instead; /* send this, and then close, instead of the answer to: */
    unsigned instead_at, instead_bytes;
    unsigned slow_bytes_ms; /* take and give no more than so many bytes a millisecond; 0: all */
    bool no_link;           /* LINK is not known */
    bool no_plus;           /* READDIRPLUS is not known */
    bool bare;              /* leave out what is optional in answers */
    bool ignore_size;       /* of a CREATE */
    bool twice;             /* send each answer to a READ, WRITE or COMMIT twice */
    bool denied;            /* refuse the credential of each READ, WRITE or COMMIT */
    bool only_v4;           /* NFS has no version 3 */
    bool no_nfs;            /* NFS is another program */
    bool not_mapped;        /* the port mapper, which has the same port, knows nothing */
    uint32_t flavour;       /* the only one that MNT gives; 0: AUTH_SYS */
    unsigned more_exports;  /* so many others are listed */
    uint32_t mount_status;  /* MNT fails by this */
    bool eperm_chown;       /* a SETATTR with an owner fails */
};

struct fake_server;

struct fake_server *fake_server_start(const struct fake_faults *faults);
/* Ends the thread; the files can be looked at after this. */
void fake_server_stop(struct fake_server *s);
void fake_server_free(struct fake_server *s);

/* Before the first call: what stands there already. A directory comes before what is in it. */
void fake_server_add_file(struct fake_server *s, const char *path, const void *data, uint64_t size);
void fake_server_add_directory(struct fake_server *s, const char *path);
void fake_server_add_link(struct fake_server *s, const char *path, const char *target);

/* A port where connecting takes for ever: nobody answers, nobody refuses. */
struct fake_silence;
struct fake_silence *fake_silence_start(int *port);
void fake_silence_stop(struct fake_silence *s);

int fake_server_port(const struct fake_server *s);
/* How many there were. */
unsigned fake_server_calls(const struct fake_server *s);
unsigned fake_server_reads(const struct fake_server *s);
unsigned fake_server_writes(const struct fake_server *s);
unsigned fake_server_connections(const struct fake_server *s);
/* Whether the last one came from a reserved port. */
bool fake_server_reserved(const struct fake_server *s);
/* The supplementary groups of the last call that had a credential; how many. */
uint32_t fake_server_groups(const struct fake_server *s, uint32_t groups[FAKE_GROUPS_MAX]);
/* Whether all calls but those without any came with the same credential: machine, uid, gid and
 * groups. */
bool fake_server_one_credential(const struct fake_server *s);
/* How often the port mapper was asked. */
unsigned fake_server_mapped(const struct fake_server *s);
/* NULL: none. */
const struct fake_file *fake_server_file(const struct fake_server *s, const char *path);
/* Before the first call, and until it is stale. The length. */
uint32_t fake_server_handle(struct fake_server *s, const char *path, char *handle);
/* Of all kinds, without the export itself. */
unsigned fake_server_files(const struct fake_server *s);

#endif
