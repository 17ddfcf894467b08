/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ssh that libvirt starts for a qemu+ssh connection, kept from the terminal's Ctrl-C, which is for godwit.
 */
#ifndef QMP_VIRT_SSH_H
#define QMP_VIRT_SSH_H

/* What the program is called by when libvirt starts it in ssh's place: the name of itself that libvirt is given, and
 * nobody else uses. By /proc/self/exe the guard and the benchmarks start it as itself. */
#define VIRT_SSH_SELF "/proc/thread-self/exe"

/*
 * The URI by which libvirt starts this program, as VIRT_SSH_SELF, in ssh's place: to be freed. A URI that is not of
 * ssh, or names a command of its own, comes back as it is. NULL: no memory.
 */
char *virt_ssh_uri(const char *uri);

/* What the program does when it is called by that name: it becomes ssh, which ignores what a terminal sends. Returns
 * an exit code where that fails. */
int virt_ssh_main(char **argv);

#endif
