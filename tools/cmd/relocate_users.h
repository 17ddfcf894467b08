/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the images that are to be relocated are in use. */
#ifndef TOOLS_CMD_RELOCATE_USERS_H
#define TOOLS_CMD_RELOCATE_USERS_H

#include "tools/cmd/relocate_call.h"

/*
 * ERR_REFUSED: a domain that runs uses an image of the plan, or a process has one open for writing,
 * by whatever name; or, with --move, a process has one open at all, or cannot be asked
 * (core/relocate/open_files.h says whom that is about), or a domain, snapshot or image that could reach
 * it would find nothing there then. Asked are the libvirts that were named with --connect, of which each has to
 * answer, or else this host's own: the system's, this user's session, and what LIBVIRT_DEFAULT_URI
 * names. Where one that is there does not answer, a daemon runs that has its socket elsewhere,
 * or an image's chain cannot be read, --move is refused, too. --force says that it may go on without
 * knowing: then only what runs, or can write, is in the way.
 */
int relocate_check_users(struct relocate_call *c, struct err *e);

/*
 * The may_remove of struct relocate_options, arg the call, after relocate_check_users(): the same question
 * about one image, right before --move removes it, since a copy takes its time, in which domains are
 * started. What libvirt has said of all images of the plan counts for a second, or for as long as it takes
 * to say it; the kernel is asked each time. For several threads at once.
 */
int relocate_may_remove(void *arg, const struct relocate_image *image,
                        const struct store_attr *attr, struct err *e);

void relocate_users_free(struct relocate_users *u); /* NULL is fine */

#endif
