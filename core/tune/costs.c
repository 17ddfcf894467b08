/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * An entry is one shape of guest between two hosts, with its last cases, oldest first; entries stand in the
 * order in which they were used, the newest last. A run that hung is no reason to expect the next one to:
 * a case counts as no further off the median than by COSTS_OUTLIER.
 */
#include "core/tune/costs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"

#define COSTS_OUTLIER 4.0
#define COSTS_KIND "godwit costs"

/* How far apart such cases usually are, as a part of their size: on the lab's machines. */
#define COSTS_SPREAD_TIME 0.3
#define COSTS_SPREAD_LINK 0.15

/* Another godwit holds the file for milliseconds. */
#define COSTS_LOCK_TRIES 20
#define COSTS_LOCK_PAUSE_NS (10 * NS_PER_MS)

struct costs_entry {
    struct costs_key key;
    struct costs_case at[COSTS_CASES_MAX];
    size_t n;
};

struct costs {
    struct costs_entry at[COSTS_ENTRIES_MAX];
    size_t n;
};

struct costs *costs_new(void)
{
    return calloc(1, sizeof(struct costs));
}

void costs_free(struct costs *c)
{
    free(c);
}

/* ---- which is which ---- */

static unsigned costs_ram_class(uint64_t bytes)
{
    unsigned class = 0;
    while (bytes > 1) {
        bytes >>= 1;
        class ++;
    }
    return class;
}

static bool costs_same_hosts(const struct costs_key *a, const struct costs_key *b)
{
    return strcmp(a->source_host, b->source_host) == 0 &&
           strcmp(a->destination_host, b->destination_host) == 0;
}

static bool costs_same_versions(const struct costs_key *a, const struct costs_key *b)
{
    return strcmp(a->source_version, b->source_version) == 0 &&
           strcmp(a->destination_version, b->destination_version) == 0;
}

static bool costs_same_way(const struct costs_key *a, const struct costs_key *b)
{
    return strcmp(a->route, b->route) == 0 && a->kvm == b->kvm;
}

static bool costs_same_shape(const struct costs_key *a, const struct costs_key *b)
{
    return strcmp(a->machine, b->machine) == 0 && a->vcpus == b->vcpus &&
           costs_ram_class(a->ram_bytes) == costs_ram_class(b->ram_bytes);
}

static bool costs_same(const struct costs_key *a, const struct costs_key *b)
{
    return costs_same_hosts(a, b) && costs_same_way(a, b) && costs_same_shape(a, b);
}

/* ---- adding ---- */

static void costs_remove(struct costs *c, size_t i)
{
    c->n--;
    memmove(&c->at[i], &c->at[i + 1], (c->n - i) * sizeof c->at[0]);
}

/* The entry of this key, as the newest one. */
static struct costs_entry *costs_entry(struct costs *c, const struct costs_key *k)
{
    struct costs_entry found = {.key = *k};
    for (size_t i = 0; i < c->n; i++) {
        if (!costs_same(&c->at[i].key, k))
            continue;
        if (costs_same_versions(&c->at[i].key, k))
            found = c->at[i];
        costs_remove(c, i);
        break;
    }
    if (c->n == COSTS_ENTRIES_MAX)
        costs_remove(c, 0);
    c->at[c->n] = found;
    return &c->at[c->n++];
}

void costs_add(struct costs *c, const struct costs_key *k, const struct costs_case *seen)
{
    struct costs_entry *entry = costs_entry(c, k);
    if (entry->n == COSTS_CASES_MAX) {
        entry->n--;
        memmove(&entry->at[0], &entry->at[1], entry->n * sizeof entry->at[0]);
    }
    entry->at[entry->n++] = *seen;
}

/* ---- finding ---- */

enum { COSTS_ALL_CASES = COSTS_ENTRIES_MAX * COSTS_CASES_MAX };

struct costs_values {
    double at[COSTS_ALL_CASES];
    size_t n;
};

static struct estimate costs_estimate(struct costs_values *v, double usual_spread)
{
    double middle = estimate_quantile(v->at, v->n, 0.5);
    for (size_t i = 0; i < v->n; i++)
        v->at[i] = fmin(fmax(v->at[i], middle / COSTS_OUTLIER), middle * COSTS_OUTLIER);
    return estimate_from_cases(v->at, v->n, usual_spread);
}

