/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs between libnfs 4.0 and 5.0 (Debian 12 and 13) and libnfs 6 and later, which says
 * LIBNFS_API_V2: the raw calls are named _task instead of _async, and give the request or NULL
 * instead of 0 or -1. Also: 6 and later send WRITE data from where it lies, so a buffer must stay
 * until the answer; the store port demands that anyway. Nothing else in nfs/ knows versions.
 */
#ifndef NFS_COMPAT_H
#define NFS_COMPAT_H

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
#define COMPAT_CALL(name, rpc, cb, args, arg) \
    (rpc_##name##_async((rpc), (cb), (args), (arg)) == 0)
#endif

#endif
