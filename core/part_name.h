/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands beside an image while it is being written:
 *
 *     dir/vm.img                    the final name
 *     dir/.vm.img.godwit-part       its data
 *     dir/.vm.img.godwit-journal    what of it is durable
 *
 * The names follow from the final name alone, so that a later run finds them again, and two final
 * names in one directory never have the same ones. The last component is at most 255 bytes (what
 * file systems allow): of a longer one the tail of the image's name gives way to a hash of it.
 */
#ifndef CORE_PART_NAME_H
#define CORE_PART_NAME_H

#include <stdbool.h>

enum part_name_use { PART_NAME_DATA, PART_NAME_JOURNAL };

/* `name` is a name in a place (core/store.h). To be freed; NULL: no memory. */
char *part_name_new(const char *name, enum part_name_use use);

/* Whether `name` may be one of these: then it is left out where a directory is copied. */
bool part_name_is(const char *name);

#endif