static bool costs_counts(const struct costs_key *of, const struct costs_key *k,
                         enum costs_from from)
{
    return costs_same_way(of, k) && costs_same_versions(of, k) &&
           (from < COSTS_HOSTS || costs_same_hosts(of, k)) &&
           (from < COSTS_ALIKE || costs_same_shape(of, k));
}

/* One of the three times, of all entries that are as near as `from`. */
static struct estimate costs_time(const struct costs *c, const struct costs_key *k,
                                  enum costs_from from, size_t offset, struct estimate otherwise)
{
    struct costs_values v = {.n = 0};
    for (size_t i = 0; i < c->n; i++) {
        if (!costs_counts(&c->at[i].key, k, from))
            continue;
        for (size_t j = 0; j < c->at[i].n; j++) {
            const char *seen = (const char *)&c->at[i].at[j];
            int64_t ns = *(const int64_t *)(const void *)(seen + offset);
            if (ns >= 0)
                v.at[v.n++] = (double)ns;
        }
    }
    return v.n > 0 ? costs_estimate(&v, COSTS_SPREAD_TIME) : otherwise;
}

static unsigned costs_count(const struct costs *c, const struct costs_key *k, enum costs_from from)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += costs_counts(&c->at[i].key, k, from) ? c->at[i].n : 0;
    return (unsigned)n;
}

static void costs_find_link(const struct costs *c, const struct costs_key *k,
                            struct costs_found *out)
{
    struct costs_values v = {.n = 0};
    for (size_t i = 0; i < c->n; i++)
        for (size_t j = 0; costs_same_hosts(&c->at[i].key, k) && j < c->at[i].n; j++)
            if (c->at[i].at[j].bytes_per_s > 0)
                v.at[v.n++] = c->at[i].at[j].bytes_per_s;
    out->link_cases = (unsigned)v.n;
    out->bytes_per_s = v.n > 0 ? costs_estimate(&v, COSTS_SPREAD_LINK) : estimate_exactly(0);
}

/* Until a guest is seen again after it was resumed, with the last moment before its stop: its caches are cold,
 * and a sign of life is not due at once. Of two bare QEMUs in the lab some 18 ms by TCG and 7 by KVM
 * (the pause taken apart, doc/measuring.md). */
#define COSTS_WARM_UP ((struct estimate){3e6, 12e6, 40e6})

/* What was seen in the lab, whose two cores were busy: of "qmp" in the runs of bench/predict, of libvirt's routes
 * in those of bench/routes. */
static struct model_costs costs_shipped(const struct costs_key *k)
{
    static const struct {
        const char *route;
        struct model_costs costs;
    } shipped[] = {
        {"qmp",
         {.begin_ns = {20e6, 60e6, 250e6},
          .pause_ns = {4e6, 10e6, 40e6},
          .end_ns = {10e6, 40e6, 150e6}}},
        {"direct",
         {.begin_ns = {300e6, 600e6, 1500e6},
          .pause_ns = {5e6, 15e6, 50e6},
          .end_ns = {100e6, 300e6, 900e6}}},
        {"native",
         {.begin_ns = {200e6, 500e6, 1200e6},
          .pause_ns = {10e6, 30e6, 100e6},
          .end_ns = {100e6, 300e6, 900e6}}},
    };
    size_t i = 0;
    while (i + 1 < sizeof shipped / sizeof *shipped && strcmp(shipped[i].route, k->route) != 0)
        i++;
    return shipped[i].costs;
}

void costs_find(const struct costs *c, const struct costs_key *k, struct costs_found *out)
{
    struct model_costs shipped = costs_shipped(k);
    *out =
        (struct costs_found){.costs = shipped, .warm_up_ns = COSTS_WARM_UP, .from = COSTS_SHIPPED};
    if (c == NULL)
        return;
    enum costs_from from = COSTS_ALIKE;
    while (from > COSTS_SHIPPED && costs_count(c, k, from) == 0)
        from--;
    costs_find_link(c, k, out);
    if (from == COSTS_SHIPPED)
        return;
    out->from = from;
    out->cases = costs_count(c, k, from);
    out->costs.begin_ns =
        costs_time(c, k, from, offsetof(struct costs_case, begin_ns), shipped.begin_ns);
    out->costs.pause_ns =
        costs_time(c, k, from, offsetof(struct costs_case, pause_ns), shipped.pause_ns);
    out->costs.end_ns = costs_time(c, k, from, offsetof(struct costs_case, end_ns), shipped.end_ns);
    out->warm_up_ns =
        costs_time(c, k, from, offsetof(struct costs_case, warm_up_ns), COSTS_WARM_UP);
}

