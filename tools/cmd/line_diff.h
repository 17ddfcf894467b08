/* SPDX-License-Identifier: Apache-2.0 */
/* Two texts side by side, as diff -u shows them. */
#ifndef TOOLS_CMD_LINE_DIFF_H
#define TOOLS_CMD_LINE_DIFF_H

#include <stdio.h>

/*
 * Writes the unified diff of two texts, with three lines around each change and `name` in its head;
 * nothing when they are equal. The shortest one, but for texts that differ in thousands of lines.
 */
void line_diff(const char *name, const char *before, const char *after, FILE *to);

#endif
