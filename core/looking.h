/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which path of this host is being looked at, for whoever has to say what does not answer: on a mount
 * whose server is gone a stat() hangs for ever, and no signal handler runs in it. From any thread; the
 * last one that said something counts.
 */
#ifndef CORE_LOOKING_H
#define CORE_LOOKING_H

enum { LOOKING_TEXT_MAX = 4096 };

void looking_at(const char *path);

/* "": nothing was looked at yet. */
void looking_text(char text[LOOKING_TEXT_MAX]);

#endif