/* ---- the file ---- */

int costs_path(char *path, size_t room, struct err *e)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = -1;
    if (state != NULL && state[0] == '/')
        n = snprintf(path, room, "%s/godwit/costs.json", state);
    else if (home != NULL && home[0] == '/')
        n = snprintf(path, room, "%s/.local/state/godwit/costs.json", home);
    else
        return err_set(e, ERR_REFUSED, 0,
                       "there is no place to keep costs: neither XDG_STATE_HOME nor HOME is set");
    if (n < 0 || (size_t)n >= room)
        return err_set(e, ERR_REFUSED, ENAMETOOLONG, "cannot keep costs below %s",
                       state != NULL ? state : home);
    return 0;
}

static void costs_write_entry(struct json *o, const struct costs_entry *entry)
{
    static const char *const columns[] = {"begin_ms",    "pause_ms",   "end_ms",
                                          "bytes_per_s", "warm_up_ms", NULL};
    const struct costs_key *k = &entry->key;
    json_text(o, "source_host", k->source_host);
    json_text(o, "destination_host", k->destination_host);
    json_text(o, "source_version", k->source_version);
    json_text(o, "destination_version", k->destination_version);
    json_text(o, "route", k->route);
    json_text(o, "machine", k->machine);
    json_u64(o, "vcpus", k->vcpus);
    json_u64(o, "ram_bytes", k->ram_bytes);
    json_flag(o, "kvm", k->kvm);
    struct json *rows = json_table(o, "cases", columns);
    for (size_t i = 0; i < entry->n; i++) {
        const struct costs_case *seen = &entry->at[i];
        struct json *row = json_row(rows);
        json_row_ms(row, seen->begin_ns < 0 ? JSON_NEVER : seen->begin_ns);
        json_row_ms(row, seen->pause_ns < 0 ? JSON_NEVER : seen->pause_ns);
        json_row_ms(row, seen->end_ns < 0 ? JSON_NEVER : seen->end_ns);
        json_row_u64(row, seen->bytes_per_s > 0 ? (uint64_t)seen->bytes_per_s : UINT64_MAX);
        json_row_ms(row, seen->warm_up_ns < 0 ? JSON_NEVER : seen->warm_up_ns);
    }
}

static int64_t costs_read_ns(const struct json_place *row, size_t column, struct err *e)
{
    struct json_place value = json_get_nth(row, column, e);
    int64_t ns = json_read_ms(&value, e);
    return ns == JSON_NEVER || ns < 0 ? -1 : ns;
}

static void costs_read_cases(struct costs_entry *entry, const struct json_place *o, struct err *e)
{
    struct json_place table = json_get(o, "cases", e), rows = json_get(&table, "rows", e);
    size_t n = json_get_length(&rows, e);
    for (size_t i = n > COSTS_CASES_MAX ? n - COSTS_CASES_MAX : 0; i < n; i++) {
        struct json_place row = json_get_nth(&rows, i, e), rate = json_get_nth(&row, 3, e);
        uint64_t bytes_per_s = json_read_u64(&rate, e);
        entry->at[entry->n++] = (struct costs_case){
            .begin_ns = costs_read_ns(&row, 0, e),
            .pause_ns = costs_read_ns(&row, 1, e),
            .end_ns = costs_read_ns(&row, 2, e),
            .bytes_per_s = bytes_per_s == UINT64_MAX ? 0 : (double)bytes_per_s,
            /* of a godwit that did not keep it: not there */
            .warm_up_ns = json_get_length(&row, e) > 4 ? costs_read_ns(&row, 4, e) : -1,
        };
    }
}

static void costs_read_entry(struct costs_entry *entry, const struct json_place *o, struct err *e)
{
    struct costs_key *k = &entry->key;
    json_need_text(o, "source_host", k->source_host, sizeof k->source_host, e);
    json_need_text(o, "destination_host", k->destination_host, sizeof k->destination_host, e);
    json_need_text(o, "source_version", k->source_version, sizeof k->source_version, e);
    json_need_text(o, "destination_version", k->destination_version, sizeof k->destination_version,
                   e);
    json_need_text(o, "route", k->route, sizeof k->route, e);
    json_need_text(o, "machine", k->machine, sizeof k->machine, e);
    k->vcpus = (unsigned)json_need_u64(o, "vcpus", e);
    k->ram_bytes = json_need_u64(o, "ram_bytes", e);
    k->kvm = json_get_flag(o, "kvm", e);
    costs_read_cases(entry, o, e);
}

