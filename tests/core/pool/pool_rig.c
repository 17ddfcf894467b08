/* SPDX-License-Identifier: Apache-2.0 */
#include "pool_rig.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"

#define UNDO_COMMAND "the command that takes it back"

static const char *const act_names[] = {"move", "undo", "delete"};
static const char *const fault_names[] = {"no fault",
                                          "fails",
                                          "fails after its effect",
                                          "the host is lost",
                                          "killed",
                                          "killed after its effect",
                                          "a domain is started",
                                          "a domain is used"};

/* ---- worlds ---- */

void rig_reset(struct rig *r)
{
    struct fake_world *w = r->w;
    char disks[FAKE_TEXT];
    r->past = "";
    fake_world_reset(w);
    fake_image(w, "pool/a.img");
    fake_image(w, "pool/b.img");
    fake_image(w, "pool/sub/c.img");
    fake_image(w, "other/x.img");
    snprintf(disks, sizeof disks, "disk %s/pool/a.img\ndisk %s/other/x.img\n", w->top, w->top);
    struct fake_domain *g1 = fake_domain(w, "g1", disks);
    fake_domain(w, "g2", "volume images b.img\n");
    snprintf(disks, sizeof disks, "disk %s/pool/sub/c.img\n", w->top);
    fake_domain(w, "g3", disks);
    fake_domain(w, "idle", "");
    if (r->shutdown)
        fake_start(w, g1);
    memcpy(&r->at_first, w, sizeof r->at_first);
}

