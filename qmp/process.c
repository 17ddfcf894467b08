/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One short script for sh does the looking, here and over ssh, and says what it sees as words on one
 * line: the boot, pid, state and start time, and the program. "gone" is said only by a script that
 * could see its own entry in /proc, so that an answer that has been cut, or comes from a machine
 * without /proc, is none.
 */
#include "qmp/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"

#define PROCESS_LOOK_NS (5 * NS_PER_S)

struct process_words {
    char boot[40], program[64];
    int64_t pid; /* 0: it is gone */
    char state;
    uint64_t start_ticks;
};

/* The name in parentheses may hold anything: the fields begin after the last of them. */
#define PROCESS_SCRIPT                                                                       \
    "t=%" PRIi64                                                                             \
    "; [ -r /proc/self/stat ] && read -r b </proc/sys/kernel/random/boot_id || exit 9\n"     \
    "p=$(sed -n 's/^Tgid:[^0-9]*//p' /proc/$t/status 2>/dev/null)\n"                         \
    "if [ -z \"$p\" ]; then [ -e /proc/$t ] && exit 9; echo \"$b 0 - 0 gone\"; exit 0; fi\n" \
    "x=$(readlink /proc/$p/exe) || read -r x </proc/$p/comm\n"                               \
    "set -- $(sed 's/.*) //' /proc/$p/stat 2>/dev/null)\n"                                   \
    "[ -n \"$1\" ] && echo \"$b $p $1 ${20} ${x##*/}\""

/* -1: nobody could look. */
static int process_ask(struct qmp_process *p, int64_t thread, struct process_words *w)
{
    char script[700], said[512];
    struct err e = {0};
    snprintf(script, sizeof script, PROCESS_SCRIPT, thread);
    int status = shell_run(&p->shell, script, said, sizeof said, PROCESS_LOOK_NS, &e);
    if (status == 0 && sscanf(said, "%39s %" SCNi64 " %c %" SCNu64 " %63s", w->boot, &w->pid,
                              &w->state, &w->start_ticks, w->program) == 5)
        return 0;
    log_debug("process %" PRIi64 ": %s", thread, status < 0 ? e.msg : said);
    return -1;
}

void qmp_process_find(struct qmp_process *p, const struct qmp_endpoint *ep, int64_t thread)
{
    struct process_words w;
    qmp_process_close(p);
    *p = (struct qmp_process){0};
    shell_of_endpoint(ep, &p->shell);
    if (p->shell.kind == SHELL_NONE)
        return;
    if (thread <= 0 || process_ask(p, thread, &w) < 0 || w.pid == 0 ||
        (strncmp(w.program, "qemu", 4) != 0 && strcmp(w.program, "kvm") != 0)) {
        log_info("%s: its process is not known, so godwit cannot prove that it ended", ep->text);
        return;
    }
    p->pid = w.pid;
    p->start_ticks = w.start_ticks;
    memcpy(p->boot, w.boot, sizeof p->boot);
    log_debug("%s: process %" PRIi64 ", begun at tick %" PRIu64, ep->text, p->pid, p->start_ticks);
}

enum vm_death qmp_process_look(struct qmp_process *p)
{
    struct process_words w;
    if (p->pid == 0 || process_ask(p, p->pid, &w) < 0)
        return VM_DEATH_NO_ANSWER;
    if (strcmp(w.boot, p->boot) != 0)
        return VM_DEATH_REBOOTED;
    bool same = w.pid == p->pid && w.start_ticks == p->start_ticks;
    return same && w.state != 'Z' && w.state != 'X' ? VM_DEATH_LIVES : VM_DEATH_PROCESS_GONE;
}

void qmp_process_close(struct qmp_process *p)
{
    shell_close(&p->shell);
    p->pid = 0;
}
