/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the small NFS server, and the procedures on them. */
#ifndef TESTS_NFS_FAKE_EXPORT_H
#define TESTS_NFS_FAKE_EXPORT_H

#include "fake_server.h"
#include "fake_xdr.h"

enum { FAKE_FILE_MAX = 4 << 20 };
enum {
    FAKE_NFS_OK = 0,
    FAKE_PERM = 1,
    FAKE_NOENT = 2,
    FAKE_ACCES = 13,
    FAKE_EXIST = 17,
    FAKE_NOTDIR = 20,
    FAKE_ISDIR = 21,
    FAKE_NOTEMPTY = 66,
    FAKE_STALE = 70,
    FAKE_NOTSUPP = 10004,
};
enum { FAKE_READ = 6, FAKE_WRITE = 7, FAKE_CREATE = 8, FAKE_COMMIT = 21 };

struct fake_export {
    const struct fake_faults *faults;
    struct fake_file files[FAKE_FILES];
    uint64_t next_id, verifier;
    uint32_t generation, root_generation; /* of handles */
    unsigned reads, writes;
};

void fake_export_init(struct fake_export *x, const struct fake_faults *faults);
void fake_export_free(struct fake_export *x);

/* The index of the path's file; -1: none. */
int fake_export_find(const struct fake_export *x, const char *path);
/* A new one; its index. */
unsigned fake_export_add(struct fake_export *x, unsigned parent, const char *name, int type);

/* As an opaque. */
void fake_export_put_handle(struct fake_export *x, struct fake_xdr *out, unsigned i);

/* Forgets what was not committed. */
void fake_export_crash(struct fake_export *x);

/* EXPORT: those of more_exports, /export to a network, and /export/other to all. */
void fake_export_list(const struct fake_faults *faults, struct fake_xdr *out);
/* MNT, and a procedure of NFS: from the arguments to the results. */
void fake_export_mount(struct fake_export *x, struct fake_xdr *in, struct fake_xdr *out);
void fake_export_call(struct fake_export *x, uint32_t proc, struct fake_xdr *in,
                      struct fake_xdr *out);
/* A procedure fails: the status, and the rest of its results without what is optional. */
void fake_export_fail(uint32_t proc, uint32_t status, struct fake_xdr *out);

#endif
