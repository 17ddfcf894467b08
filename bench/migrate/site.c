/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The guests are started, moved and ended by the programs that a person would use: QEMU itself,
 * tools/guest and tools/domain, godwit and virsh. So what is measured is what they do, and a trial
 * can be repeated by hand. The lab's state directory, its sockets and serial files are seen by us
 * under the paths that they have inside; its processes by the machine's own pids.
 *
 * A guest is in its stride when it beats and, where it shall dirty memory, has written its whole
 * working set once: a younger one would be measured while it warms up.
 */
#include "bench/migrate/site.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/observe/heartbeat.h"
#include "bench/migrate/site_kind.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

#define SITE_BOOT_NS (60 * NS_PER_S)
#define SITE_STRIDE_NS (NS_PER_S / 2) /* of beats at work, before it counts as settled */

/* ---- command lines ---- */

void site_word(struct site_command *c, const char *fmt, ...)
{
    va_list args;
    size_t room = sizeof c->text - c->used;
    va_start(args, fmt);
    int n = vsnprintf(c->text + c->used, room, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room || c->n == SITE_WORDS_MAX) {
        c->overflow = true;
        return;
    }
    c->argv[c->n++] = c->text + c->used;
    c->argv[c->n] = NULL;
    c->used += (size_t)n + 1;
}

void site_on(const struct site *s, int host, struct site_command *c)
{
    site_word(c, "%s/lab", s->options.lab_tools);
    site_word(c, "exec");
    site_word(c, "%s", site_host_name(host));
}

static int site_run_until(const struct site_command *c, const volatile sig_atomic_t *cancel,
                          struct err *e)
{
    struct child_cost cost = {0};
    if (c->overflow)
        return err_set(e, ERR_IO, E2BIG, "%s: its command line", c->argv[0]);
    return child_run(c->argv, cancel, &cost, e);
}

int site_run(const struct site *s, const struct site_command *c, struct err *e)
{
    return site_run_until(c, s->options.cancel, e);
}

int site_run_always(const struct site_command *c, struct err *e)
{
    const sig_atomic_t never = 0;
    return site_run_until(c, &never, e);
}

void site_guest_words(const struct site *s, struct site_command *c)
{
    const struct trial_cell *cell = &s->cell;
    const char *ping = s->options.scenario->ping;
    site_word(c, "--build");
    site_word(c, "%s/../..", s->options.guests);
    site_word(c, "--accel");
    site_word(c, "%s", cell->accel);
    site_word(c, "--machine");
    site_word(c, "%s", s->options.scenario->machine);
    site_word(c, "--memory");
    site_word(c, "%llu", (unsigned long long)(cell->ram_bytes >> 20));
    site_word(c, "--vcpus");
    site_word(c, "%u", cell->vcpus);
    site_word(c, "--working-set");
    site_word(c, "%llu", (unsigned long long)cell->working_set_bytes);
    site_word(c, "--dirty-rate");
    site_word(c, "%llu", (unsigned long long)cell->dirty_bytes_per_s);
    site_word(c, "--trace");
    /* Memory that is touched for the first time costs seconds a GiB on some machines, and the
     * destination would fall behind. */
    site_word(c, "--prealloc");
    if (ping[0] != '\0') {
        site_word(c, "--address");
        site_word(c, "%s/24", ping);
    }
}

void site_setting_words(const struct site *s, const struct scenario_setting *setting,
                        struct site_command *c)
{
    static const char *const own[] = {"postcopy",    "pause",          "passes",       "multifd",
                                      "compression", "downtime-limit", "max-bandwidth"};
    for (size_t i = 0; i < setting->n; i++) {
        const struct scenario_word *w = &setting->words[i];
        bool ours = false;
        if (strcmp(w->name, SCENARIO_UNOBSERVED) == 0)
            continue;
        for (size_t k = 0; k < sizeof own / sizeof *own; k++)
            ours = ours || strcmp(own[k], w->name) == 0;
        if (!ours)
            site_word(c, "--set=%s=%s", w->name, w->value);
        else if (w->value[0] == '\0')
            site_word(c, "--%s", w->name);
        else
            site_word(c, "--%s=%s", w->name, w->value);
    }
    site_word(c, "--timeout=%lldms", (long long)(s->options.scenario->timeout_ns / NS_PER_MS));
    site_word(c, "--json");
}

/* ---- hosts ---- */

const char *site_host_name(int host)
{
    return host == 0 ? "a" : "b";
}

int site_host_of(const struct site *s, enum trial_side side)
{
    return side == TRIAL_SOURCE ? s->at : 1 - s->at;
}

