/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles of `godwit migrate` and `godwit predict`: how a kind of guest is best moved, kept in a file. One
 * "key = value" a line (core/key_lines.h):
 *
 *   version = 1                   the first of them
 *   KEY = VALUE                   an option that says how a migration is done (multifd, max-downtime, …), with its
 *                                 value; a unit is never left out. An option without a value is on or off
 *   set NAME = VALUE              a capability or parameter by QEMU's own name
 *
 * What the command line says wins: over the same key, and over one that cannot go with it.
 */
#ifndef TOOLS_CMD_PROFILE_H
#define TOOLS_CMD_PROFILE_H

#include "core/err.h"
#include "tools/cmd/migrate_request.h"

enum { PROFILE_VERSION = 1 };

/* Where a profile is: with a '/' in it `name` is a file; else it is looked for in $XDG_CONFIG_HOME/godwit/profiles.d
 * (without it ~/.config) and then in /etc/godwit/profiles.d. Kept text. NULL: ERR_USAGE, there is none. */
const char *profile_find(const char *name, struct err *e);

/* Adds what the text says to those options that the command line has left open. ERR_USAGE: "FILE:LINE: …". */
int profile_apply(const char *text, const char *file, struct migrate_options *o, struct err *e);

#endif
