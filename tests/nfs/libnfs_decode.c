/* SPDX-License-Identifier: Apache-2.0 */
#include "libnfs_decode.h"

#include <stdlib.h>
#include <string.h>

#include "nfs/compat.h"

#include <nfsc/libnfs-zdr.h>

enum { RESULTS_BYTES = 4096 };

typedef uint32_t decode_fn(ZDR *, void *);

#define DECODER(fn) ((decode_fn *)(void *)(fn))

static const struct {
    struct libnfs_proc id;
    decode_fn *decode;
} procs[] = {
    {{SHAPE_NFS, 1}, DECODER(zdr_GETATTR3res)},  {{SHAPE_NFS, 2}, DECODER(zdr_SETATTR3res)},
    {{SHAPE_NFS, 3}, DECODER(zdr_LOOKUP3res)},   {{SHAPE_NFS, 5}, DECODER(zdr_READLINK3res)},
    {{SHAPE_NFS, 6}, DECODER(zdr_READ3res)},     {{SHAPE_NFS, 7}, DECODER(zdr_WRITE3res)},
    {{SHAPE_NFS, 8}, DECODER(zdr_CREATE3res)},   {{SHAPE_NFS, 9}, DECODER(zdr_MKDIR3res)},
    {{SHAPE_NFS, 12}, DECODER(zdr_REMOVE3res)},  {{SHAPE_NFS, 13}, DECODER(zdr_RMDIR3res)},
    {{SHAPE_NFS, 14}, DECODER(zdr_RENAME3res)},  {{SHAPE_NFS, 15}, DECODER(zdr_LINK3res)},
    {{SHAPE_NFS, 16}, DECODER(zdr_READDIR3res)}, {{SHAPE_NFS, 17}, DECODER(zdr_READDIRPLUS3res)},
    {{SHAPE_NFS, 18}, DECODER(zdr_FSSTAT3res)},  {{SHAPE_NFS, 19}, DECODER(zdr_FSINFO3res)},
    {{SHAPE_NFS, 21}, DECODER(zdr_COMMIT3res)},  {{SHAPE_MOUNT, 1}, DECODER(zdr_mountres3)},
    {{SHAPE_MOUNT, 5}, DECODER(zdr_exports)},
};

struct libnfs_proc libnfs_proc(unsigned i)
{
    return procs[i % (sizeof procs / sizeof *procs)].id;
}

static decode_fn *decoder(struct libnfs_proc proc)
{
    size_t i = 0;
    while (procs[i].id.program != proc.program || procs[i].id.proc != proc.proc)
        i++;
    return procs[i].decode;
}

bool libnfs_decode(struct libnfs_proc proc, const uint8_t *results, size_t len)
{
    static char decoded[RESULTS_BYTES];
    char *copy = malloc(len > 0 ? len : 1);
    ZDR zdr;
    if (copy == NULL)
        abort();
    memcpy(copy, results, len);
    memset(decoded, 0, sizeof decoded);
    libnfs_zdrmem_create(&zdr, copy, (uint32_t)len, ZDR_DECODE);
    bool well = decoder(proc)(&zdr, decoded) != 0 &&
                libnfs_zdr_getpos(&zdr) <= ((len + 3) & ~(size_t)3);
    libnfs_zdr_destroy(&zdr);
    free(copy);
    return well;
}