void site_ask_version(const struct site_command *c, char version[48])
{
    static const char before[] = "version ";
    char line[160];
    child_first_line(c->argv, line, sizeof line);
    const char *at = strstr(line, before);
    version[0] = '\0';
    if (at != NULL)
        snprintf(version, 48, "%.*s", (int)strcspn(at + strlen(before), " ("), at + strlen(before));
}

int site_read_pid(const char *path)
{
    int pid = 0;
    FILE *record = fopen(path, "re");
    if (record == NULL)
        return 0;
    if (fscanf(record, "%d", &pid) != 1)
        pid = 0;
    fclose(record);
    return pid;
}

int site_host_pid(const struct site *s, const char *name)
{
    char path[SITE_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s/init", s->lab_state, name);
    return site_read_pid(path);
}

static int site_open_lab(struct site *s, struct err *e)
{
    const char *state = getenv("GODWIT_LAB"); /* as tools/lab --help says */
    snprintf(s->lab_state, sizeof s->lab_state, "%s", state != NULL ? state : "/var/lib/godwit-lab");
    char path[SITE_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/up", s->lab_state);
    if (access(path, F_OK) < 0) {
        err_set(e, ERR_REFUSED, 0, "the lab is not up");
        return err_hint(e, "%s/lab up --qemu \"$(%s/setup qemu10)\", or measure with --local",
                        s->options.lab_tools, s->options.lab_tools);
    }
    for (int host = 0; host < SITE_HOSTS; host++) {
        struct site_command c = {0};
        site_on(s, host, &c);
        site_word(&c, "qemu-system-x86_64");
        site_word(&c, "--version");
        site_ask_version(&c, s->qemu[host]);
        if (s->qemu[host][0] == '\0')
            return err_set(e, ERR_REFUSED, 0, "host %s of the lab has no QEMU, or is down",
                           site_host_name(host));
    }
    return 0;
}

/* Echoes come from host nfs: neither the source nor the destination. */
static int site_open_network(struct site *s, struct err *e)
{
    if (s->options.scenario->ping[0] == '\0' || s->lab_state[0] == '\0')
        return 0;
    char path[64];
    int pid = site_host_pid(s, "nfs");
    if (pid == 0)
        return err_set(e, ERR_REFUSED, 0, "host nfs of the lab is down");
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    s->network_fd = open(path, O_RDONLY | O_CLOEXEC);
    return s->network_fd >= 0 ? 0 : err_set(e, ERR_REFUSED, errno, "%s", path);
}

struct site *site_open(const struct site_options *options, struct err *e)
{
    struct site *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_IO, ENOMEM, "site");
        return NULL;
    }
    s->options = *options;
    s->network_fd = -1;
    s->link_bytes_per_s = UINT64_MAX;
    snprintf(s->ping_spec, sizeof s->ping_spec, "ping:%s", options->scenario->ping);
    int rc = options->scenario->where == SCENARIO_LAB ? site_open_lab(s, e)
                                                      : site_open_local(s, e);
    if (rc < 0 || site_open_network(s, e) < 0) {
        site_close(s);
        return NULL;
    }
    return s;
}

/* Both ways are limited at host a: what one sends is what the other receives. */
static int site_set_link(struct site *s, uint64_t bytes_per_s, struct err *e)
{
    if (s->lab_state[0] == '\0' || s->link_bytes_per_s == bytes_per_s)
        return 0;
    struct site_command c = {0};
    site_word(&c, "%s/lab", s->options.lab_tools);
    site_word(&c, "link");
    site_word(&c, "a");
    site_word(&c, "--rate");
    if (bytes_per_s == 0)
        site_word(&c, "none");
    else
        site_word(&c, "%llukbit", (unsigned long long)(bytes_per_s * 8 + 999) / 1000);
    s->link_bytes_per_s = UINT64_MAX;
    s->link_touched = true;
    if (site_run(s, &c, e) < 0)
        return -1;
    s->link_bytes_per_s = bytes_per_s;
    return 0;
}

/* Others use the lab after us. */
static void site_free_link(struct site *s)
{
    static const sig_atomic_t never = 0; /* also when we are interrupted */
    struct err e = {0};
    if (s->link_bytes_per_s == 0 || !s->link_touched)
        return;
    s->options.cancel = &never;
    if (site_set_link(s, 0, &e) < 0)
        log_warn("the lab's link is still limited: %s", e.msg);
}

void site_close(struct site *s)
{
    if (s == NULL)
        return;
    site_end(s);
    site_free_link(s);
    if (s->network_fd >= 0)
        close(s->network_fd);
    free(s);
}

const char *site_qemu(const struct site *s, enum trial_side side)
{
    return s->qemu[site_host_of(s, side)];
}

int64_t site_timeout_ns(const struct site *s)
{
    return s->options.scenario->timeout_ns;
}

const char *site_endpoint(const struct site *s)
{
    return s->endpoint[s->at];
}