void rig_set_up(struct rig *r, bool network, bool shutdown)
{
    *r = (struct rig){.w = fake_world_new(), .network = network, .shutdown = shutdown};
    r->r = mmap(NULL, sizeof *r->r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(r->r != MAP_FAILED);
    rig_reset(r);
}

void rig_tear_down(struct rig *r)
{
    fake_world_free(r->w);
    munmap(r->r, sizeof *r->r);
}

/* ---- an act ---- */

static int rig_destination(void *arg, const char *url, bool network, struct pool_destination *d,
                           struct err *e)
{
    (void)url;
    (void)network;
    (void)e;
    *d = (struct pool_destination){.look = fake_share(arg),
                                   .copy = fake_share(arg),
                                   .server = FAKE_SERVER,
                                   .path = FAKE_EXPORT,
                                   .mount_command = "mount"};
    return 0;
}

static int rig_act(struct pool_move *m, enum rig_act act, struct err *e)
{
    if (act == RIG_UNDO)
        return pool_undo(m, e);
    if (act == RIG_DELETE)
        return pool_delete(m, e);
    if (pool_plan(m, "share:", e) < 0)
        return -1;
    return m->journal->phase == POOL_DONE ? 0 : pool_run(m, e);
}

static void rig_hear_nothing(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

/* As the command does it. */
static void rig_run(struct rig *r, enum rig_act act)
{
    static volatile sig_atomic_t cancel;
    struct pool_move m = {.lock_fd = -1};
    struct err e = {0};
    char mount[96], state[96];
    snprintf(mount, sizeof mount, "%s/share", r->w->top);
    snprintf(state, sizeof state, "%s/state", r->w->top);
    const struct pool_options options = {
        .state_dir = state,
        .mount = r->network ? NULL : mount,
        .network = r->network,
        .shutdown = r->shutdown,
        .shutdown_timeout_ns = NS_PER_S,
        .copy = {.chunk_sums = true,
                 .verify = true,
                 .ring = RING_SYSCALLS,
                 .format = IMAGE_FORMAT_ASK_PROBE,
                 .workers_max = 1,
                 .depth_max = 1,
                 .block_bytes = 4096,
                 .chunk_bytes = 8192,
                 .flight_bytes = 4096,
                 .fixed = true,
                 .cancel = &cancel},
        .undo_command = UNDO_COMMAND,
        .destination = rig_destination,
        .arg = r->w,
    };
    log_set_sink(rig_hear_nothing);
    int rc = pool_open(&m, fake_host(r->w), &options, &e);
    if (rc < 0 && e.class != ERR_USAGE)
        e.class = ERR_REFUSED;
    if (rc == 0)
        rc = rig_act(&m, act, &e);
    pool_close(&m);
    r->r->rc = rc;
    r->r->e = e;
    snprintf(r->r->hint, sizeof r->r->hint, "%s", e.hint != NULL ? e.hint : "");
    r->r->killed = false;
}

unsigned rig_do(struct rig *r, enum rig_act act, enum fake_fault fault, unsigned at)
{
    int status;
    r->past = rig_says(r);
    r->w->calls = 0;
    r->w->at = at;
    r->w->fault = fault;
    r->w->lost = false;
    r->w->hit[0] = '\0';
    *r->r = (struct rig_result){.killed = true, .rc = -1};
    snprintf(r->w->act, sizeof r->w->act, "%s", act_names[act]);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        rig_run(r, act);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (r->r->killed && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        fail_msg("%s: the process has ended by itself, with status 0x%x", rig_says(r), status);
    for (size_t i = 0; i < r->w->n; i++) /* who runs goes on to write, wherever that is */
        if (r->w->domains[i].running_as[0] != '\0')
            fake_write(r->w, &r->w->domains[i]);
    return r->w->calls;
}

const char *rig_says(const struct rig *r)
{
    const struct fake_world *w = r->w;
    if (w->act[0] == '\0')
        return "";
    return text_keep("%s%s%s, %s at call %u (%s): %s%s%s%s", r->past,
                     r->past[0] != '\0' ? "; then " : "", w->act, fault_names[w->fault], w->at,
                     w->hit,
                     r->r->killed    ? "killed"
                     : r->r->rc == 0 ? "done"
                                     : err_class_name(r->r->e.class),
                     r->r->rc < 0 && !r->r->killed ? ": " : "", r->r->e.msg,
                     w->violation[0] != '\0' ? w->violation : "");
}

/* ---- what must hold ---- */

static enum rig_state look_at_domain(const struct rig *r, size_t i)
{
    const struct fake_world *w = r->w;
    const struct fake_domain *d = &w->domains[i];
    const char *first = r->at_first.domains[i].definition;
    char moved[FAKE_TEXT];
    fake_moved(w, first, r->network, moved);
    enum rig_state state = (fake_same(d->definition, first) ? RIG_BEFORE : 0) |
                           (fake_same(d->definition, moved) ? RIG_AFTER : 0);
    if (state == 0)
        fail_msg("%s: domain %s is defined as neither before nor after:\n%s", rig_says(r), d->name,
                 d->definition);
    const char *wrong = fake_look(w, d, d->definition);
    if (wrong != NULL)
        fail_msg("%s: domain %s: %s", rig_says(r), d->name, wrong);
    if (d->running_as[0] != '\0' && (wrong = fake_look(w, d, d->running_as)) != NULL)
        fail_msg("%s: domain %s runs: %s", rig_says(r), d->name, wrong);
    return state;
}

static enum rig_state look_at_pool(const struct rig *r)
{
    char path[256], pool[96], share[96];
    fake_pool_path(r->w, path);
    snprintf(pool, sizeof pool, "%s/pool", r->w->top);
    snprintf(share, sizeof share, "%s/share", r->w->top);
    if (strcmp(path, pool) == 0)
        return r->network ? RIG_BEFORE | RIG_AFTER : RIG_BEFORE;
    if (r->network || strcmp(path, share) != 0)
        fail_msg("%s: the pool is at %s", rig_says(r), path);
    return RIG_AFTER;
}

enum rig_state rig_look(const struct rig *r)
{
    const struct fake_world *w = r->w;
    enum rig_state state = look_at_pool(r);
    if (w->violation[0] != '\0')
        fail_msg("%s", rig_says(r));
    for (size_t i = 0; i < w->n; i++)
        state &= look_at_domain(r, i);
    return state;
}

bool rig_has_journal(const struct rig *r)
{
    CLEANUP_FREE char *names = rig_list(r, "state");
    return strstr(names, ".json ") != NULL;
}

/* ---- prints ---- */

static char *list_text;
static size_t list_skip;

static int list_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    char *more = NULL;
    (void)st;
    (void)type;
    if (at->level == 0)
        return 0;
    assert_true(asprintf(&more, "%s%s ", list_text, path + list_skip) > 0);
    free(list_text);
    list_text = more;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *rig_list(const struct rig *r, const char *name)
{
    enum { NAMES = 64 };
    const char *names[NAMES];
    size_t n = 0, len;
    char path[128], *text = NULL;
    snprintf(path, sizeof path, "%s/%s", r->w->top, name);
    list_skip = strlen(path) + 1;
    list_text = strdup("");
    nftw(path, list_one, 16, FTW_PHYS);
    CLEANUP_FREE char *words = TAKE(list_text);
    for (char *word = strtok(words, " "); word != NULL && n < NAMES; word = strtok(NULL, " "))
        names[n++] = word;
    qsort(names, n, sizeof *names, by_name);
    FILE *to = open_memstream(&text, &len);
    for (size_t i = 0; i < n; i++)
        fprintf(to, "%s ", names[i]);
    fclose(to);
    return text;
}

static void print_file(FILE *to, const char *path)
{
    char bytes[8192];
    CLEANUP_CLOSE int fd = open(path, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
    fprintf(to, "%.*s\n", n > 0 ? (int)n : 0, bytes);
}

char *rig_print(const struct rig *r)
{
    const struct fake_world *w = r->w;
    CLEANUP_FREE char *pool = rig_list(r, "pool"), *share = rig_list(r, "share");
    char *text = NULL, journal[160];
    size_t len;
    FILE *to = open_memstream(&text, &len);
    fprintf(to, "%sactive %d\n", w->pool, w->pool_active);
    for (size_t i = 0; i < w->n; i++)
        fprintf(to, "%sruns %d\n", w->domains[i].definition,
                i != w->meddled && w->domains[i].running_as[0] != '\0');
    fprintf(to, "%s\n%s\n", pool, share);
    snprintf(journal, sizeof journal, "%s/state/pool-00000000-0000-4000-8000-000000000000.json",
             w->top);
    print_file(to, journal);
    fclose(to);
    return text;
}
