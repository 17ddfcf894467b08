/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Two bare QEMUs: of this machine, started by us, or of the hosts of the lab, started by tools/guest.
 * Either way each has two QMP sockets, one for godwit and one for who looks on, a file of its serial
 * port and a log. The destination's is started for each trial, and the one that the guest has left is
 * ended after it. They are daemons of their own, known by their pid files.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench/migrate/site_kind.h"
#include "core/clock.h"
#include "core/loop.h"
#include "qmp/watch.h"

#define PAIR_NAME "bench"
#define PAIR_PORT 4445
#define PAIR_END_NS (5 * NS_PER_S) /* between asking a QEMU to end and ending it */

static bool pair_in_lab(const struct site *s)
{
    return s->lab_state[0] != '\0';
}

/* ---- QEMUs of this machine ---- */

/* The program, or that of a tree that is not installed, with what it must be told then. */
static void local_program(const struct site *s, int host, struct site_command *c)
{
    static const char *const data[] = {"usr/share/qemu", "usr/share/seabios"};
    const char *qemu = s->options.scenario->qemu[host];
    struct stat st;
    bool tree = stat(qemu, &st) == 0 && S_ISDIR(st.st_mode) && strcmp(qemu, "/") != 0;
    if (!tree) {
        site_word(c, "%s", qemu[0] != '\0' && strcmp(qemu, "/") != 0 ? qemu : "qemu-system-x86_64");
        return;
    }
    site_word(c, "env");
    site_word(c, "QEMU_MODULE_DIR=%s/usr/lib/x86_64-linux-gnu/qemu", qemu);
    site_word(c, "%s/usr/bin/qemu-system-x86_64", qemu);
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        site_word(c, "-L");
        site_word(c, "%s/%s", qemu, data[i]);
    }
    for (size_t i = 0; i < sizeof data / sizeof *data; i++) {
        site_word(c, "-L");
        site_word(c, "/%s", data[i]);
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
    return n < size ? 0 : err_set(e, ERR_USAGE, 0, "command: too long");
}

static void local_boot_words(const struct site *s, struct site_command *c)
{
    const struct trial_cell *cell = &s->cell;
    static const char *const plain[] = {"-cpu", "qemu64", "-nodefaults", "-no-user-config", "-display",
                                        "none", "-vga", "none", "-no-reboot", "-machine"};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        site_word(c, "%s", plain[i]);
    site_word(c, "%s", s->options.scenario->machine);
    site_word(c, "-accel");
    site_word(c, "%s", cell->accel);
    site_word(c, "-m");
    site_word(c, "%llu", (unsigned long long)(cell->ram_bytes >> 20));
    site_word(c, "-mem-prealloc"); /* as site_guest_words() says */
    site_word(c, "-smp");
    site_word(c, "%u", cell->vcpus);
    site_word(c, "-kernel");
    if (s->options.scenario->guest == SCENARIO_BARE) {
        site_word(c, "%s/bare", s->options.scratch);
        return;
    }
    site_word(c, "%s/vmlinuz", s->options.guests);
    site_word(c, "-initrd");
    site_word(c, "%s/initrd.img", s->options.guests);
    site_word(c, "-append");
    site_word(c, "console=ttyS0 quiet mitigations=off godwit.working_set=%llu godwit.dirty_rate=%llu",
              (unsigned long long)cell->working_set_bytes,
              (unsigned long long)cell->dirty_bytes_per_s);
}

/* What both kinds of guests get, so that they can be driven and looked at. */
static void local_own_words(const struct site *s, int host, bool incoming, struct site_command *c)
{
    site_word(c, "-name");
    site_word(c, "%s,debug-threads=on", PAIR_NAME);
    site_word(c, "-qmp");
    site_word(c, "unix:%s,server=on,wait=off", s->qmp[host]);
    site_word(c, "-qmp");
    site_word(c, "unix:%s,server=on,wait=off", s->watch_qmp[host]);
    site_word(c, "-msg");
    site_word(c, "timestamp=on");
    site_word(c, "-D");
    site_word(c, "%s", s->log[host]);
    site_word(c, "-daemonize");
    site_word(c, "-pidfile");
    site_word(c, "%s", s->pid_file[host]);
    if (incoming) {
        site_word(c, "-incoming");
        site_word(c, "defer");
    }
}

