/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/capability.h"

#include <stdbool.h>
#include <string.h>

static const char *const names[] = {
    [CAP_EVENTS] = "events",
    [CAP_MULTIFD] = "multifd",
    [CAP_POSTCOPY_RAM] = "postcopy-ram",
    [CAP_POSTCOPY_PREEMPT] = "postcopy-preempt",
    [CAP_RETURN_PATH] = "return-path",
    [CAP_PAUSE_BEFORE_SWITCHOVER] = "pause-before-switchover",
    [CAP_XBZRLE] = "xbzrle",
    [CAP_AUTO_CONVERGE] = "auto-converge",
    [CAP_DIRTY_LIMIT] = "dirty-limit",
    [CAP_ZERO_COPY_SEND] = "zero-copy-send",
    [CAP_MAPPED_RAM] = "mapped-ram",
    [CAP_SWITCHOVER_ACK] = "switchover-ack",
    [CAP_COLO] = "x-colo",
    [CAP_RELEASE_RAM] = "release-ram",
    [CAP_BACKGROUND_SNAPSHOT] = "background-snapshot",
    [CAP_COMPRESS] = "compress",
    [CAP_BLOCK] = "block",
    [CAP_ZERO_BLOCKS] = "zero-blocks",
    [CAP_RDMA_PIN_ALL] = "rdma-pin-all",
    [CAP_VALIDATE_UUID] = "validate-uuid",
    [CAP_DIRTY_BITMAPS] = "dirty-bitmaps",
    [CAP_POSTCOPY_BLOCKTIME] = "postcopy-blocktime",
    [CAP_LATE_BLOCK_ACTIVATE] = "late-block-activate",
    [CAP_IGNORE_SHARED] = "x-ignore-shared",
};
_Static_assert(sizeof names / sizeof *names == CAP_COUNT, "every capability has a name");

static const struct rule {
    enum qmp_capability a, b;
    bool needs; /* a needs b; else a and b exclude each other */
    const char *why;
} rules[] = {
    {CAP_MULTIFD, CAP_POSTCOPY_RAM, false,
     "unchecked and untested before QEMU 8.1, refused by 8.1 to 10.0"},
    {CAP_MULTIFD, CAP_XBZRLE, false, "multifd sends whole pages; QEMU 7.2 does not check this"},
    {CAP_MULTIFD, CAP_COMPRESS, false, "both take over the sending of pages"},
    {CAP_AUTO_CONVERGE, CAP_DIRTY_LIMIT, false, "both throttle the vCPUs"},
    {CAP_POSTCOPY_RAM, CAP_MAPPED_RAM, false, "pages must be sent when they are asked for"},
    {CAP_POSTCOPY_RAM, CAP_COMPRESS, false, "a page that is asked for goes as it is"},
    {CAP_POSTCOPY_RAM, CAP_BACKGROUND_SNAPSHOT, false, "both use userfaultfd on guest memory"},
    {CAP_MULTIFD, CAP_BACKGROUND_SNAPSHOT, false, "a snapshot writes one stream"},
    {CAP_ZERO_COPY_SEND, CAP_COMPRESS, false, "pages that are sent in place cannot be packed"},
    {CAP_ZERO_COPY_SEND, CAP_XBZRLE, false, "pages that are sent in place cannot be packed"},
    {CAP_ZERO_COPY_SEND, CAP_MULTIFD, true, "only multifd channels send in place"},
    {CAP_POSTCOPY_PREEMPT, CAP_POSTCOPY_RAM, true, "it is the urgent channel of postcopy"},
    {CAP_SWITCHOVER_ACK, CAP_RETURN_PATH, true, "the acknowledgement comes on the return path"},
};

const char *qmp_capability_name(enum qmp_capability cap)
{
    return names[cap];
}

enum qmp_capability qmp_capability_find(const char *name)
{
    int cap = 0;
    while (cap < CAP_COUNT && strcmp(names[cap], name) != 0)
        cap++;
    return (enum qmp_capability)cap;
}

int qmp_capability_check(qmp_capability_set on, struct err *e)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *r = &rules[i];
        bool a = on & CAP_BIT(r->a), b = on & CAP_BIT(r->b);
        if (a && b != r->needs)
            return err_set(e, ERR_REFUSED, 0, "migration capability %s %s %s: %s", names[r->a],
                           r->needs ? "needs" : "cannot go with", names[r->b], r->why);
    }
    return 0;
}
