/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirt's ssh is a child of godwit's, and of its process group: Ctrl-C on a terminal ends it, too. Then the
 * connection to the destination is lost just when it is needed to clean up there, libvirt's own migration fails of it
 * rather than being cancelled, and a libvirtd before 10.5 may crash (qmp/virt/host.c). libvirt resets all signals in
 * the child, and a group of its own would keep ssh from asking for a passphrase: so between the two stands this
 * program, which has the signals ignored. ssh leaves ignored what was (clientloop.c: "but don't overwrite SIG_IGN").
 */
#include "qmp/virt/ssh.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool ssh_is_of_libvirt(const char *uri)
{
    const char *scheme_end = strstr(uri, "://");
    static const char ending[] = "+ssh";
    size_t n = sizeof ending - 1;
    return scheme_end != NULL && scheme_end - uri >= (ptrdiff_t)n &&
           strncmp(scheme_end - n, ending, n) == 0 && strstr(uri, "?command=") == NULL &&
           strstr(uri, "&command=") == NULL && strchr(uri, '#') == NULL;
}

char *virt_ssh_uri(const char *uri)
{
    char *own;
    if (!ssh_is_of_libvirt(uri) || access(VIRT_SSH_SELF, X_OK) < 0)
        return strdup(uri);
    return asprintf(&own, "%s%scommand=" VIRT_SSH_SELF, uri, strchr(uri, '?') != NULL ? "&" : "?") <
                   0
               ? NULL
               : own;
}

int virt_ssh_main(char **argv)
{
    static const int of_a_terminal[] = {SIGINT, SIGQUIT, SIGHUP};
    for (size_t i = 0; i < sizeof of_a_terminal / sizeof *of_a_terminal; i++)
        signal(of_a_terminal[i], SIG_IGN);
    argv[0] = (char[]){"ssh"};
    execvp("ssh", argv);
    fprintf(stderr, "cannot start ssh: %s\n", strerror(errno));
    return 127;
}