int costs_read(struct costs *c, const char *path, struct err *e)
{
    c->n = 0;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    CLEANUP_JSON struct json *file = json_open(path, e);
    if (file == NULL)
        return -1;
    struct json_place top = json_top(file);
    const char *kind = json_get_text(&top, "kind", e);
    if (e->class == ERR_NONE &&
        (json_need_u64(&top, "schema", e) != 1 || kind == NULL || strcmp(kind, COSTS_KIND) != 0))
        return e->class != ERR_NONE
                   ? -1
                   : err_set(e, ERR_REFUSED, 0, "%s: is not a file of \"%s\", schema 1", path,
                             COSTS_KIND);
    struct json_place entries = json_get(&top, "entries", e);
    size_t n = json_get_length(&entries, e);
    for (size_t i = n > COSTS_ENTRIES_MAX ? n - COSTS_ENTRIES_MAX : 0; i < n; i++) {
        struct json_place o = json_get_nth(&entries, i, e);
        c->at[c->n] = (struct costs_entry){.n = 0};
        costs_read_entry(&c->at[c->n++], &o, e);
    }
    if (e->class == ERR_NONE)
        return 0;
    c->n = 0;
    return err_wrap(e, "%s", path);
}

/* The directories above, as XDG wants them: for their owner alone. */
static int costs_make_directories(const char *path, struct err *e)
{
    char part[PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return err_set(e, ERR_IO, errno, "%s: cannot make this directory", part);
        *slash = '/';
    }
    return 0;
}

static int costs_put(const char *path, const char *text, struct err *e)
{
    size_t left = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot be made", path);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text += n;
        left -= (size_t)n;
    }
    int failed = left > 0 || fsync(fd) < 0 ? errno : 0;
    if (close(fd) < 0 && failed == 0)
        failed = errno;
    return failed == 0 ? 0 : err_set(e, ERR_IO, failed, "%s: cannot be written", path);
}

int costs_write(const struct costs *c, const char *path, struct err *e)
{
    char new[PATH_MAX];
    if ((size_t)snprintf(new, sizeof new, "%s.%ld", path, (long)getpid()) >= sizeof new)
        return err_set(e, ERR_IO, ENAMETOOLONG, "%s: cannot be written", path);
    if (costs_make_directories(path, e) < 0)
        return -1;
    CLEANUP_JSON struct json *file = json_new();
    json_text(file, "kind", COSTS_KIND);
    struct json *entries = json_list(file, "entries");
    for (size_t i = 0; i < c->n; i++)
        costs_write_entry(json_item(entries), &c->at[i]);
    const char *text = json_pretty(file);
    if (text == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s: cannot be written", path);
    unlink(new); /* of a process of ours that died, for it had our pid */
    if (costs_put(new, text, e) == 0) {
        if (rename(new, path) == 0)
            return 0;
        err_set(e, ERR_IO, errno, "%s: cannot be replaced", path);
    }
    unlink(new);
    return -1;
}

/* A descriptor that holds the lock until it is closed; -1: there is none, and it goes without: then one of
 * two cases may be lost, and the file stays whole. */
static int costs_lock(const char *path)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        return -1;
    *slash = '\0';
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < COSTS_LOCK_TRIES; i++) {
        const struct timespec pause = {.tv_nsec = COSTS_LOCK_PAUSE_NS};
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            break;
        nanosleep(&pause, NULL);
    }
    return fd;
}

int costs_learn(const char *path, const struct costs_key *k, const struct costs_case *seen,
                struct err *e)
{
    struct err broken = {0};
    CLEANUP_COSTS struct costs *c = costs_new();
    if (c == NULL)
        return err_set(e, ERR_IO, ENOMEM, "%s: cannot be read", path);
    if (costs_make_directories(path, e) < 0)
        return -1;
    int lock = costs_lock(path);
    if (costs_read(c, path, &broken) < 0)
        log_warn("%s; it is begun anew", broken.msg);
    costs_add(c, k, seen);
    int rc = costs_write(c, path, e);
    if (lock >= 0)
        close(lock);
    return rc;
}