const char *site_watch_endpoint(const struct site *s)
{
    return s->watch_text[s->at];
}

/* A socket belongs to the network namespace of whoever makes it. */
struct observer *site_observer_open(const struct site *s, const char *const *specs, size_t n,
                                    struct observer_beats *beats, struct err *e)
{
    CLEANUP_CLOSE int here =
        s->network_fd >= 0 ? open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
    if (s->network_fd >= 0 && (here < 0 || setns(s->network_fd, CLONE_NEWNET) < 0)) {
        err_set(e, ERR_REFUSED, errno, "ping: the lab's network");
        return NULL;
    }
    struct observer *o = observer_open_beats(specs, n, beats, e);
    if (s->network_fd >= 0 && setns(here, CLONE_NEWNET) < 0)
        log_warn("back from the lab's network: %s", strerror(errno));
    return o;
}

/* ---- the guest ---- */

/* The last whole beat among the last bytes of a serial file. */
static bool site_last_beat(const char *path, struct heartbeat *beat)
{
    char text[513];
    CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    off_t from = st.st_size > 512 ? st.st_size - 512 : 0;
    ssize_t n = pread(fd, text, sizeof text - 1, from);
    text[n > 0 ? n : 0] = '\0';
    bool found = false;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (rest != NULL && heartbeat_parse(line, beat) == 0)
            found = true;
    return found;
}

static void site_sleep(const struct site *s, int64_t ns)
{
    const struct timespec pause = {.tv_nsec = 50 * NS_PER_MS};
    for (int64_t until_ns = clock_now_ns() + ns; clock_now_ns() < until_ns;)
        if (*s->options.cancel != 0 || nanosleep(&pause, NULL) < 0)
            return;
}

/* A guest of the user's has no heartbeat: that its serial port or its network answers is for the
 * observers to find. */
static int site_await_stride(struct site *s, struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + SITE_BOOT_NS;
    struct heartbeat beat = {0};
    if (s->options.scenario->guest == SCENARIO_COMMAND) {
        site_sleep(s, 2 * NS_PER_S);
        return 0;
    }
    while (!site_last_beat(s->serial[s->at], &beat) ||
           (s->cell.dirty_bytes_per_s > 0 && beat.work == 0)) {
        if (*s->options.cancel != 0)
            return err_set(e, ERR_CANCELLED, 0, "interrupted");
        if (clock_now_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0, "the guest has sent no heartbeat within %d s",
                           (int)(SITE_BOOT_NS / NS_PER_S));
        site_sleep(s, 50 * NS_PER_MS);
    }
    site_sleep(s, SITE_STRIDE_NS);
    return 0;
}

bool site_has_guest(const struct site *s)
{
    return s->kind != NULL;
}

bool site_is_home(const struct site *s)
{
    return s->at == 0;
}

int site_begin(struct site *s, const struct trial_cell *cell, struct err *e)
{
    site_end(s);
    s->kind = cell->route == TRIAL_QMP ? &site_pair : &site_domain;
    s->cell = *cell;
    s->at = 0;
    if (s->kind->begin(s, e) < 0 || site_await_stride(s, e) < 0) {
        site_end(s);
        return -1;
    }
    return 0;
}

void site_end(struct site *s)
{
    if (s->kind != NULL)
        s->kind->end(s);
    s->kind = NULL;
}

int site_ready(struct site *s, const struct trial_cell *cell,
               const struct scenario_setting *setting, struct err *e)
{
    if (site_set_link(s, cell->link_bytes_per_s, e) < 0)
        return -1;
    return s->kind->ready(s, setting, cell->route, e);
}

int site_arrived(struct site *s, bool *arrived, struct err *e)
{
    if (s->kind->arrived(s, arrived, e) < 0)
        return -1;
    if (*arrived)
        s->at = 1 - s->at;
    return 0;
}

int site_command(const struct site *s, const struct trial_cell *cell,
                 const struct scenario_setting *setting, struct site_command *c, struct err *e)
{
    *c = (struct site_command){0};
    if (s->kind->command(s, setting, cell->route, c, e) < 0)
        return -1;
    return c->overflow ? err_set(e, ERR_REFUSED, E2BIG, "the command line") : 0;
}

size_t site_look(const struct site *s, struct timeline_side sides[TRIAL_SIDES],
                 const char *specs[TRIAL_OBSERVERS_MAX])
{
    size_t n = 0;
    bool serial = s->serial[0][0] != '\0';
    for (int side = 0; side < TRIAL_SIDES; side++) {
        s->kind->look(s, (enum trial_side)side, &sides[side]);
        if (serial)
            specs[n++] = s->serial_spec[site_host_of(s, (enum trial_side)side)];
    }
    if (s->options.scenario->ping[0] != '\0')
        specs[n++] = s->ping_spec;
    return n;
}
