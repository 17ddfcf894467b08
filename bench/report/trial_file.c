/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Writing: the object goes to a hidden name beside the final one, is synced, and then renamed, and
 * the directory is synced. So a full disk or a crash costs the trial being written, and no other.
 *
 * Reading: a time line is a thousand times as large as the rest of its trial, and a page shows a
 * few of them. So they are left in their files until trial_results_timeline() asks. A directory's
 * summary is as good as its trials, unless it was written before the last of them was.
 */
#include "bench/report/trial_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/report/trial_json.h"
#include "core/cleanup.h"

static const char summary_name[] = "summary.json";

static const char kind_trial[] = "migration-trial";
static const char kind_series[] = "migration-series";

/* ---- writing ---- */

static int trial_file_sync_dir(const char *dir)
{
    CLEANUP_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* a file system that cannot sync a directory says EINVAL */
    return fd >= 0 && (fsync(fd) == 0 || errno == EINVAL) ? 0 : -1;
}

/* Prints and frees `o`. */
static int trial_file_print(struct json *o, const char *path)
{
    FILE *to = fopen(path, "we");
    if (to == NULL) {
        json_close(o);
        return -1;
    }
    json_print(o, to);
    bool whole = !ferror(to) && fsync(fileno(to)) == 0;
    int sys = errno;
    whole = fclose(to) == 0 && whole;
    errno = sys;
    return whole ? 0 : -1;
}

