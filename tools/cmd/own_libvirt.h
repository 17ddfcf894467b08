/* SPDX-License-Identifier: Apache-2.0 */
/* The libvirts of this host, which are asked where none was named. */
#ifndef TOOLS_CMD_OWN_LIBVIRT_H
#define TOOLS_CMD_OWN_LIBVIRT_H

#include <stdbool.h>
#include <sys/types.h>

/* The system's: it has a socket where clients look for one. */
bool own_libvirt_has_system(void);
/* This user's own: it has definitions, also while its daemon does not run, which libvirt starts then. */
bool own_libvirt_has_session(void);
/* A daemon of the system's that runs among the same mounts as this process, wherever its socket may be; 0:
 * none is seen. */
pid_t own_libvirt_daemon(void);

#endif
