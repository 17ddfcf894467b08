/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The guests are started, moved and ended by the programs that a person would use: QEMU itself,
 * tools/guest and tools/domain, godwit and virsh. So what is measured is what they do, and a trial
 * can be repeated by hand. The lab's state directory, its sockets and serial files are seen by us
 * under the paths that they have inside; its processes by the machine's own pids.
 *
 * A guest is in its stride when it beats and, where it is to dirty memory, has written its whole
 * working set once: a younger one would be measured while it warms up.
 */
#include "bench/migrate/testbed.h"

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
#include "bench/migrate/testbed_kind.h"
#include "bench/observe/heartbeat.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/log.h"

#define TESTBED_BOOT_NS (60 * NS_PER_S)
#define TESTBED_STRIDE_NS (NS_PER_S / 2) /* of beats at work, before it counts as settled */

/* ---- command lines ---- */

void testbed_word(struct testbed_command *c, const char *fmt, ...)
{
    va_list args;
    size_t room = sizeof c->text - c->used;
    va_start(args, fmt);
    int n = vsnprintf(c->text + c->used, room, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room || c->n == TESTBED_WORDS_MAX) {
        c->overflow = true;
        return;
    }
    c->argv[c->n++] = c->text + c->used;
    c->argv[c->n] = NULL;
    c->used += (size_t)n + 1;
}

void testbed_on(const struct testbed *s, int host, struct testbed_command *c)
{
    testbed_word(c, "%s/lab", s->options.lab_tools);
    testbed_word(c, "exec");
    testbed_word(c, "%s", testbed_host_name(host));
}

static int testbed_run_until(const struct testbed_command *c, const volatile sig_atomic_t *cancel,
                             struct err *e)
{
    struct child_cost cost = {0};
    if (c->overflow)
        return err_set(e, ERR_IO, E2BIG, "%s: cannot be run with so many words", c->argv[0]);
    return child_run(c->argv, cancel, &cost, e);
}

int testbed_run(const struct testbed *s, const struct testbed_command *c, struct err *e)
{
    return testbed_run_until(c, s->options.cancel, e);
}

int testbed_run_always(const struct testbed_command *c, struct err *e)
{
    const sig_atomic_t never = 0;
    return testbed_run_until(c, &never, e);
}

void testbed_guest_words(const struct testbed *s, struct testbed_command *c)
{
    const struct trial_cell *cell = &s->cell;
    const char *ping = s->options.scenario->ping;
    testbed_word(c, "--build");
    testbed_word(c, "%s/../..", s->options.guests);
    testbed_word(c, "--accel");
    testbed_word(c, "%s", cell->accel);
    testbed_word(c, "--machine");
    testbed_word(c, "%s", s->options.scenario->machine);
    testbed_word(c, "--memory");
    testbed_word(c, "%llu", (unsigned long long)(cell->ram_bytes >> 20));
    testbed_word(c, "--vcpus");
    testbed_word(c, "%u", cell->vcpus);
    testbed_word(c, "--working-set");
    testbed_word(c, "%llu", (unsigned long long)cell->working_set_bytes);
    testbed_word(c, "--dirty-rate");
    testbed_word(c, "%llu", (unsigned long long)cell->dirty_bytes_per_s);
    testbed_word(c, "--trace");
    /* Memory that is touched for the first time costs seconds a GiB on some machines, and the
     * destination would fall behind. */
    testbed_word(c, "--prealloc");
    if (ping[0] != '\0') {
        testbed_word(c, "--address");
        testbed_word(c, "%s/24", ping);
    }
}

void testbed_setting_words(const struct testbed *s, const struct scenario_setting *setting,
                           struct testbed_command *c)
{
    for (size_t i = 0; i < setting->n; i++) {
        const struct scenario_word *w = &setting->words[i];
        if (strcmp(w->name, SCENARIO_UNOBSERVED) == 0)
            continue;
        if (!scenario_is_option(w->name))
            testbed_word(c, "--set=%s=%s", w->name, w->value);
        else if (w->value[0] == '\0')
            testbed_word(c, "--%s", w->name);
        else
            testbed_word(c, "--%s=%s", w->name, w->value);
    }
    testbed_word(c, "--timeout=%lldms", (long long)(s->options.scenario->timeout_ns / NS_PER_MS));
    testbed_word(c, "--json");
}

/* ---- hosts ---- */

const char *testbed_host_name(int host)
{
    return host == 0 ? "a" : "b";
}

int testbed_host_of(const struct testbed *s, enum trial_side side)
{
    return side == TRIAL_SOURCE ? s->at : 1 - s->at;
}

void testbed_ask_version(const struct testbed_command *c, char version[48])
{
    static const char before[] = "version ";
    char line[160];
    child_first_line(c->argv, line, sizeof line);
    const char *at = strstr(line, before);
    version[0] = '\0';
    if (at != NULL)
        snprintf(version, 48, "%.*s", (int)strcspn(at + strlen(before), " ("), at + strlen(before));
}

