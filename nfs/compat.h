/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between libnfs 4.0 and 5.0 (Debian 12 and 13) and libnfs 6 and later, which says
 * LIBNFS_API_V2: the raw calls are named _task instead of _async, and give the request or NULL
 * instead of 0 or -1. Also: 6 and later send WRITE data from where it lies, and receive READ data
 * where it belongs, so a buffer must stay until the answer; the store port demands that anyway.
 * Nothing else in nfs/ knows versions.
 */
#ifndef NFS_COMPAT_H
#define NFS_COMPAT_H

#include <stdbool.h>
#include <string.h>
#include <sys/time.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

/* Queues the raw call `name` (nfs3_write, mount3_mnt, …): true if its callback will come. */
#ifdef LIBNFS_API_V2
#define COMPAT_CALL(name, rpc, cb, args, arg) \
    (rpc_##name##_task((rpc), (cb), (args), (arg)) != NULL)
#else
#define COMPAT_CALL(name, rpc, cb, args, arg) (rpc_##name##_async((rpc), (cb), (args), (arg)) == 0)
#endif

/* The same of a procedure without arguments. */
#ifdef LIBNFS_API_V2
#define COMPAT_NULL(name, rpc, cb, arg) (rpc_##name##_task((rpc), (cb), (arg)) != NULL)
#else
#define COMPAT_NULL(name, rpc, cb, arg) (rpc_##name##_async((rpc), (cb), (arg)) == 0)
#endif

/* Queues a READ of `count` bytes to `buf`; when it was done compat_read_take() has them there. */
#ifdef LIBNFS_API_V2
#define COMPAT_READ(rpc, cb, buf, count, args, arg) \
    (rpc_nfs3_read_task((rpc), (cb), (buf), (count), (args), (arg)) != NULL)
#else
#define COMPAT_READ(rpc, cb, buf, count, args, arg) \
    ((void)(buf), (void)(count), COMPAT_CALL(nfs3_read, (rpc), (cb), (args), (arg)))
#endif

/* false: the server sent more than was asked for, or less than it says. */
static inline bool compat_read_take(const READ3resok *ok, void *buf, uint32_t count)
{
    if (ok->count > count)
        return false;
#ifdef LIBNFS_API_V2
    (void)buf;
#else
    if (ok->data.data_len != ok->count)
        return false;
    if (ok->count > 0)
        memcpy(buf, ok->data.data_val, ok->count);
#endif
    return true;
}

#endif
