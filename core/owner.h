/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process something belongs to that is found in a directory, and whether that one still runs.
 *
 * A process is its number, when it started, the space that the number counts in (its PID namespace),
 * and the boot of its kernel. Of one in another space, or on another host, nothing can be found out
 * here, and not to know is no reason to call it dead.
 */
#ifndef CORE_OWNER_H
#define CORE_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"

enum { OWNER_BOOT_ID_BYTES = 16, OWNER_HOST_BYTES = 64, OWNER_TEXT_MAX = 72 };

struct owner {
    uint32_t pid;       /* 0: nobody */
    uint32_t pid_space; /* inode of its PID namespace; 0: not known */
    uint64_t start_ticks;
    uint64_t machine; /* a hash of /etc/machine-id; 0: not known */
    uint8_t boot_id[OWNER_BOOT_ID_BYTES];
    char host[OWNER_HOST_BYTES + 1];
};

enum owner_state {
    OWNER_SELF,
    OWNER_ALIVE,
    OWNER_DEAD, /* known: the kernel that it ran on says so, or was started anew since; or nobody */
    OWNER_UNKNOWN,
};

/* This process. -1 (ERR_IO): the kernel does not tell who we are. */
int owner_self(struct owner *o, struct err *e);

enum owner_state owner_state(const struct owner *o);

/* The same as the end of a file's name, with hashes for what is long: hexadecimal digits and dashes. */
void owner_text(const struct owner *o, char text[OWNER_TEXT_MAX]);

/* Of such a text; *pid, for a message. What is no such text is OWNER_UNKNOWN, with *pid 0. */
enum owner_state owner_text_state(const char *text, uint32_t *pid);

#endif
