/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * From migrate-continue until the source has been ended there is a time, usually of milliseconds, in
 * which the source is paused with its migration completed: QEMU would obey a `cont`, and if godwit is
 * killed just then, the natural `virsh resume` there would run the guest twice. So before the
 * migration begins godwit starts this process. It holds the end of a pipe whose other end only godwit
 * has: what it reads there is one byte, "armed", another when godwit limits the source's vCPUs, and when
 * godwit is gone however that came, the end of the file. Godwit ends it, and waits for it, before it ends itself.
 *
 * It connects to the source's libvirt at once, and to the destination's only then: godwit has just shown that this works,
 * and a second ssh to that host would be on the way of the migration.
 *
 * Then it does what godwit would have done: the source is ended when the destination has the guest
 * whole, by the destination's own word. Both are known by the mark of the migration, which is on their
 * QEMUs. A source that stands before its gate is left there, for QEMU itself refuses to resume it.
 *
 * Limits of vCPUs stay on a QEMU for as long as it lives: those of godwit it takes off first.
 *
 * Until it has said so (it loads, or its libvirt does not answer) the source may be the only one that has
 * the guest, and is held so that nobody can resume it (qmp/virt/hold.h). Killing this process lets go of it,
 * which is what a person does who knows that the destination is lost. It never gives up by itself: it waits for
 * the destination's word, or for what a person does to the source. A source that cannot be held, whose
 * libvirt is reached by TLS for example, has only its title, which says that it must not be resumed.
 *
 * Its name for ps and pkill is not godwit's, so that what kills godwit by its name does not kill it.
 */
#include "qmp/virt/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"
#include "qmp/virt/hold.h"
#include "qmp/virt/mark.h"
#include "qmp/virt/unfinished.h"

#define GUARD_NAME "migration-guard"

/* Any other byte arms it. */
#define GUARD_LIMITS 'l'

/* As long as it takes a connection to open. */
#define GUARD_READY_MS 15000

#define GUARD_TICK_NS (200 * NS_PER_MS)
#define GUARD_SLOW_TICK_NS (30 * NS_PER_S)
/* How long a source that nothing goes on at is watched: what godwit sent last may be on its way. */
#define GUARD_IDLE_NS (5 * NS_PER_S)
/* How often it says again what it waits for. */
#define GUARD_REMIND_NS (3600 * NS_PER_S)

/* ---- godwit's side ---- */

struct virt_guard {
    pid_t pid;
    int to, from; /* the pipes */
};

/* Its signals are as after exec, with those blocked that godwit has blocked; it sees to them itself. */
static int guard_spawn(struct virt_guard *g, const char *program, char **argv, int in, int out)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    int sys = posix_spawn(&g->pid, program, &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return sys;
}

