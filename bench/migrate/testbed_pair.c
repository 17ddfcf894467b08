/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Two bare QEMUs: of this machine, started by us, or of the hosts of the lab, started by tools/guest.
 * Either way each has two QMP sockets, one for godwit and one for observers, a file of its serial
 * port and a log. The destination's is started for each trial, and the one that the guest has left is
 * ended after it. They are daemons of their own, known by their pid files.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/migrate/testbed_kind.h"
#include "core/clock.h"
#include "core/loop.h"
#include "qmp/watch.h"

#define PAIR_NAME "bench"
#define PAIR_PORT 4445
#define PAIR_END_NS (5 * NS_PER_S) /* between asking a QEMU to end and ending it */

static bool pair_in_lab(const struct testbed *s)
{
    return s->lab_state[0] != '\0';
}

/* ---- QEMUs of this machine ---- */

/* The program, or that of a tree that is not installed, with the options that it needs then. */
static void local_program(const struct testbed *s, int host, struct testbed_command *c)
{
    static const char *const data[] = {"usr/share/qemu", "usr/share/seabios"};
    const char *qemu = s->options.scenario->qemu[host];
    struct stat st;
    bool tree = stat(qemu, &st) == 0 && S_ISDIR(st.st_mode) && strcmp(qemu, "/") != 0;
    if (!tree) {
        testbed_word(c, "%s",
                     qemu[0] != '\0' && strcmp(qemu, "/") != 0 ? qemu : "qemu-system-x86_64");
        return;
    }
    testbed_word(c, "env");
    testbed_word(c, "QEMU_MODULE_DIR=%s/usr/lib/x86_64-linux-gnu/qemu", qemu);
    testbed_word(c, "%s/usr/bin/qemu-system-x86_64", qemu);
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        testbed_word(c, "-L");
        testbed_word(c, "%s/%s", qemu, data[i]);
    }
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        testbed_word(c, "-L");
        testbed_word(c, "/%s", data[i]);
    }
}

/* "{serial}" in the user's words becomes the path. */
static int local_fill_in(const char *words, const char *serial, char *text, size_t size,
                         struct err *e)
{
    static const char mark[] = "{serial}";
    size_t n = 0;
    while (n < size && *words != '\0') {
        const char *at = strstr(words, mark);
        int plain = at != NULL ? (int)(at - words) : (int)strlen(words);
        n += (size_t)snprintf(text + n, size - n, "%.*s%s", plain, words, at != NULL ? serial : "");
        words += plain + (at != NULL ? (int)strlen(mark) : 0);
    }
    return n < size ? 0 : err_set(e, ERR_USAGE, 0, "the command is too long");
}

