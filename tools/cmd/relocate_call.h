/* SPDX-License-Identifier: Apache-2.0 */
/* One call of `godwit relocate`: what was asked for, and the copy that it takes. */
#ifndef TOOLS_CMD_RELOCATE_CALL_H
#define TOOLS_CMD_RELOCATE_CALL_H

#include <signal.h>

#include "core/check_list.h"
#include "tools/cmd/option.h"
#include "tools/cmd/relocate_site.h"
#include "tools/cmd/report_relocate.h"

enum pool_target { POOL_TARGET_FILE, POOL_TARGET_NFS };

struct relocate_arguments {
    bool recursive, overwrite, restart, force;
    bool move, verify, no_verify, verify_only;
    int checksum;
    const char *manifest;
    int format;
    uint64_t connections, depth, block_bytes;
    bool no_tune;
    uint64_t bytes_per_s;
    bool nice_cache;
    int ionice;
    int64_t timeout_ns;
    int data_path;
    bool json;
    const char *progress_fd;
    bool verbose;

    const char *pool;           /* NULL: images are named one by one. The rest is for pools. */
    struct option_list connect; /* libvirts; with a pool the first one is its */
    const char *mount, *state_dir;
    int target; /* enum pool_target */
    bool shutdown, dry_run, undo, delete_originals;
    bool any_mount; /* of a check: where the mount is to be is not known yet */
    int64_t shutdown_timeout_ns;
};

struct relocate_call {
    struct relocate_arguments arg;
    struct relocate_options options;
    struct relocate_sites sites;
    struct relocate *relocate;
    _Atomic bool running;         /* it is past its plan */
    struct relocate_users *users; /* of images that are named one by one; NULL: not asked */
    FILE *manifest;
    struct progress progress;
    struct report_relocate report;
};

/* Set by SIGINT and SIGTERM, once they are caught: from there on they end things in good order. `flags` are
 * those of sigaction(2). */
extern volatile sig_atomic_t relocate_interrupted;
void relocate_catch_signals(int flags);

/* What each argument is where nothing is said. */
void relocate_call_init(struct relocate_call *c);

/* Checks the arguments that a pool and single images have in common, and makes the options of them. */
int relocate_call_begin(struct relocate_call *c, struct err *e);

/* Plans the copy; touches nothing. */
int relocate_call_plan(struct relocate_call *c, char **sources, size_t n, const char *destination,
                       struct err *e);

/* Forgets the plan, so that another one can be made. */
void relocate_call_forget(struct relocate_call *c);

/* "done", "refused", … */
const char *relocate_call_result(int rc, const struct err *e);

/* `godwit relocate --pool`; the operands are the share, or none. Its exit code. */
int relocate_pool(struct relocate_call *c, char **operands, int n);

/*
 * What that would refuse of the move that `arg` is about, as a finding, in the same words; or that it
 * would not. Of `arg` pool, connect, mount, target and state_dir count.
 */
void relocate_pool_check(const struct relocate_arguments *arg, const char *share,
                         struct check_list *l);

#endif