int testbed_read_pid(const char *path)
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

int testbed_host_pid(const struct testbed *s, const char *name)
{
    char path[TESTBED_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s/init", s->lab_state, name);
    return testbed_read_pid(path);
}

static int testbed_open_lab(struct testbed *s, struct err *e)
{
    const char *state = getenv("GODWIT_LAB"); /* as tools/lab --help says */
    snprintf(s->lab_state, sizeof s->lab_state, "%s",
             state != NULL ? state : "/var/lib/godwit-lab");
    char path[TESTBED_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/up", s->lab_state);
    if (access(path, F_OK) < 0) {
        err_set(e, ERR_REFUSED, 0, "the lab is not up");
        return err_hint(e, "%s/lab up --qemu \"$(%s/setup qemu10)\", or measure with --local",
                        s->options.lab_tools, s->options.lab_tools);
    }
    for (int host = 0; host < TESTBED_HOSTS; host++) {
        struct testbed_command c = {0};
        testbed_on(s, host, &c);
        testbed_word(&c, "qemu-system-x86_64");
        testbed_word(&c, "--version");
        testbed_ask_version(&c, s->qemu[host]);
        if (s->qemu[host][0] == '\0')
            return err_set(e, ERR_REFUSED, 0, "host %s of the lab has no QEMU, or is down",
                           testbed_host_name(host));
    }
    return 0;
}

/* Echoes come from host nfs: neither the source nor the destination. */
static int testbed_open_network(struct testbed *s, struct err *e)
{
    if (s->options.scenario->ping[0] == '\0' || s->lab_state[0] == '\0')
        return 0;
    char path[64];
    int pid = testbed_host_pid(s, "nfs");
    if (pid == 0)
        return err_set(e, ERR_REFUSED, 0, "host nfs of the lab is down");
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    s->network_fd = open(path, O_RDONLY | O_CLOEXEC);
    return s->network_fd >= 0 ? 0 : err_set(e, ERR_REFUSED, errno, "%s: cannot open it", path);
}

struct testbed *testbed_open(const struct testbed_options *options, struct err *e)
{
    struct testbed *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot set up a testbed");
        return NULL;
    }
    s->options = *options;
    s->network_fd = -1;
    s->link_bytes_per_s = UINT64_MAX;
    snprintf(s->ping_spec, sizeof s->ping_spec, "ping:%s", options->scenario->ping);
    int rc = options->scenario->where == SCENARIO_LAB ? testbed_open_lab(s, e)
                                                      : testbed_open_local(s, e);
    if (rc < 0 || testbed_open_network(s, e) < 0) {
        testbed_close(s);
        return NULL;
    }
    return s;
}

/* Both ways are limited at host a: what one sends is what the other receives. */
static int testbed_set_link(struct testbed *s, uint64_t bytes_per_s, struct err *e)
{
    if (s->lab_state[0] == '\0' || s->link_bytes_per_s == bytes_per_s)
        return 0;
    struct testbed_command c = {0};
    testbed_word(&c, "%s/lab", s->options.lab_tools);
    testbed_word(&c, "link");
    testbed_word(&c, "a");
    testbed_word(&c, "--rate");
    if (bytes_per_s == 0)
        testbed_word(&c, "none");
    else
        testbed_word(&c, "%llukbit", (unsigned long long)(bytes_per_s * 8 + 999) / 1000);
    s->link_bytes_per_s = UINT64_MAX;
    s->link_touched = true;
    if (testbed_run(s, &c, e) < 0)
        return -1;
    s->link_bytes_per_s = bytes_per_s;
    return 0;
}

/* Others use the lab after us. */
static void testbed_free_link(struct testbed *s)
{
    static const sig_atomic_t never = 0; /* also when we are interrupted */
    struct err e = {0};
    if (s->link_bytes_per_s == 0 || !s->link_touched)
        return;
    s->options.cancel = &never;
    if (testbed_set_link(s, 0, &e) < 0)
        log_warn("the lab's link is still limited: %s", e.msg);
}

void testbed_close(struct testbed *s)
{
    if (s == NULL)
        return;
    testbed_end(s);
    testbed_free_link(s);
    if (s->network_fd >= 0)
        close(s->network_fd);
    free(s);
}

const char *testbed_qemu(const struct testbed *s, enum trial_side side)
{
    return s->qemu[testbed_host_of(s, side)];
}

int64_t testbed_timeout_ns(const struct testbed *s)
{
    return s->options.scenario->timeout_ns;
}

const char *testbed_endpoint(const struct testbed *s)
{
    return s->endpoint[s->at];
}

const char *testbed_watch_endpoint(const struct testbed *s)
{
    return s->watch_text[s->at];
}

/* A socket belongs to the network namespace of whoever makes it. */
struct observer *testbed_observer_open(const struct testbed *s, const char *const *specs, size_t n,
                                       struct observer_beats *beats, struct err *e)
{
    CLEANUP_CLOSE int here = s->network_fd >= 0 ? open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)
                                                : -1;
    if (s->network_fd >= 0 && (here < 0 || setns(s->network_fd, CLONE_NEWNET) < 0)) {
        err_set(e, ERR_REFUSED, errno, "ping: cannot enter the lab's network");
        return NULL;
    }
    struct observer *o = observer_open_beats(specs, n, beats, e);
    if (s->network_fd >= 0 && setns(here, CLONE_NEWNET) < 0)
        log_warn("cannot return from the lab's network: %s", strerror(errno));
    return o;
}