static void local_boot_words(const struct testbed *s, struct testbed_command *c)
{
    const struct trial_cell *cell = &s->cell;
    static const char *const plain[] = {"-cpu",       "qemu64",  "-nodefaults", "-no-user-config",
                                        "-display",   "none",    "-vga",        "none",
                                        "-no-reboot", "-machine"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        testbed_word(c, "%s", plain[i]);
    testbed_word(c, "%s", s->options.scenario->machine);
    testbed_word(c, "-accel");
    testbed_word(c, "%s", cell->accel);
    testbed_word(c, "-m");
    testbed_word(c, "%llu", (unsigned long long)(cell->ram_bytes >> 20));
    testbed_word(c, "-mem-prealloc"); /* as testbed_guest_words() says */
    testbed_word(c, "-smp");
    testbed_word(c, "%u", cell->vcpus);
    testbed_word(c, "-kernel");
    if (s->options.scenario->guest == SCENARIO_BARE) {
        testbed_word(c, "%s/bare", s->options.scratch);
        return;
    }
    testbed_word(c, "%s/vmlinuz", s->options.guests);
    testbed_word(c, "-initrd");
    testbed_word(c, "%s/initrd.img", s->options.guests);
    testbed_word(c, "-append");
    testbed_word(
        c, "console=ttyS0 quiet mitigations=off godwit.working_set=%llu godwit.dirty_rate=%llu",
        (unsigned long long)cell->working_set_bytes, (unsigned long long)cell->dirty_bytes_per_s);
}

/* What both kinds of guests get, so that they can be driven and looked at. */
static void local_own_words(const struct testbed *s, int host, bool incoming,
                            struct testbed_command *c)
{
    testbed_word(c, "-name");
    testbed_word(c, "%s,debug-threads=on", PAIR_NAME);
    testbed_word(c, "-qmp");
    testbed_word(c, "unix:%s,server=on,wait=off", s->qmp[host]);
    testbed_word(c, "-qmp");
    testbed_word(c, "unix:%s,server=on,wait=off", s->watch_qmp[host]);
    testbed_word(c, "-msg");
    testbed_word(c, "timestamp=on");
    testbed_word(c, "-D");
    testbed_word(c, "%s", s->log[host]);
    testbed_word(c, "-daemonize");
    testbed_word(c, "-pidfile");
    testbed_word(c, "%s", s->pid_file[host]);
    if (incoming) {
        testbed_word(c, "-incoming");
        testbed_word(c, "defer");
    }
}

static int local_start_words(const struct testbed *s, int host, bool incoming,
                             struct testbed_command *c, struct err *e)
{
    if (s->options.scenario->guest == SCENARIO_COMMAND) {
        char words[TESTBED_TEXT_MAX];
        if (local_fill_in(s->options.scenario->command, s->serial[host], words, sizeof words, e) <
            0)
            return -1;
        testbed_word(c, "sh");
        testbed_word(c, "-c");
        testbed_word(c, "exec %s \"$@\"", words);
        testbed_word(c, "sh");
    } else {
        local_program(s, host, c);
        local_boot_words(s, c);
        testbed_word(c, "-chardev");
        testbed_word(c, "file,id=serial,path=%s", s->serial[host]);
        testbed_word(c, "-serial");
        testbed_word(c, "chardev:serial");
        testbed_word(c, "-trace");
        testbed_word(c, "enable=vmstate_downtime_*");
    }
    local_own_words(s, host, incoming, c);
    return 0;
}

static int local_make_image(const struct testbed *s, struct err *e)
{
    struct testbed_command c = {0};
    if (s->options.scenario->guest != SCENARIO_BARE)
        return 0;
    testbed_word(&c, "%s/bare-guest-patch", s->options.guests);
    testbed_word(&c, "--working-set");
    testbed_word(&c, "%llu", (unsigned long long)s->cell.working_set_bytes);
    testbed_word(&c, "--dirty-rate");
    testbed_word(&c, "%llu", (unsigned long long)s->cell.dirty_bytes_per_s);
    testbed_word(&c, "%s/bare-guest.elf", s->options.guests);
    testbed_word(&c, "%s/bare", s->options.scratch);
    return testbed_run(s, &c, e);
}

static void local_stop(const struct testbed *s, int host)
{
    const struct timespec pause = {.tv_nsec = 20 * NS_PER_MS};
    pid_t pid = testbed_read_pid(s->pid_file[host]);
    int64_t asked_ns = clock_now_ns();
    bool killed = false;
    if (pid > 0 && kill(pid, SIGTERM) == 0)
        /* One that nobody reaps stays, dead. */
        while (kill(pid, 0) == 0 && clock_now_ns() - asked_ns < 2 * PAIR_END_NS) {
            if (!killed && clock_now_ns() - asked_ns > PAIR_END_NS)
                killed = kill(pid, SIGKILL) == 0;
            nanosleep(&pause, NULL);
        }
    unlink(s->qmp[host]);
    unlink(s->watch_qmp[host]);
    unlink(s->pid_file[host]);
}

int testbed_open_local(struct testbed *s, struct err *e)
{
    for (int host = 0; host < TESTBED_HOSTS; host++) {
        struct testbed_command c = {0};
        if (s->options.scenario->guest == SCENARIO_COMMAND)
            continue;
        local_program(s, host, &c);
        testbed_word(&c, "--version");
        testbed_ask_version(&c, s->qemu[host]);
        if (s->qemu[host][0] != '\0')
            continue;
        err_set(e, ERR_REFUSED, 0, "%s: is not a QEMU that runs here", c.argv[0]);
        return err_hint(e, "name one by qemu-source and qemu-destination, or install "
                           "qemu-system-x86");
    }
    return 0;
}

/* ---- both ---- */

static int pair_start(const struct testbed *s, int host, bool incoming, struct err *e)
{
    struct testbed_command c = {0};
    if (!pair_in_lab(s)) {
        if (local_start_words(s, host, incoming, &c, e) < 0)
            return -1;
        return testbed_run(s, &c, e);
    }
    testbed_word(&c, "%s/guest", s->options.lab_tools);
    testbed_word(&c, "start");
    testbed_word(&c, "%s", testbed_host_name(host));
    testbed_word(&c, PAIR_NAME);
    testbed_word(&c, "%s", s->cell.guest);
    testbed_guest_words(s, &c);
    if (incoming)
        testbed_word(&c, "--incoming");
    return testbed_run(s, &c, e);
}

static void pair_stop(const struct testbed *s, int host)
{
    struct err e = {0};
    struct testbed_command c = {0};
    if (!pair_in_lab(s)) {
        local_stop(s, host);
        return;
    }
    testbed_word(&c, "%s/guest", s->options.lab_tools);
    testbed_word(&c, "stop");
    testbed_word(&c, "%s", testbed_host_name(host));
    testbed_word(&c, PAIR_NAME);
    testbed_run_always(&c, &e);
}

static void pair_set_paths(struct testbed *s)
{
    bool observed = s->options.scenario->guest != SCENARIO_COMMAND ||
                    strstr(s->options.scenario->command, "{serial}") != NULL;
    for (int host = 0; host < TESTBED_HOSTS; host++) {
        char base[TESTBED_PATH_MAX - 16];
        if (pair_in_lab(s))
            snprintf(base, sizeof base, "%s/%s/%s", s->lab_state, testbed_host_name(host),
                     PAIR_NAME);
        else
            snprintf(base, sizeof base, "%s/%s", s->options.scratch, testbed_host_name(host));
        snprintf(s->qmp[host], TESTBED_PATH_MAX, "%s.qmp", base);
        snprintf(s->watch_qmp[host], TESTBED_PATH_MAX, "%s.qmp2", base);
        snprintf(s->serial[host], TESTBED_PATH_MAX, "%s.console", base);
        snprintf(s->log[host], TESTBED_PATH_MAX, "%s.log", base);
        snprintf(s->pid_file[host], TESTBED_PATH_MAX, "%s.pid", base);
        snprintf(s->pattern[host], TESTBED_PATH_MAX, "%s.qmp2,", base);
        snprintf(s->serial_spec[host], sizeof s->serial_spec[host], "serial:%s", s->serial[host]);
        snprintf(s->endpoint[host], sizeof s->endpoint[host], "qmp+unix:%s", s->qmp[host]);
        snprintf(s->watch_text[host], sizeof s->watch_text[host], "qmp+unix:%s",
                 s->watch_qmp[host]);
        if (!observed)
            s->serial[host][0] = '\0';
    }
}

static int pair_begin(struct testbed *s, struct err *e)
{
    pair_set_paths(s);
    for (int host = 0; host < TESTBED_HOSTS; host++)
        pair_stop(s, host);
    if (!pair_in_lab(s) && local_make_image(s, e) < 0)
        return -1;
    return pair_start(s, 0, false, e);
}

static void pair_end(struct testbed *s)
{
    for (int host = 0; host < TESTBED_HOSTS; host++)
        pair_stop(s, host);
}

static int pair_ready(struct testbed *s, const struct scenario_setting *setting,
                      enum trial_route route, struct err *e)
{
    (void)setting;
    (void)route;
    pair_stop(s, 1 - s->at);
    return pair_start(s, 1 - s->at, true, e);
}

static bool pair_runs(const struct testbed *s, int host)
{
    struct err e = {0};
    enum vm_run run = VM_RUN_UNKNOWN;
    struct loop *loop = loop_new(&e);
    struct watch *w = NULL;
    if (loop != NULL)
        w = watch_open(loop, s->watch_text[host], WATCH_OPEN_TIMEOUT_NS, NULL, NULL, &e);
    if (w != NULL && watch_run(w, &run, &e) < 0)
        run = VM_RUN_UNKNOWN;
    watch_close(w);
    loop_free(loop);
    return run == VM_RUN_RUNNING;
}

static int pair_arrived(struct testbed *s, bool *arrived, struct err *e)
{
    int to = 1 - s->at;
    bool here = pair_runs(s, s->at), there = pair_runs(s, to);
    if (here == there)
        return err_set(e, ERR_IO, 0, "the guest runs %s",
                       here ? "on both sides" : "on neither side");
    *arrived = there;
    pair_stop(s, there ? s->at : to);
    return 0;
}

static int pair_command(const struct testbed *s, const struct scenario_setting *setting,
                        enum trial_route route, struct testbed_command *c, struct err *e)
{
    int to = 1 - s->at;
    (void)route;
    (void)e;
    if (pair_in_lab(s))
        testbed_on(s, s->at, c);
    testbed_word(c, "%s", s->options.godwit);
    testbed_word(c, "migrate");
    testbed_word(c, "%s", s->endpoint[s->at]);
    testbed_word(c, "%s", s->endpoint[to]);
    testbed_word(c, "--via");
    if (pair_in_lab(s))
        testbed_word(c, "tcp:%s:%d", testbed_host_name(to), PAIR_PORT);
    else
        testbed_word(c, "unix:%s/stream", s->options.scratch);
    testbed_setting_words(s, setting, c);
    return 0;
}

static void pair_look(const struct testbed *s, enum trial_side side, struct timeline_side *look)
{
    int host = testbed_host_of(s, side);
    *look = (struct timeline_side){
        .process_pattern = s->pattern[host],
        .qmp = s->watch_text[host],
        .log_path = s->log[host],
    };
}

const struct testbed_kind testbed_pair = {pair_begin,   pair_end,     pair_ready,
                                          pair_arrived, pair_command, pair_look};
