/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * One short script for sh does the looking, here and over ssh, and says what it sees as words on one
 * line: the boot, the PID namespace, pid, state and start time. "gone" is said only by a script that
 * could see its own entry in /proc, so that an answer that has been cut, or comes from a machine
 * without /proc, is none; and it counts only from the PID namespace in which the process was found.
 *
 * Which process it is follows from two things that no other has: the socket at the other end of our
 * connection, and the thread that QEMU has named. Neither alone would do. A thread's number is another's
 * outside of a container, so it is compared with the last of NSpid, its number where it is itself; a
 * socket's owner may be a proxy. The socket is known here by SO_PEERCRED or, of TCP, by its inode; over ssh by
 * its path in /proc/net/unix, which an accepted socket has from the listening one, in the network
 * namespace of the one that connects (sshd). Such a path is as QEMU has bound it, in its own
 * root and directory: there it has to lead to the file that we connect to.
 * Source: Linux 6.1, net/unix/af_unix.c, unix_stream_connect(); fs/proc/array.c, task_state().
 */
#include "qmp/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/text.h"

#define PROCESS_LOOK_NS (5 * NS_PER_S)

struct process_words {
    char boot[40], space[40];
    int64_t pid; /* 0: it is gone */
    char state;
    uint64_t start_ticks;
};

/* The name in parentheses may hold anything: the fields begin after the last of them. */
#define PROCESS_SAY                                                            \
    "[ -r /proc/self/stat ] && read -r b </proc/sys/kernel/random/boot_id && " \
    "n=$(readlink /proc/self/ns/pid) && [ -n \"$n\" ] || exit 9\n"             \
    "say() { set -- $1 $(sed 's/.*) //' /proc/$1/stat 2>/dev/null)\n"          \
    "[ -n \"$2\" ] && echo \"$b $n $1 $2 ${21}\"; }\n"

#define PROCESS_LOOK \
    PROCESS_SAY "[ -e /proc/%" PRIi64 " ] || { echo \"$b $n 0 - 0\"; exit 0; }\nsay %" PRIi64

/* has PID: it has the thread. owners INODE: whose the socket is. */
#define PROCESS_FIND                                                                          \
    PROCESS_SAY                                                                               \
    "has() { grep -qs '^NSpid:.*[[:blank:]]%" PRIi64 "$' /proc/$1/task/*/status; }\n"         \
    "owners() { ls -l /proc/[0-9]*/fd 2>/dev/null | sed -n -e '/^\\/proc\\/[0-9]*\\/fd:$/h' " \
    "-e \"/ -> socket:\\[$1\\]\\$/{g;s/[^0-9]//gp}\" | sort -u; }\n"

#define PROCESS_FIND_PID PROCESS_FIND "has %" PRIi64 " && say %" PRIi64
#define PROCESS_FIND_INODE PROCESS_FIND "for p in $(owners %" PRIu64 "); do has $p && say $p; done"

/* Of a connected socket (03) the inode and the path, whose last part is the file's name or was bound by another
 * name of the same file: that is compared. */
#define PROCESS_FIND_PATH                                                                  \
    PROCESS_FIND                                                                           \
    "f=%s\n"                                                                               \
    "sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* [^ ]* 03 *\\([0-9]*\\) /\\1 /p' /proc/net/unix | " \
    "grep -F -e \"${f##*/}\" | while read -r i q; do for p in $(owners $i); do\n"          \
    "case $q in /*) r=/proc/$p/root$q ;; *) r=/proc/$p/cwd/$q ;; esac\n"                   \
    "[ \"$r\" -ef \"$f\" ] && has $p && say $p\ndone; done | sort -u"

static bool process_scan(const char *said, struct process_words *w)
{
    return sscanf(said, "%39s %39s %" SCNi64 " %c %" SCNu64, w->boot, w->space, &w->pid, &w->state,
                  &w->start_ticks) == 5;
}

