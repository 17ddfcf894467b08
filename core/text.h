/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for people: whole where it must be whole, shortened where that does no harm.
 *
 * A command that an operator should type is kept whole, however long its names and URIs are: half of
 * one would be worse than none. A message may be shortened, but only inside of long words (paths,
 * URIs), never at its end, where the reason is.
 */
#ifndef CORE_TEXT_H
#define CORE_TEXT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* The text, whole, for as long as the process lives: for what is said rarely and handed around (a
 * hint, a command, a reason). The same text is kept once. Never NULL: without memory it is a text
 * that says so. From any thread. */
const char *text_keep(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *text_keep_v(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Like text_keep_v(), on one line. */
const char *text_keep_line_v(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* Control characters become spaces: what a program said, or a user named, stays one line. */
void text_one_line(char *text);

/* What a program (ssh, above all) said in several lines before it failed, as the line that tells why:
 * without banners, frames and warnings the last one; where a host's key is the matter, that line, too,
 * and the file to look at. Kept. "" where nothing is left. */
const char *text_why(const char *said);

/* One word of a POSIX shell's command line, kept: as it is where that is safe, else in quotes. */
const char *text_shell_word(const char *word);

/* A host as it stands in a URL, and for mount and exportfs, kept: an IPv6 address in brackets. */
const char *text_url_host(const char *host);

/* A command for the operator's shell, kept and on one line. The format is the shell's own text; each
 * %s in it is put in as one word of the shell's. Besides it only %u, %d, %lu, %llu and %%. */
const char *text_command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
const char *text_command_v(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* To `to` as text of XML or HTML, also within quotes; as libvirt's virBufferEscapeString() does it. */
void text_put_escaped(FILE *to, const char *text);

/* Copies `text` into `to`, which has `room` bytes. Where it does not fit, its longest words lose
 * their middle ("/srv/very…/disk.img") until it does; then the whole text does. Beginning and end
 * stay, and so does valid UTF-8. */
void text_fit(char *to, size_t room, const char *text);

#endif
