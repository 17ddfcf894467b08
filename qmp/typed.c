/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator types about a bare QEMU: struct vm_commands. */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "qmp/shell.h"
#include "qmp/vm_qmp.h"

/* socat(1) has a meaning for some characters in a path: a backslash takes it away. */
static const char *typed_socat_address(const struct qmp_endpoint *ep)
{
    char path[2 * sizeof ep->path], *to = path;
    if (ep->scheme == QMP_TCP)
        return text_keep("TCP:%s:%s", text_url_host(ep->host), ep->port);
    for (const char *from = ep->path; *from != '\0'; from++) {
        if (strchr(",:!\"'\\([{", *from) != NULL)
            *to++ = '\\';
        *to++ = *from;
    }
    *to = '\0';
    return text_keep("UNIX-CONNECT:%s", path);
}

/* A command for the operator's shell that has this QEMU do `commands`, where its socket is. */
static const char *typed_command_line(const struct qmp_endpoint *ep, const char *commands)
{
    struct shell shell;
    const char *there = text_command("socat -t5 - %s", typed_socat_address(ep));
    const char *whole = text_keep("%s | %s", commands, there);
    if (ep->scheme == QMP_TCP)
        return whole;
    shell_of_endpoint(ep, &shell);
    return shell_command(&shell, whole);
}

#define TYPED_RECOVER "printf '%%s\\n' '{\"execute\":\"qmp_capabilities\"}' %s"

/* Postcopy that has lost its connection, by hand, where the stream went before. */
const char *vm_qmp_recover_command(const struct vm_qmp *q, const char *uri)
{
    if (q->ep.scheme == QMP_CARRIED || strpbrk(uri, "\"\\") != NULL) /* JSON's own */
        return NULL;
    const char *json = text_keep(
        q->armed ? "{\"execute\":\"migrate-recover\",\"arguments\":{\"uri\":\"%s\"}}"
                 : "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"%s\",\"resume\":true}}",
        uri);
    return typed_command_line(&q->ep, text_command(TYPED_RECOVER, json));
}

#define SAY(...) "printf '%s\\n' '{\"execute\":\"qmp_capabilities\"}' " __VA_ARGS__
#define DO(command) "'{\"execute\":\"" command "\"}'"

void vm_qmp_set_commands(struct vm_qmp *q)
{
    struct vm_commands *h = &q->vm.commands;
    h->look = typed_command_line(&q->ep, SAY(DO("query-status")));
    h->end = typed_command_line(&q->ep, SAY(DO("quit")));
    h->stop = typed_command_line(&q->ep, SAY(DO("stop")));
    /* at its gate QEMU refuses cont before the migration is cancelled, which takes a moment */
    h->go_on = typed_command_line(
        &q->ep, q->gated ? "{ " SAY(DO("migrate_cancel")) "; sleep 2; echo " DO("cont") "; }"
                         : SAY(DO("cont")));
}
