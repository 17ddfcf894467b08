/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shell on a host, for what libvirt does not tell: its clock, its mounts, its sockets. There is
 * one on this machine, and on hosts that libvirt, or QMP, reaches by ssh. Inside qmp/ only.
 */
#ifndef QMP_SHELL_H
#define QMP_SHELL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/err.h"
#include "qmp/endpoint.h"

enum shell_kind {
    SHELL_NONE, /* reached in another way, TLS for example: no shell there */
    SHELL_LOCAL,
    SHELL_SSH,
};

struct shell {
    enum shell_kind kind;
    char login[320]; /* of ssh: "[user@]host" */
    char host[256];  /* of any URI that names one, else "" */
    char port[8];    /* of ssh; "" where none was given */
    char keyfile[256];
    pid_t child; /* the shell, once a command was run; 0: none */
    int in, out; /* of it */
};

/* Of a bare QEMU's endpoint: there is a shell for a unix socket here, and behind ssh. End with
 * shell_close(). A libvirt's is made by virt_host_shell(). */
void shell_of_endpoint(const struct qmp_endpoint *ep, struct shell *s);

/* Starts the shell before its first command, which then need not wait for ssh to connect. What fails is reported by
 * that command. */
void shell_begin(struct shell *s);

/* Ends the shell, if there is one. The next command would start another. */
void shell_close(struct shell *s);

/*
 * Runs `script` by sh there, which is started at the first command and kept for the next. Returns
 * its exit status, and what it said (both streams) in `out`, cut at its end and without the last
 * newline. -1: ERR_LOST, there is no way to run it (ssh asks, or cannot connect), with ssh's words;
 * ERR_TIMEOUT.
 */
int shell_run(struct shell *s, const char *script, char *out, size_t room, int64_t timeout_ns,
              struct err *e);

/* "COMMAND" here or "ssh root@b 'COMMAND'": what an operator types to have it run there. A kept text
 * (core/text.h), or `command` itself. */
const char *shell_command(const struct shell *s, const char *command);

#endif