static int local_start_words(const struct site *s, int host, bool incoming, struct site_command *c,
                             struct err *e)
{
    if (s->options.scenario->guest == SCENARIO_COMMAND) {
        char words[SITE_TEXT_MAX];
        if (local_fill_in(s->options.scenario->command, s->serial[host], words, sizeof words, e) < 0)
            return -1;
        site_word(c, "sh");
        site_word(c, "-c");
        site_word(c, "exec %s \"$@\"", words);
        site_word(c, "sh");
    } else {
        local_program(s, host, c);
        local_boot_words(s, c);
        site_word(c, "-chardev");
        site_word(c, "file,id=serial,path=%s", s->serial[host]);
        site_word(c, "-serial");
        site_word(c, "chardev:serial");
        site_word(c, "-trace");
        site_word(c, "enable=vmstate_downtime_*");
    }
    local_own_words(s, host, incoming, c);
    return 0;
}

static int local_make_image(const struct site *s, struct err *e)
{
    struct site_command c = {0};
    if (s->options.scenario->guest != SCENARIO_BARE)
        return 0;
    site_word(&c, "%s/bare-guest-patch", s->options.guests);
    site_word(&c, "--working-set");
    site_word(&c, "%llu", (unsigned long long)s->cell.working_set_bytes);
    site_word(&c, "--dirty-rate");
    site_word(&c, "%llu", (unsigned long long)s->cell.dirty_bytes_per_s);
    site_word(&c, "%s/bare-guest.elf", s->options.guests);
    site_word(&c, "%s/bare", s->options.scratch);
    return site_run(s, &c, e);
}

