/* SPDX-License-Identifier: Apache-2.0 */
#include "nfs/share_cred.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"

static int cred_by_number(const void *a, const void *b)
{
    gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;
    return x < y ? -1 : x > y;
}

/* The groups of this process, in the order of their numbers; how many, 0 if they are not known. */
static int cred_groups(gid_t **groups)
{
    int n = getgroups(0, NULL);
    *groups = n > 0 ? calloc((size_t)n, sizeof **groups) : NULL;
    n = *groups != NULL ? getgroups(n, *groups) : 0;
    if (n <= 0)
        return 0;
    qsort(*groups, (size_t)n, sizeof **groups, cred_by_number);
    return n;
}

struct codec_cred share_cred_own(void)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    struct codec_cred cred = {.uid = getuid(), .gid = getgid(), .machine = "libnfs"};
    CLEANUP_FREE gid_t *groups = NULL;
    int n = cred_groups(&groups), dropped = 0;
    for (int i = 0; i < n; i++) {
        if (groups[i] == cred.gid)
            continue;
        if (cred.n_groups < CODEC_GROUPS_MAX)
            cred.groups[cred.n_groups++] = groups[i];
        else
            dropped++;
    }
    if (dropped > 0 && !atomic_flag_test_and_set(&warned))
        log_warn(
            "nfs: this user is in %d groups more than the %d that NFS can carry: what only they "
            "permit may be refused",
            dropped, CODEC_GROUPS_MAX);
    return cred;
}

bool share_cred_give(struct rpc_context *rpc, const struct codec_cred *cred)
{
    uint32_t groups[CODEC_GROUPS_MAX];
    memcpy(groups, cred->groups, sizeof groups);
    struct AUTH *auth =
        libnfs_authunix_create(cred->machine, cred->uid, cred->gid, cred->n_groups, groups);
    if (auth == NULL)
        return false;
    rpc_set_auth(rpc, auth); /* takes it */
    return true;
}