static void guard_close(const int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

struct virt_guard *virt_guard_start(const char *program, const struct virt_move *m, struct err *e)
{
    struct virt_guard *g = calloc(1, sizeof *g);
    int to[2] = {-1, -1}, from[2] = {-1, -1};
    char *argv[] = {(char *)GUARD_NAME,
                    (char *)VIRT_ROUTE_GUARD,
                    (char *)(uintptr_t)virt_host_uri(m->source_host),
                    (char *)(uintptr_t)virt_host_uri(m->destination_host),
                    (char *)(uintptr_t)m->source.uuid,
                    (char *)(uintptr_t)m->source.name,
                    (char *)(uintptr_t)m->id,
                    NULL};
    int sys = g == NULL || pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0 ? errno : 0;
    if (sys == 0)
        sys = guard_spawn(g, program, argv, to[0], from[1]);
    guard_close((int[]){to[0], from[1]}); /* its own */
    if (sys == 0) {
        g->to = to[1];
        g->from = from[0];
        return g;
    }
    guard_close((int[]){to[1], from[0]});
    free(g);
    err_set(e, ERR_IO, sys, "%s", program);
    return NULL;
}

int virt_guard_arm(struct virt_guard *g, struct err *e)
{
    struct pollfd ready = {.fd = g->from, .events = POLLIN};
    char byte = 'r'; /* what it has said is sent back */
    if (poll(&ready, 1, GUARD_READY_MS) != 1)
        return err_set(e, ERR_TIMEOUT, 0, "the guard was not ready after %d s",
                       GUARD_READY_MS / 1000);
    if (read(g->from, &byte, 1) != 1 || write(g->to, &byte, 1) != 1)
        return err_set(e, ERR_LOST, 0, "the guard has ended");
    return 0;
}

void virt_guard_limits(struct virt_guard *g)
{
    const char byte = GUARD_LIMITS;
    if (write(g->to, &byte, 1) != 1)
        log_info("the guard does not know of the limits of the source's vCPUs");
}

/* Not waited for yet, it keeps its number, even if it has ended. */
void virt_guard_end(struct virt_guard *g)
{
    if (g == NULL)
        return;
    kill(g->pid, SIGKILL);
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(g->to);
    close(g->from);
    free(g);
}

/* ---- pure ---- */

enum virt_guard_next virt_guard_next(const char *source_run, const char *source_migration,
                                     const char *there)
{
    enum virt_left left = virt_left_is(source_run, source_migration, there);
    if (left == VIRT_LEFT_MOVED || left == VIRT_LEFT_LOADED)
        return VIRT_GUARD_END_SOURCE;
    if (left == VIRT_LEFT_SENT || left == VIRT_LEFT_TWICE)
        return VIRT_GUARD_LEAVE;
    if (strcmp(source_run, "postmigrate") == 0)
        return VIRT_GUARD_WAIT;
    /* its last part is sent, or it runs there while its memory follows, by postcopy */
    bool sends = strcmp(source_run, "finish-migrate") == 0 &&
                 strcmp(source_migration, "pre-switchover") != 0 &&
                 !virt_migration_is_over(source_migration);
    return sends ? VIRT_GUARD_WAIT : VIRT_GUARD_IDLE;
}

bool virt_guard_ends(enum virt_guard_next next, int64_t idle_ns)
{
    return next == VIRT_GUARD_END_SOURCE || next == VIRT_GUARD_LEAVE ||
           (next == VIRT_GUARD_IDLE && idle_ns > GUARD_IDLE_NS);
}

int64_t virt_guard_tick_ns(int64_t silent_ns)
{
    int64_t tick_ns = silent_ns / 20;
    return tick_ns < GUARD_TICK_NS        ? GUARD_TICK_NS
           : tick_ns > GUARD_SLOW_TICK_NS ? GUARD_SLOW_TICK_NS
                                          : tick_ns;
}

/* ---- the guard itself ---- */

struct guard {
    struct virt_host *source_host, *destination_host;
    struct virt_domain source, destination;
    const char *id;
    bool hold_tried;
    bool limits;            /* the source's vCPUs have limits that godwit has set */
    struct virt_hold *hold; /* NULL: it is not held */
    int64_t reminded_ns;    /* when it has last said what it waits for; 0: never */
};

/* What our QEMU does there: NULL, it has ended; "", it does not tell. free() it. */
static char *guard_there(const struct guard *g)
{
    struct err none = {0};
    int ours = virt_mark_is(&g->destination, g->id, &none);
    if (ours == 0)
        return NULL;
    CLEANUP_DOMAIN virDomainPtr dom = ours > 0 ? virt_domain_get(&g->destination, &none) : NULL;
    char *status = dom != NULL ? virt_left_ask(dom, "{\"execute\":\"query-status\"}") : NULL;
    return status != NULL ? status : strdup("");
}

/* How a person settles it who knows that the destination is lost. */
static void guard_tell(struct guard *g, const struct err *unheld)
{
    const char *from = virt_host_uri(g->source_host), *to = virt_host_uri(g->destination_host);
    const char *look = text_command("virsh -c %s domstate %s --reason", to, g->source.uuid);
    const char *resume = text_command("virsh -c %s resume %s", from, g->source.uuid);
    g->reminded_ns = clock_now_ns();
    if (g->hold == NULL)
        log_warn(
            "godwit was killed in the switchover of domain %s, and the destination has not said yet whether it has "
            "the guest: what is left on the source must not be resumed before that (it cannot be held: %s); look: "
            "%s; only if the guest is lost there, and has not run there: %s",
            g->source.name, unheld->msg, look, resume);
    else
        log_warn(
            "godwit was killed in the switchover of domain %s, and the destination has not said yet whether it has "
            "the guest: the source cannot be resumed until it has; look: %s; only if the guest is lost there, and "
            "has not run there: 'kill -9 %d' lets go of the source, then %s",
            g->source.name, look, (int)getpid(), resume);
}

/* For a source that has handed all over. One whose libvirtd has restarted is to be held again. */
static void guard_hold(struct guard *g)
{
    struct err why = {0};
    if (!g->hold_tried) {
        g->hold_tried = true;
        g->hold = virt_hold_take(&g->source, &why);
        guard_tell(g, &why);
    } else if (clock_now_ns() - g->reminded_ns > GUARD_REMIND_NS) {
        err_set(&why, ERR_REFUSED, 0, "as was said before");
        guard_tell(g, &why);
    }
}

/* What it was held by may have ended, and somebody may have resumed it since: then QEMU itself is asked. */
static void guard_check_hold(struct guard *g)
{
    if (g->hold == NULL || virt_hold_lasts(g->hold))
        return;
    virt_hold_release(TAKE(g->hold));
    g->hold_tried = false;
}

static void guard_end_source(const struct guard *g)
{
    struct err e = {0};
    if (virt_mark_destroy(&g->source, g->id, &e) < 0) {
        log_warn(
            "domain %s has moved, and what is left of it on the source must not be resumed: %s",
            g->source.name, e.msg);
        return;
    }
    if (virt_mark_is(&g->destination, g->id, &e) > 0)
        virt_mark_clear(&g->destination, &e);
    log_warn(
        "godwit was killed in the switchover of domain %s: it is on the destination, and what was left of it on "
        "the source has been ended",
        g->source.name);
}

/* Nothing else ends them while that QEMU lives. */
static void guard_unlimit(struct guard *g, virDomainPtr source)
{
    char *reply = NULL;
    if (!g->limits || virDomainQemuMonitorCommand(
                          source, "{\"execute\":\"cancel-vcpu-dirty-limit\"}", &reply, 0) < 0)
        return;
    free(reply);
    g->limits = false;
    log_warn("godwit was killed while it slowed down the vCPUs of domain %s: they run freely again",
             g->source.name);
}

static enum virt_guard_next guard_look(struct guard *g)
{
    struct err e = {0};
    guard_check_hold(g);
    int ours = virt_mark_is(&g->source, g->id, &e);
    if (ours == 0)
        return VIRT_GUARD_LEAVE;
    CLEANUP_DOMAIN virDomainPtr dom = ours > 0 ? virt_domain_get(&g->source, &e) : NULL;
    if (dom == NULL)
        return VIRT_GUARD_WAIT;
    if (g->hold == NULL)
        guard_unlimit(g, dom);
    /* one that is held stays as it is, and its QEMU may not answer */
    CLEANUP_FREE char *run = g->hold != NULL ? strdup("postmigrate")
                                             : virt_left_ask(dom, "{\"execute\":\"query-status\"}");
    CLEANUP_FREE char *migration = g->hold != NULL
                                       ? strdup("completed")
                                       : virt_left_ask(dom, "{\"execute\":\"query-migrate\"}");
    if (run == NULL || migration == NULL)
        return VIRT_GUARD_WAIT;
    bool handed_over = strcmp(run, "postmigrate") == 0;
    if (handed_over) /* first: the destination may take its time */
        guard_hold(g);
    CLEANUP_FREE char *there = guard_there(g);
    if (there == NULL && handed_over)
        log_warn(
            "domain %s: the QEMU of this migration is not on the destination any more; only if the guest has not "
            "run there: %s; if it has, its disk has moved on: %s, and start it from there",
            g->source.name,
            text_command("virsh -c %s resume %s", virt_host_uri(g->source_host), g->source.uuid),
            text_command("virsh -c %s destroy %s", virt_host_uri(g->source_host), g->source.uuid));
    return virt_guard_next(run, migration, there);
}

static void guard_finish(struct guard *g)
{
    int64_t begun_ns = clock_now_ns(), moving_ns = begun_ns;
    for (;;) {
        enum virt_guard_next next = guard_look(g);
        int64_t now_ns = clock_now_ns();
        if (next == VIRT_GUARD_WAIT)
            moving_ns = now_ns;
        if (next == VIRT_GUARD_END_SOURCE)
            guard_end_source(g);
        if (virt_guard_ends(next, now_ns - moving_ns))
            return;
        usleep((useconds_t)(virt_guard_tick_ns(now_ns - begun_ns) / NS_PER_US));
    }
}

/* Only godwit's end ends it. What else godwit has open is not its own. */
static void guard_detach(void)
{
    static const int deaf_to[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof deaf_to / sizeof *deaf_to; i++)
        signal(deaf_to[i], SIG_IGN);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    prctl(PR_SET_NAME, GUARD_NAME);
}

/* True: it is armed, and godwit is gone. */
static bool guard_wait(struct guard *g)
{
    bool armed = false;
    char byte;
    (void)!write(STDOUT_FILENO, "r", 1);
    for (;;) {
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n == 0 || (n < 0 && errno != EINTR))
            return armed;
        g->limits |= n > 0 && byte == GUARD_LIMITS;
        armed |= n > 0;
    }
}

int virt_guard_main(int argc, char **argv)
{
    struct guard g = {0};
    struct err e = {0};
    if (argc != 7)
        return 2;
    guard_detach();
    g.id = argv[6];
    g.source.name = argv[5];
    snprintf(g.source.uuid, sizeof g.source.uuid, "%s", argv[4]);
    g.source_host = virt_host_open(argv[2], "source", &e);
    g.destination_host = g.source_host != NULL ? virt_host_later(argv[3], "destination", &e) : NULL;
    if (g.destination_host != NULL) {
        g.destination = g.source;
        g.source.host = g.source_host;
        g.destination.host = g.destination_host;
        if (guard_wait(&g))
            guard_finish(&g);
        virt_hold_release(g.hold);
    }
    virt_host_close(g.destination_host);
    virt_host_close(g.source_host);
    return g.destination_host != NULL ? 0 : 1;
}
