/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands beside an image while it is being written:
 *
 *     dir/vm.img                    the final name
 *     dir/.vm.img.godwit-part       its data
 *     dir/.vm.img.godwit-journal    what of it is durable, and whose the part is
 *     dir/.vm.img.godwit-part-OWNER, -journal-OWNER    of one process alone (core/owner.h): a part
 *                                   that has no journal, and a journal that is being made
 *     dir/.sub.godwit-directory     that we have made the directory dir/sub, and which it is
 *
 * The names follow from the final name alone, so that a later run finds them again, and two final
 * names in one directory never have the same ones. The last component is at most 255 bytes (what
 * file systems allow): of a longer one the tail of the image's name gives way to a hash of it.
 */
#ifndef CORE_RELOCATE_PART_NAME_H
#define CORE_RELOCATE_PART_NAME_H

#include <stdbool.h>

enum part_name_use { PART_NAME_DATA, PART_NAME_JOURNAL, PART_NAME_DIRECTORY };

/* `name` is a name in a place (core/store/store.h). To be freed; NULL: no memory. */
char *part_name_new(const char *name, enum part_name_use use);

/* The one of the process that `owner` (owner_text()) tells: part_name_new(), a dash, and that. */
char *part_name_owned(const char *name, enum part_name_use use, const char *owner);

/* The owner in `name`, if it is `plain` (of part_name_new()) with one; else NULL. */
const char *part_name_owner(const char *name, const char *plain);

/* Whether `name` may be one of these: then it is left out where a directory is copied. */
bool part_name_is(const char *name);

#endif
