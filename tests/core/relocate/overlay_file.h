/* SPDX-License-Identifier: Apache-2.0 */
/* A qcow2 image that is based on another, as far as its header. */
#ifndef TESTS_CORE_RELOCATE_OVERLAY_FILE_H
#define TESTS_CORE_RELOCATE_OVERLAY_FILE_H

/* Writes the image `name` in directory `dir`; version 2, its backing name as given, "": none. Fails the
 * test where it cannot. */
void overlay_file_write(const char *dir, const char *name, const char *backing);

#endif