static int trial_file_put(struct json *o, const char *dir, const char *name, struct err *e)
{
    char path[PATH_MAX], new[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path ||
        snprintf(new, sizeof new, "%s/.%s.new", dir, name) >= (int)sizeof new) {
        json_close(o);
        return err_set(e, ERR_IO, ENAMETOOLONG, "%s: cannot write into it", dir);
    }
    if (trial_file_print(o, new) < 0 || rename(new, path) < 0) {
        int sys = errno;
        unlink(new);
        return err_set(e, ERR_IO, sys, "%s: cannot write it", path);
    }
    if (trial_file_sync_dir(dir) < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot sync it", dir);
    return 0;
}

int trial_file_write(const char *dir, const struct trial_series *head, const struct trial *t,
                     struct err *e)
{
    char name[40];
    struct json *o = json_new();
    json_text(o, "kind", kind_trial);
    trial_json_head(o, head);
    struct json *trial = json_node(o, "trial");
    trial_json(trial, t);
    trial_json_timeline(json_node(trial, "timeline"), &t->timeline);
    snprintf(name, sizeof name, "trial-%04u.json", t->number);
    return trial_file_put(o, dir, name, e);
}

int trial_file_write_summary(const char *dir, const struct trial_series *s, struct err *e)
{
    struct json *o = json_new();
    json_text(o, "kind", kind_series);
    trial_json_head(o, s);
    struct json *list = json_list(o, "trials");
    for (size_t i = 0; i < s->n; i++)
        trial_json(json_item(list), &s->trials[i]);
    return trial_file_put(o, dir, summary_name, e);
}

/* ---- reading ---- */

static int trial_file_check(const struct json_place *top, char kind[32], struct err *e)
{
    struct json_place named = json_get(top, "kind", e);
    uint64_t schema = json_need_u64(top, "schema", e);
    kind[0] = '\0';
    if (named.value != NULL)
        json_need_text(top, "kind", kind, 32, e);
    if (e->class == ERR_NONE && schema != 1)
        err_set(e, ERR_REFUSED, 0, "schema %llu; this godwit reads schema 1",
                (unsigned long long)schema);
    return e->class == ERR_NONE ? 0 : -1;
}

int trial_file_kind(const char *path, char kind[32], struct err *e)
{
    struct json *o = json_open(path, e);
    if (o == NULL)
        return -1;
    struct json_place top = json_top(o);
    int rc = trial_file_check(&top, kind, e);
    json_close(o);
    return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

static bool trial_results_has(const struct trial_results *r, const struct trial *t)
{
    for (size_t i = 0; i < r->series.n; i++) {
        const struct trial *other = &r->series.trials[i];
        if (other->number == t->number && other->started_epoch_ns == t->started_epoch_ns &&
            trial_cell_same(&other->cell, &t->cell))
            return true;
    }
    return false;
}

/* Takes the trial, and the file (a copy of it), or leaves them out as known. */
static int trial_results_add(struct trial_results *r, struct trial *t, const char *file,
                             struct err *e)
{
    struct trial_series *s = &r->series;
    if (trial_results_has(r, t)) {
        trial_free(t);
        return 0;
    }
    char *copy = file != NULL ? strdup(file) : NULL;
    struct trial *trials = realloc(s->trials, (s->n + 1) * sizeof *trials);
    if (trials != NULL)
        s->trials = trials;
    char **files = realloc(r->files, (s->n + 1) * sizeof *files);
    if (files != NULL)
        r->files = files;
    if (trials == NULL || files == NULL || (file != NULL && copy == NULL)) {
        free(copy);
        trial_free(t);
        return err_set(e, ERR_IO, ENOMEM, "cannot keep the results");
    }
    r->files[s->n] = copy;
    s->trials[s->n++] = *t;
    return 0;
}

/* Times of one machine must not be mixed with those of another as if they were of one. */
static int trial_results_head(struct trial_results *r, const struct json_place *top, struct err *e)
{
    struct trial_series head = {0}, *first = &r->series;
    if (trial_json_read_head(top, &head, e) < 0)
        return -1;
    if (!r->headed) {
        r->headed = true;
        *first = head;
        return 0;
    }
    if (strcmp(first->cpu, head.cpu) != 0 || strcmp(first->kernel, head.kernel) != 0 ||
        first->cores != head.cores)
        return err_set(e, ERR_REFUSED, 0,
                       "was measured on another machine (%s, %ld of %s) than the first (%s, %ld of "
                       "%s)",
                       head.kernel, head.cores, head.cpu, first->kernel, first->cores, first->cpu);
    r->mixed |= strcmp(first->command, head.command) != 0 || first->seed != head.seed ||
                strcmp(first->godwit, head.godwit) != 0;
    return 0;
}

static int trial_results_trial(struct trial_results *r, const struct json_place *place,
                               const char *file, struct err *e)
{
    struct trial t = {0};
    if (trial_json_read(place, &t, e) < 0) {
        trial_free(&t);
        return -1;
    }
    return trial_results_add(r, &t, file, e);
}

/* The trial's own file beside a summary; NULL: it is not there. */
static const char *trial_results_beside(const char *summary, unsigned number, char path[PATH_MAX])
{
    const char *slash = strrchr(summary, '/');
    int dir = slash != NULL ? (int)(slash - summary) + 1 : 0;
    int n = snprintf(path, PATH_MAX, "%.*strial-%04u.json", dir, summary, number);
    return n < PATH_MAX && access(path, R_OK) == 0 ? path : NULL;
}

static int trial_results_trials(struct trial_results *r, const struct json_place *list,
                                const char *summary, struct err *e)
{
    char path[PATH_MAX];
    size_t n = json_get_length(list, e);
    for (size_t i = 0; i < n; i++) {
        struct json_place item = json_get_nth(list, i, e);
        unsigned number = (unsigned)json_need_u64(&item, "number", e);
        if (trial_results_trial(r, &item, trial_results_beside(summary, number, path), e) < 0)
            return -1;
    }
    return e->class == ERR_NONE ? 0 : -1;
}

static int trial_results_object(struct trial_results *r, const struct json_place *top,
                                const char *path, struct err *e)
{
    char kind[32];
    if (trial_file_check(top, kind, e) < 0)
        return -1;
    if (strcmp(kind, kind_trial) != 0 && strcmp(kind, kind_series) != 0)
        return err_set(e, ERR_REFUSED, 0, "is of the kind '%s', not results of bench migrate",
                       kind[0] != '\0' ? kind : "none");
    if (trial_results_head(r, top, e) < 0)
        return -1;
    struct json_place trials = json_get(top, strcmp(kind, kind_trial) == 0 ? "trial" : "trials", e);
    if (strcmp(kind, kind_trial) == 0)
        return trial_results_trial(r, &trials, path, e);
    return trial_results_trials(r, &trials, path, e);
}

static int trial_results_file(struct trial_results *r, const char *path, struct err *e)
{
    struct json *o = json_open(path, e);
    if (o == NULL)
        return -1;
    struct json_place top = json_top(o);
    int rc = trial_results_object(r, &top, path, e);
    json_close(o);
    return rc < 0 ? err_wrap(e, "%s", path) : 0;
}

/* ---- directories ---- */

static int trial_results_is_trial(const struct dirent *d)
{
    unsigned number;
    int end = 0;
    return sscanf(d->d_name, "trial-%u.json%n", &number, &end) == 1 && end > 0 &&
           d->d_name[end] == '\0';
}

/* Whether the directory's summary has all of its `n` trials. */
static bool trial_results_summary_is_whole(const char *path, int n)
{
    struct err none = {0};
    struct json *o = json_open(path, &none);
    if (o == NULL)
        return false;
    struct json_place top = json_top(o), trials = json_get(&top, "trials", &none);
    bool whole = json_get_length(&trials, &none) >= (size_t)n;
    json_close(o);
    return whole;
}

static int trial_results_dir(struct trial_results *r, const char *dir, struct err *e)
{
    char path[PATH_MAX];
    struct dirent **names = NULL;
    int n = scandir(dir, &names, trial_results_is_trial, alphasort);
    if (n < 0)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot read it", dir);
    int rc = 0;
    snprintf(path, sizeof path, "%s/%s", dir, summary_name);
    if (access(path, F_OK) == 0 && (n == 0 || trial_results_summary_is_whole(path, n)))
        rc = trial_results_file(r, path, e);
    else if (n == 0)
        rc = err_set(e, ERR_REFUSED, 0, "%s: has no results: neither %s nor trial-*.json", dir,
                     summary_name);
    else
        for (int i = 0; rc == 0 && i < n; i++) {
            snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
            rc = trial_results_file(r, path, e);
        }
    for (int i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return rc;
}

int trial_results_read(struct trial_results *r, const char *const *paths, size_t n, struct err *e)
{
    *r = (struct trial_results){0};
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        bool is_dir = stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode);
        int rc = is_dir ? trial_results_dir(r, paths[i], e) : trial_results_file(r, paths[i], e);
        if (rc < 0) {
            trial_results_free(r);
            return -1;
        }
    }
    return 0;
}

void trial_results_free(struct trial_results *r)
{
    for (size_t i = 0; i < r->series.n; i++)
        free(r->files[i]);
    free(r->files);
    trial_series_free(&r->series);
    *r = (struct trial_results){0};
}

int trial_results_timeline(struct trial_results *r, size_t i, struct err *e)
{
    struct trial_timeline *timeline = &r->series.trials[i].timeline;
    if (r->files[i] == NULL || timeline->usage_n + timeline->beats_n > 0)
        return 0;
    struct json *o = json_open(r->files[i], e);
    if (o == NULL)
        return -1;
    struct json_place top = json_top(o), trial = json_get(&top, "trial", e);
    struct json_place place = json_get(&trial, "timeline", e);
    int rc = trial_json_read_timeline(&place, timeline, e);
    json_close(o);
    return rc < 0 ? err_wrap(e, "%s", r->files[i]) : 0;
}

void trial_results_forget_timeline(struct trial_results *r, size_t i)
{
    struct trial_timeline *timeline = &r->series.trials[i].timeline;
    free(timeline->usage);
    free(timeline->gauges);
    free(timeline->events);
    free(timeline->beats);
    *timeline = (struct trial_timeline){0};
}
