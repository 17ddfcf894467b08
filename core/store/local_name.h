/* SPDX-License-Identifier: Apache-2.0 */
/* Names of a local place: where they lead, and what is there. */
#ifndef CORE_STORE_LOCAL_NAME_H
#define CORE_STORE_LOCAL_NAME_H

#include <sys/stat.h>

#include "core/store/store.h"

/*
 * Opens the directory `name`, "" being dir_fd itself, to be read, listed and synced. The way there
 * must not leave dir_fd: a symbolic link that does, or an absolute name, is EXDEV (ELOOP before
 * Linux 5.6, where no link is followed at all). -1 with errno.
 */
int local_name_directory(int dir_fd, const char *name);

/* The same for the directory that the last part of `name` is in; *last points to that part. */
int local_name_parent(int dir_fd, const char *name, const char **last);

/* What `name` is, "" being dir_fd itself, with the size of a block device, too; `flags`:
 * AT_SYMLINK_NOFOLLOW or 0. 0, or -1 with errno. */
int local_name_attr(int dir_fd, const char *name, int flags, struct store_attr *attr);

/* The same of an open file. */
int local_name_attr_of(int fd, struct store_attr *attr);

/* 1: `name` is this very file now; 0: it is another, or none; -1 with errno. */
int local_name_is(int dir_fd, const char *name, const struct store_attr *is);

#endif
