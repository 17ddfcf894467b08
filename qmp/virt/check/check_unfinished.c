/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a migration has left that nobody has brought to an end: godwit was killed, or its host died.
 * libvirt says "paused" of nearly all of it; what it is, both QEMUs tell, and which command is right
 * depends on both. The wrong one starts a guest twice, or ends the only one.
 */
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "qmp/virt/check/check_run.h"
#include "qmp/virt/mark.h"
#include "qmp/virt/move.h"
#include "qmp/virt/unfinished.h"

/* What QEMU does there: NULL, none runs under this UUID; "", it does not tell. free() it. */
static char *left_there(const struct check_run *r)
{
    int state = 0, reason = 0;
    virDomainPtr there = r->there != NULL ? r->there->by_uuid : NULL;
    if (r->there == NULL)
        return NULL;
    if (there == NULL && check_there_error_is(r->there, CHECK_ASK_UUID, VIR_ERR_NO_DOMAIN))
        return NULL;
    if (there == NULL) /* no answer is not "none" */
        return strdup("");
    if (!check_there_runs(there))
        return NULL;
    /* in an incoming migration of libvirt's own it lets nobody ask QEMU, and blocks for 30 s */
    if (virDomainGetState(there, &state, &reason, 0) == 0 && state == VIR_DOMAIN_PAUSED &&
        reason == VIR_DOMAIN_PAUSED_MIGRATION)
        return strdup("inmigrate");
    char *status = virt_left_ask(there, "{\"execute\":\"query-status\"}");
    return status != NULL ? status : strdup("");
}

/* ---- telling ---- */

static void left_refuse(struct check_run *r, const char *sentence)
{
    check_list_add(r->l, CHECK_REFUSE, "unfinished migration", "%s: %s", r->domain->name, sentence);
    r->unfinished = true;
}

static void left_at_gate(struct check_run *r)
{
    left_refuse(
        r,
        "a migration is unfinished, before its switchover: the guest is "
        "here, stopped, cannot be resumed before that migration is cancelled, and has not run on the "
        "destination (if godwit is working on it right now, wait)");
    check_list_fix_by(r->l, virt_move_go_on(r->from.uri, r->domain->name));
}

static void left_tell_moved(struct check_run *r, enum virt_left left)
{
    const char *from = r->from.uri, *to = r->to.uri, *name = r->domain->name,
               *uuid = r->domain->uuid;
    switch (left) {
    case VIRT_LEFT_MOVED:
        left_refuse(
            r,
            "the guest has moved and runs on the destination; never resume what is left of it here");
        check_list_fix(r->l, "virsh -c %s destroy %s", from, name);
        break;
    case VIRT_LEFT_LOADED:
        left_refuse(
            r,
            "the source has sent the whole guest, and the destination has it, stopped; what is left of it "
            "here must never be resumed");
        check_list_fix(r->l, "virsh -c %s resume %s && virsh -c %s destroy %s", to, uuid, from,
                       name);
        break;
    case VIRT_LEFT_LOADING:
        left_refuse(
            r,
            "the source has sent the whole guest, and the destination is loading it: check again in a "
            "moment, and resume neither");
        check_list_fix(r->l, "godwit check --quick -c %s %s %s", from, name, to);
        break;
    default: /* VIRT_LEFT_SENT */
        left_refuse(
            r,
            r->to.conn != NULL
                ? "the whole guest was sent to another host, and this destination does not have it; only if "
                  "it runs nowhere may it be resumed here"
                : "the whole guest was sent to another host; what is left of it here must not be "
                  "resumed while it runs there (name the destination, and godwit checks that)");
        check_list_fix(r->l, "virsh -c %s domstate --reason %s", from, name);
        break;
    }
}

static void left_tell(struct check_run *r, enum virt_left left)
{
    const char *from = r->from.uri, *to = r->to.uri, *name = r->domain->name,
               *uuid = r->domain->uuid;
    switch (left) {
    case VIRT_LEFT_NOTHING: break;
    case VIRT_LEFT_AT_GATE: left_at_gate(r); break;
    case VIRT_LEFT_WAITING:
        left_refuse(
            r,
            "a migration that failed or was killed left a QEMU on the destination that still waits for "
            "it; the guest is here, and has not run there");
        check_list_fix(r->l, "virsh -c %s destroy %s", to, uuid);
        break;
    case VIRT_LEFT_UNDER_WAY:
        left_refuse(
            r,
            "a migration to the destination is already under way; if its godwit was killed, the guest will "
            "stop here, before the switchover; cancel the migration to give it up");
        check_list_fix(r->l,
                       "virsh -c %s qemu-monitor-command %s '{\"execute\":\"migrate_cancel\"}'",
                       from, name);
        break;
    case VIRT_LEFT_TWICE:
        left_refuse(
            r,
            "the guest runs on both hosts, and both write to its disks: stop both at once, then find out "
            "which of the two to end");
        check_list_fix(r->l, "virsh -c %s suspend %s; virsh -c %s suspend %s", to, uuid, from,
                       name);
        break;
    case VIRT_LEFT_COPY:
        left_refuse(
            r,
            "the guest runs here, and the destination has a stopped copy of it, which must never be "
            "resumed");
        check_list_fix(r->l, "virsh -c %s destroy %s", to, uuid);
        break;
    case VIRT_LEFT_RUNS_THERE:
        left_refuse(
            r,
            "the guest runs on the destination, and is stopped here: do not resume what is here");
        check_list_fix(r->l, "virsh -c %s domstate --reason %s; virsh -c %s domstate --reason %s",
                       to, uuid, from, name);
        break;
    case VIRT_LEFT_UNKNOWN:
        left_refuse(
            r, "the destination has a domain of its UUID, and whether it has run is not known: end "
               "and resume neither before you have looked at both");
        check_list_fix(r->l, "virsh -c %s domstate --reason %s; virsh -c %s domstate --reason %s",
                       to, uuid, from, name);
        break;
    default: left_tell_moved(r, left); break;
    }
}