/* ---- the guest ---- */

/* The last whole beat among the last bytes of a serial file. */
static bool testbed_last_beat(const char *path, struct heartbeat *beat)
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

static void testbed_sleep(const struct testbed *s, int64_t ns)
{
    const struct timespec pause = {.tv_nsec = 50 * NS_PER_MS};
    for (int64_t until_ns = clock_now_ns() + ns; clock_now_ns() < until_ns;)
        if (*s->options.cancel != 0 || nanosleep(&pause, NULL) < 0)
            return;
}

/* A guest of the user's has no heartbeat: that its serial port or its network answers is for the
 * observers to find. */
static int testbed_await_stride(struct testbed *s, struct err *e)
{
    int64_t deadline_ns = clock_now_ns() + TESTBED_BOOT_NS;
    struct heartbeat beat = {0};
    if (s->options.scenario->guest == SCENARIO_COMMAND) {
        testbed_sleep(s, 2 * NS_PER_S);
        return 0;
    }
    while (!testbed_last_beat(s->serial[s->at], &beat) ||
           (s->cell.dirty_bytes_per_s > 0 && beat.work == 0)) {
        if (*s->options.cancel != 0)
            return err_set(e, ERR_CANCELLED, 0, "interrupted");
        if (clock_now_ns() > deadline_ns)
            return err_set(e, ERR_TIMEOUT, 0, "the guest has sent no heartbeat within %d s",
                           (int)(TESTBED_BOOT_NS / NS_PER_S));
        testbed_sleep(s, 50 * NS_PER_MS);
    }
    testbed_sleep(s, TESTBED_STRIDE_NS);
    return 0;
}

bool testbed_has_guest(const struct testbed *s)
{
    return s->kind != NULL;
}

bool testbed_is_home(const struct testbed *s)
{
    return s->at == 0;
}

int testbed_begin(struct testbed *s, const struct trial_cell *cell, struct err *e)
{
    testbed_end(s);
    s->kind = cell->route == TRIAL_QMP ? &testbed_pair : &testbed_domain;
    s->cell = *cell;
    s->at = 0;
    if (s->kind->begin(s, e) < 0 || testbed_await_stride(s, e) < 0) {
        testbed_end(s);
        return -1;
    }
    return 0;
}

void testbed_end(struct testbed *s)
{
    if (s->kind != NULL)
        s->kind->end(s);
    s->kind = NULL;
}

int testbed_ready(struct testbed *s, const struct trial_cell *cell,
                  const struct scenario_setting *setting, struct err *e)
{
    if (testbed_set_link(s, cell->link_bytes_per_s, e) < 0)
        return -1;
    return s->kind->ready(s, setting, cell->route, e);
}

int testbed_arrived(struct testbed *s, bool *arrived, struct err *e)
{
    if (s->kind->arrived(s, arrived, e) < 0)
        return -1;
    if (*arrived)
        s->at = 1 - s->at;
    return 0;
}

int testbed_command(const struct testbed *s, const struct trial_cell *cell,
                    const struct scenario_setting *setting, struct testbed_command *c,
                    struct err *e)
{
    *c = (struct testbed_command){0};
    if (s->kind->command(s, setting, cell->route, c, e) < 0)
        return -1;
    return c->overflow ? err_set(e, ERR_REFUSED, E2BIG, "the command line is too long") : 0;
}

size_t testbed_look(const struct testbed *s, struct timeline_side sides[TRIAL_SIDES],
                    const char *specs[TRIAL_OBSERVERS_MAX])
{
    size_t n = 0;
    bool serial = s->serial[0][0] != '\0';
    for (int side = 0; side < TRIAL_SIDES; side++) {
        s->kind->look(s, (enum trial_side)side, &sides[side]);
        if (serial)
            specs[n++] = s->serial_spec[testbed_host_of(s, (enum trial_side)side)];
    }
    if (s->options.scenario->ping[0] != '\0')
        specs[n++] = s->ping_spec;
    return n;
}