static void local_stop(const struct site *s, int host)
{
    const struct timespec pause = {.tv_nsec = 20 * NS_PER_MS};
    pid_t pid = site_read_pid(s->pid_file[host]);
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

int site_open_local(struct site *s, struct err *e)
{
    for (int host = 0; host < SITE_HOSTS; host++) {
        struct site_command c = {0};
        if (s->options.scenario->guest == SCENARIO_COMMAND)
            continue;
        local_program(s, host, &c);
        site_word(&c, "--version");
        site_ask_version(&c, s->qemu[host]);
        if (s->qemu[host][0] != '\0')
            continue;
        err_set(e, ERR_REFUSED, 0, "%s: not a QEMU that runs here", c.argv[0]);
        return err_hint(e, "name one by qemu-source and qemu-destination, or install "
                           "qemu-system-x86");
    }
    return 0;
}

/* ---- both ---- */

static int pair_start(const struct site *s, int host, bool incoming, struct err *e)
{
    struct site_command c = {0};
    if (!pair_in_lab(s)) {
        if (local_start_words(s, host, incoming, &c, e) < 0)
            return -1;
        return site_run(s, &c, e);
    }
    site_word(&c, "%s/guest", s->options.lab_tools);
    site_word(&c, "start");
    site_word(&c, "%s", site_host_name(host));
    site_word(&c, PAIR_NAME);
    site_word(&c, "%s", s->cell.guest);
    site_guest_words(s, &c);
    if (incoming)
        site_word(&c, "--incoming");
    return site_run(s, &c, e);
}

static void pair_stop(const struct site *s, int host)
{
    struct err e = {0};
    struct site_command c = {0};
    if (!pair_in_lab(s)) {
        local_stop(s, host);
        return;
    }
    site_word(&c, "%s/guest", s->options.lab_tools);
    site_word(&c, "stop");
    site_word(&c, "%s", site_host_name(host));
    site_word(&c, PAIR_NAME);
    site_run_always(&c, &e);
}

static void pair_set_paths(struct site *s)
{
    bool observed = s->options.scenario->guest != SCENARIO_COMMAND ||
                    strstr(s->options.scenario->command, "{serial}") != NULL;
    for (int host = 0; host < SITE_HOSTS; host++) {
        char base[SITE_PATH_MAX - 16];
        if (pair_in_lab(s))
            snprintf(base, sizeof base, "%s/%s/%s", s->lab_state, site_host_name(host), PAIR_NAME);
        else
            snprintf(base, sizeof base, "%s/%s", s->options.scratch, site_host_name(host));
        snprintf(s->qmp[host], SITE_PATH_MAX, "%s.qmp", base);
        snprintf(s->watch_qmp[host], SITE_PATH_MAX, "%s.qmp2", base);
        snprintf(s->serial[host], SITE_PATH_MAX, "%s.console", base);
        snprintf(s->log[host], SITE_PATH_MAX, "%s.log", base);
        snprintf(s->pid_file[host], SITE_PATH_MAX, "%s.pid", base);
        snprintf(s->pattern[host], SITE_PATH_MAX, "%s.qmp2,", base);
        snprintf(s->serial_spec[host], sizeof s->serial_spec[host], "serial:%s", s->serial[host]);
        snprintf(s->endpoint[host], sizeof s->endpoint[host], "qmp+unix:%s", s->qmp[host]);
        snprintf(s->watch_text[host], sizeof s->watch_text[host], "qmp+unix:%s", s->watch_qmp[host]);
        if (!observed)
            s->serial[host][0] = '\0';
    }
}

static int pair_begin(struct site *s, struct err *e)
{
    pair_set_paths(s);
    for (int host = 0; host < SITE_HOSTS; host++)
        pair_stop(s, host);
    if (!pair_in_lab(s) && local_make_image(s, e) < 0)
        return -1;
    return pair_start(s, 0, false, e);
}

static void pair_end(struct site *s)
{
    for (int host = 0; host < SITE_HOSTS; host++)
        pair_stop(s, host);
}

static int pair_ready(struct site *s, const struct scenario_setting *setting, enum trial_route route,
                      struct err *e)
{
    (void)setting;
    (void)route;
    pair_stop(s, 1 - s->at);
    return pair_start(s, 1 - s->at, true, e);
}

static bool pair_runs(const struct site *s, int host)
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

static int pair_arrived(struct site *s, bool *arrived, struct err *e)
{
    int to = 1 - s->at;
    bool here = pair_runs(s, s->at), there = pair_runs(s, to);
    if (here == there)
        return err_set(e, ERR_IO, 0, "the guest runs %s", here ? "on both sides" : "on neither side");
    *arrived = there;
    pair_stop(s, there ? s->at : to);
    return 0;
}

static int pair_command(const struct site *s, const struct scenario_setting *setting,
                        enum trial_route route, struct site_command *c, struct err *e)
{
    int to = 1 - s->at;
    (void)route;
    (void)e;
    if (pair_in_lab(s))
        site_on(s, s->at, c);
    site_word(c, "%s", s->options.godwit);
    site_word(c, "migrate");
    site_word(c, "%s", s->endpoint[s->at]);
    site_word(c, "%s", s->endpoint[to]);
    site_word(c, "--via");
    if (pair_in_lab(s))
        site_word(c, "tcp:%s:%d", site_host_name(to), PAIR_PORT);
    else
        site_word(c, "unix:%s/stream", s->options.scratch);
    site_setting_words(s, setting, c);
    return 0;
}

static void pair_look(const struct site *s, enum trial_side side, struct timeline_side *look)
{
    int host = site_host_of(s, side);
    *look = (struct timeline_side){
        .process_pattern = s->pattern[host],
        .qmp = s->watch_text[host],
        .log_path = s->log[host],
    };
}

const struct site_kind site_pair = {pair_begin,   pair_end,     pair_ready,
                                    pair_arrived, pair_command, pair_look};
