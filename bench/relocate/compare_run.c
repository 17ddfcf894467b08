/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Memory that is touched for the first time can cost more than the copy: a virtual machine gets it
 * from its host page by page, and may lose it again after seconds. So right before each run as
 * much as it is going to write is written to the same place and removed, after everything else
 * that has to be prepared. Without this, whoever comes first pays for all, and comparisons end in
 * a tie at the speed of page faults.
 *
 * The clock runs from the first fork to the last wait, and over an fsync() where a tool leaves a
 * local file in the page cache. Reading back and removing is outside of it.
 */
#include "bench/relocate/compare_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "bench/child.h"
#include "core/cleanup.h"
#include "core/clock.h"

/* ---- operands ---- */

/* A command line that is being put together; it owns its operands. */
struct compare_words {
    char **at; /* NULL-terminated */
    size_t n, room;
    bool failed; /* no memory */
};

static void compare_words_end(struct compare_words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->at[i]);
    free(w->at);
}

/* Takes over `word`. */
static void compare_words_add(struct compare_words *w, char *word)
{
    if (w->n + 1 >= w->room) {
        size_t room = w->room * 2 + 32;
        char **more = realloc(w->at, room * sizeof *more);
        if (more == NULL) {
            free(word);
            w->failed = true;
            return;
        }
        w->at = more;
        w->room = room;
    }
    if (word == NULL)
        w->failed = true;
    else
        w->at[w->n++] = word;
    w->at[w->n] = NULL;
}

static void compare_words_command(struct compare_words *w, const struct tool_command *c)
{
    for (size_t i = 0; c->words[i] != NULL; i++)
        compare_words_add(w, strdup(c->words[i]));
}

/* `name` at an end that is not the source; "" is the place, with a slash. URLs may have a query. */
static char *compare_at(const struct compare *c, enum tool_end end, const char *name)
{
    char *path = NULL;
    if (end == END_NULL)
        return strdup("null:");
    const char *where = c->ends->where[end];
    size_t len = strcspn(where, end == END_LOCAL ? "" : "?");
    const char *slash = len > 0 && where[len - 1] == '/' ? "" : "/";
    if (asprintf(&path, "%.*s%s%s%s", (int)len, where, slash, name, where + len) < 0)
        return NULL;
    return path;
}

static char *compare_from(const struct compare *c, enum tool_end end, const struct image *i)
{
    return end == END_SOURCE ? strdup(i->path) : compare_at(c, end, i->name);
}

static int compare_call(struct compare *c, struct compare_words *w, struct child_cost *cost,
                        struct err *e)
{
    if (w->failed)
        return err_set(e, ERR_IO, ENOMEM, "cannot make a command line");
    return child_run((const char *const *)w->at, c->options->cancel, cost, e);
}

/* All files by one call. */
static int compare_call_at_once(struct compare *c, const struct tool *who, struct child_cost *cost,
                                struct err *e)
{
    struct compare_words w CLEANUP(compare_words_end) = {0};
    compare_words_command(&w, &who->command);
    if (c->set.root != NULL) {
        compare_words_add(&w, strdup("-r"));
        compare_words_add(&w, who->from == END_SOURCE ? strdup(c->set.root)
                                                      : compare_at(c, who->from, c->set.directory));
    }
    for (size_t i = 0; i < c->set.n && c->set.root == NULL; i++)
        compare_words_add(&w, compare_from(c, who->from, &c->set.image[i]));
    compare_words_add(&w, compare_at(c, who->to, ""));
    return compare_call(c, &w, cost, e);
}

static int compare_call_each(struct compare *c, const struct tool *who, struct child_cost *cost,
                             struct err *e)
{
    for (size_t i = 0; i < c->set.n; i++) {
        struct compare_words w CLEANUP(compare_words_end) = {0};
        compare_words_command(&w, &who->command);
        compare_words_add(&w, compare_from(c, who->from, &c->set.image[i]));
        compare_words_add(&w, compare_at(c, who->to, c->set.image[i].name));
        if (compare_call(c, &w, cost, e) < 0)
            return -1;
    }
    return 0;
}

/* Other tools leave local files in the page cache. */
static int compare_flush(const struct compare *c, const struct tool *who, struct err *e)
{
    if (who->role != TOOL_PEER || who->to != END_LOCAL)
        return 0;
    for (size_t i = 0; i < c->set.n; i++) {
        CLEANUP_FREE char *path = compare_at(c, END_LOCAL, c->set.image[i].name);
        CLEANUP_CLOSE int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0 || fsync(fd) < 0)
            return err_set(e, ERR_IO, errno, "%s: cannot sync it", c->set.image[i].name);
    }
    return 0;
}

/* ---- before ---- */

static int compare_warm_source(struct compare *c, enum tool_end from, struct err *e)
{
    struct scratch_content content;
    if (from == END_SOURCE)
        return c->options->cold ? image_set_cool(&c->set, e) : image_set_warm(&c->set, e);
    for (size_t i = 0; i < c->set.n && !c->options->cold; i++)
        if (scratch_read(c->ends->at[from], c->set.image[i].name, &content, e) < 0)
            return -1;
    return 0;
}