/* -1: nobody could look, or there is not one answer. */
static int process_ask(struct shell *s, const char *script, struct process_words *w)
{
    char said[1024];
    struct err e = {0};
    int status = shell_run(s, script, said, sizeof said, PROCESS_LOOK_NS, &e);
    if (status >= 0 && status != 9 && strchr(said, '\n') == NULL && process_scan(said, w))
        return 0;
    log_debug("process: %s", status < 0 ? e.msg : said);
    return -1;
}

/* Who has the other end of the link, and the thread. -1: not known. */
static int process_identify(struct shell *s, const struct qmp_endpoint *ep,
                            const struct qmp_link *l, int64_t thread, struct process_words *w)
{
    char script[2048];
    int64_t pid = qmp_link_peer_pid(l);
    uint64_t inode = qmp_link_peer_inode(l);
    if (thread <= 0 || s->kind == SHELL_NONE)
        return -1;
    if (pid > 0) {
        snprintf(script, sizeof script, PROCESS_FIND_PID, thread, pid, pid);
        if (process_ask(s, script, w) == 0)
            return 0; /* else that one only listens for it */
    }
    if (inode > 0)
        snprintf(script, sizeof script, PROCESS_FIND_INODE, thread, inode);
    else if (ep->path[0] != '\0')
        snprintf(script, sizeof script, PROCESS_FIND_PATH, thread, text_shell_word(ep->path));
    else
        return -1;
    return process_ask(s, script, w);
}

void qmp_process_find(struct qmp_process *p, const struct qmp_endpoint *ep,
                      const struct qmp_link *l, int64_t thread)
{
    struct process_words w;
    qmp_process_close(p);
    *p = (struct qmp_process){0};
    shell_of_endpoint(ep, &p->shell);
    if (ep->scheme == QMP_TCP && qmp_link_peer_inode(l) > 0)
        p->shell.kind = SHELL_LOCAL;
    if (ep->scheme == QMP_CARRIED) /* who carries tells */
        return;
    if (process_identify(&p->shell, ep, l, thread, &w) < 0) {
        log_info(
            "%s: its process is not known, so godwit cannot prove that it ended: nobody who can be looked "
            "at has both its socket and its vCPU's thread (is there a proxy, or a user who must not see it?)",
            ep->text);
        return;
    }
    p->pid = w.pid;
    p->start_ticks = w.start_ticks;
    memcpy(p->boot, w.boot, sizeof p->boot);
    memcpy(p->space, w.space, sizeof p->space);
    log_debug("%s: process %" PRIi64 ", begun at tick %" PRIu64, ep->text, p->pid, p->start_ticks);
}

int qmp_process_answers(struct qmp_process *p, const struct qmp_endpoint *ep,
                        const struct qmp_link *l, int64_t thread)
{
    struct process_words w;
    if (process_identify(&p->shell, ep, l, thread, &w) < 0)
        return -1;
    return w.pid == p->pid && w.start_ticks == p->start_ticks && strcmp(w.boot, p->boot) == 0 &&
           strcmp(w.space, p->space) == 0;
}

enum vm_death qmp_process_look(struct qmp_process *p)
{
    struct process_words w;
    char script[1024];
    snprintf(script, sizeof script, PROCESS_LOOK, p->pid, p->pid);
    if (p->pid == 0 || process_ask(&p->shell, script, &w) < 0)
        return VM_DEATH_NO_ANSWER;
    if (strcmp(w.boot, p->boot) != 0)
        return VM_DEATH_REBOOTED;
    if (strcmp(w.space, p->space) != 0) /* the same number is another process's there */
        return VM_DEATH_NO_ANSWER;
    bool same = w.pid == p->pid && w.start_ticks == p->start_ticks;
    return same && w.state != 'Z' && w.state != 'X' ? VM_DEATH_LIVES : VM_DEATH_PROCESS_GONE;
}

void qmp_process_close(struct qmp_process *p)
{
    shell_close(&p->shell);
    p->pid = 0;
}