/* What both QEMUs tell is of no use while the godwit that has set the mark is at work. */
static bool left_to_its_godwit(struct check_run *r)
{
    struct virt_mark_owner owner;
    if (virt_mark_owner(r->dom, &owner) == 0 || owner.state != OWNER_ALIVE)
        return false;
    check_list_add(
        r->l, CHECK_REFUSE, "unfinished migration",
        "a migration of %s is already under way: godwit, process %u on this host (%s), is working on it; "
        "wait",
        r->domain->name, owner.pid, owner.host);
    return r->unfinished = true;
}

void check_unfinished(struct check_run *r)
{
    virDomainJobInfo job;
    if (!r->active || r->same_host ||
        (virDomainGetJobInfo(r->dom, &job) == 0 && job.type != VIR_DOMAIN_JOB_NONE &&
         job.type != VIR_DOMAIN_JOB_COMPLETED) || /* libvirt's own: check_jobs() tells */
        left_to_its_godwit(r))
        return;
    CLEANUP_FREE char *run = virt_left_ask(r->dom, "{\"execute\":\"query-status\"}");
    CLEANUP_FREE char *migration = virt_left_ask(r->dom, "{\"execute\":\"query-migrate\"}");
    if (run == NULL || migration == NULL) {
        check_skip(r, &r->from, "unfinished migration", "cannot read QEMU's state");
        return;
    }
    CLEANUP_FREE char *there = left_there(r);
    left_tell(r, virt_left_is(run, migration, there));
}

/* ---- a mark that is left ---- */

static const char mark_what[] = "mark of a migration";

/* Its godwit is known to be gone, or has brought it to an end in another way. */
static void mark_left(struct check_run *r)
{
    struct err e = {0};
    if (!r->o->fix) {
        check_list_add(r->l, CHECK_WARN, mark_what,
                       "%s bears the mark of a migration that was never finished and is over",
                       r->domain->name);
        check_list_fix(r->l, "godwit check --fix -c %s %s", r->from.uri, r->domain->name);
    } else if (virt_mark_clear(r->domain, &e) == 0) {
        check_list_add(r->l, CHECK_OK, mark_what, "it was taken off %s", r->domain->name);
    } else {
        check_skip_err(r->l, mark_what, &e);
    }
}

/* By hand, what virt_mark_clear() does. */
static const char *mark_remove(const struct check_run *r, const struct virt_mark_owner *owner)
{
    const char *remove = text_command("virsh -c %s metadata %s " VIRT_MARK_NAMESPACE
                                      " --remove --live",
                                      r->from.uri, r->domain->name);
    if (owner->covered == NULL)
        return remove;
    return text_keep("%s && %s",
                     text_command("virsh -c %s desc %s --live --title --new-desc %s", r->from.uri,
                                  r->domain->name, owner->covered),
                     remove);
}

/* No migration is under way, but its godwit may live elsewhere, and be about to begin it. */
static void mark_of_unknown(struct check_run *r, const struct virt_mark_owner *owner)
{
    if (owner->pid > 0)
        check_list_add(
            r->l, CHECK_WARN, mark_what,
            "%s bears the mark of a migration by godwit, process %u on %s, which cannot be checked from "
            "here: if it is gone, the mark is left over, and 'godwit check --fix' there takes it off",
            r->domain->name, owner->pid, owner->host);
    else
        check_list_add(
            r->l, CHECK_WARN, mark_what,
            "%s bears the mark of a migration, but not whose it is: if no godwit is working on "
            "it, the mark is left over",
            r->domain->name);
    check_list_fix_by(r->l, mark_remove(r, owner));
}

/* A mark on a domain that runs. Taken off a migration that goes on it would leave nobody to tell the source, and
 * its godwit without what it may act on. */
void check_mark(struct check_run *r)
{
    struct virt_mark_owner owner;
    if (!r->active || r->unfinished || virt_mark_owner(r->dom, &owner) == 0)
        return;
    CLEANUP_FREE char *migration = virt_left_ask(r->dom, "{\"execute\":\"query-migrate\"}");
    if (owner.state == OWNER_ALIVE)
        left_to_its_godwit(r);
    else if (migration == NULL || !virt_migration_is_over(migration))
        check_list_add(r->l, CHECK_WARN, mark_what,
                       "%s bears the mark of a migration that is under way", r->domain->name);
    else if (owner.state == OWNER_DEAD || owner.state == OWNER_SELF)
        mark_left(r);
    else
        mark_of_unknown(r, &owner);
}