static int compare_prepare(struct compare *c, const struct tool *who, struct err *e)
{
    struct scratch *to = c->ends->at[who->to];
    if (compare_warm_source(c, who->from, e) < 0)
        return -1;
    /* Who copies file by file makes no directory. */
    if (to != NULL && c->set.root != NULL && !who->at_once &&
        scratch_make_directory(to, c->set.directory, e) < 0)
        return -1;
    if (to == NULL || who->to == END_SINK || c->options->cold)
        return 0;
    return scratch_ballast(to, c->set.data_bytes, e);
}

/* ---- the run ---- */

static int64_t compare_server_cpu_ns(const struct compare *c)
{
    clockid_t clock;
    struct timespec ts;
    if (c->options->server_pid == 0 || clock_getcpuclockid(c->options->server_pid, &clock) != 0 ||
        clock_gettime(clock, &ts) < 0)
        return -1;
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int compare_execute(struct compare *c, const struct tool *who, struct compare_run *run,
                           struct err *e)
{
    struct child_cost cost = {0};
    int64_t server_ns = compare_server_cpu_ns(c);
    int64_t began_ns = clock_now_ns();
    int rc = who->at_once ? compare_call_at_once(c, who, &cost, e)
                          : compare_call_each(c, who, &cost, e);
    if (rc == 0)
        rc = compare_flush(c, who, e);
    run->wall_ns = clock_now_ns() - began_ns;
    int64_t server_end_ns = compare_server_cpu_ns(c);
    run->server_cpu_ns = server_ns >= 0 && server_end_ns >= 0 ? server_end_ns - server_ns : -1;
    run->cpu_ns = cost.cpu_ns;
    run->peak_bytes = cost.peak_bytes;
    return rc;
}

/* ---- after ---- */

/* 1: the copies are the sources; 0 with *why: they are not; -1. */
static int compare_check(struct compare *c, enum tool_end to, struct err *why, struct err *e)
{
    for (size_t i = 0; i < c->set.n; i++) {
        const struct image *want = &c->set.image[i];
        struct scratch_content got = {0};
        int found = scratch_read(c->ends->at[to], want->name, &got, e);
        if (found < 0)
            return -1;
        if (found == 0)
            err_set(why, ERR_IO, 0, "%s: is not there", want->name);
        else if (got.size_bytes != want->size_bytes)
            err_set(why, ERR_IO, 0, "%s: is %llu bytes long, its source %llu", want->name,
                    (unsigned long long)got.size_bytes, (unsigned long long)want->size_bytes);
        else if (strcmp(got.xxh3_128, want->xxh3_128) != 0)
            err_set(why, ERR_IO, 0, "%s: has checksum %s, its source %s", want->name, got.xxh3_128,
                    want->xxh3_128);
        if (why->class != ERR_NONE)
            return 0;
    }
    return 1;
}

int compare_run_clear(struct compare *c, enum tool_end end, bool leftovers, struct err *e)
{
    struct scratch *s = c->ends->at[end];
    const char *directory = c->set.directory;
    if (s == NULL)
        return 0;
    if (leftovers && (scratch_remove_leftovers(s, "", image_set_has, &c->set, e) < 0 ||
                      (c->set.root != NULL &&
                       scratch_remove_leftovers(s, directory, image_set_has, &c->set, e) < 0)))
        return -1;
    for (size_t i = 0; i < c->set.n; i++)
        if (scratch_remove(s, c->set.image[i].name, e) < 0)
            return -1;
    return c->set.root != NULL ? scratch_remove(s, directory, e) : 0;
}

static int compare_judge(struct compare *c, struct compare_entry *entry, struct compare_run *run,
                         compare_tell_fn *tell, void *arg, struct err *e)
{
    struct err why = {0};
    tell(arg, "running");
    run->outcome = COMPARE_RIGHT;
    if (compare_execute(c, &entry->who, run, &why) < 0) {
        run->outcome = COMPARE_FAILED;
        if (why.class == ERR_CANCELLED) {
            run->outcome = COMPARE_NOT_RUN;
            *e = why;
            return -1;
        }
    } else if (entry->who.to == END_SHARE || entry->who.to == END_LOCAL) {
        tell(arg, "checking");
        int same = compare_check(c, entry->who.to, &why, e);
        if (same <= 0)
            run->outcome = same == 0 ? COMPARE_WRONG : COMPARE_NOT_RUN;
        if (same < 0)
            return -1;
    }
    if (why.class != ERR_NONE && entry->fault.class == ERR_NONE)
        entry->fault = why;
    return 0;
}

int compare_run_one(struct compare *c, struct compare_entry *entry, struct compare_run *run,
                    compare_tell_fn *tell, void *arg, struct err *e)
{
    struct err clearing = {0};
    tell(arg, "warming up");
    int rc = compare_prepare(c, &entry->who, e);
    if (rc == 0)
        rc = compare_judge(c, entry, run, tell, arg, e);
    bool leftovers = entry->who.at_once && run->outcome != COMPARE_RIGHT;
    if (compare_run_clear(c, entry->who.to, leftovers, &clearing) < 0 && rc == 0) {
        *e = clearing;
        rc = -1;
    }
    if (rc < 0 && clearing.class != ERR_NONE)
        err_hint(e, "cleaning up failed, too: %s", clearing.msg);
    return rc;
}
