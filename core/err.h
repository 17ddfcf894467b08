/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error object.
 *
 * It belongs to the caller, needs no heap, and is the last parameter:
 *
 *     struct err e = {0};
 *     if (client_open(&c, ep, &e) < 0)
 *             return err_wrap(&e, "destination");
 *
 * Rules
 *  - A function that takes a `struct err *` returns 0 (or a handle) and leaves it alone, or returns
 *    -1 (or NULL) and has set it. Never both, never neither. The pointer is never NULL.
 *  - It is set once, where the fault was found; module borders may wrap it with what was tried.
 *    Setting one that is set already, or wrapping one that is not, is our bug: built with
 *    ERR_STRICT (as every build with a sanitizer is) it aborts, else the first error stays.
 *  - `msg` is one phrase that names the thing: no newline, no full stop. Its end, the reason, is
 *    never cut: where it is too long, paths lose their middle (core/text.h).
 *  - `hint` says what the operator can do about it. It is never cut, however long.
 *  - Only tools/ prints, and only once, with err_print().
 *
 * Wrong:  err_set(e, ERR_IO, errno, "read failed\n");        names nothing, ends in a newline
 * Right:  err_set(e, ERR_IO, errno, "%s: cannot read at %" PRIu64, path, offset);
 */
#ifndef CORE_ERR_H
#define CORE_ERR_H

#include <stdio.h>

enum err_class {
    ERR_NONE = 0,
    ERR_USAGE,     /* the command line cannot be understood; nothing was touched */
    ERR_REFUSED,   /* understood, and a check says no; nothing was touched */
    ERR_IO,        /* disk, file or socket; `sys` tells */
    ERR_PROTO,     /* a peer said something that its protocol forbids */
    ERR_QMP,       /* QEMU answered a command with an error */
    ERR_VIRT,      /* libvirt did; `sys`: ENOENT, there is no such object; ECANCELED, aborted */
    ERR_NFS,       /* the NFS server answered with an error; `sys` is the nearest errno */
    ERR_TIMEOUT,   /* a deadline passed */
    ERR_CANCELLED, /* the operator asked to stop */
    ERR_LOST,      /* the peer went away: closed, reset, refused, died */
    ERR_UNCERTAIN, /* it is not known where the guest runs: a person must look */
};

struct err {
    enum err_class class;
    int sys; /* errno, or 0 where none applies */
    char msg[1024];
    const char *hint; /* kept text (core/text.h): copies of the error share it; NULL: none */
};

/* Sets *e; always -1, so that `return err_set(…)` reads as what it does. A non-zero `sys` adds
 * ": <strerror>" to the message. */
int err_set(struct err *e, enum err_class class, int sys, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "<what>: " before the message of an error that is set; always -1. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Sets the hint of an error that is set; always -1. The last hint wins. */
int err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * For where the operator has asked to stop meanwhile: an error that this may have caused, since it cuts
 * waits short and interrupts calls (ERR_TIMEOUT, ERR_LOST, EINTR, ECANCELED), becomes ERR_CANCELLED, with
 * what it says and its hint. What was found out all the same stays, and ERR_UNCERTAIN does. Always -1.
 */
int err_stopped(struct err *e);

/* Makes *e unset again, for a caller that has dealt with it. */
void err_clear(struct err *e);

/* "refused", "timeout", … : the word that --json and logs use for a class. */
const char *err_class_name(enum err_class class);

/* "PROGRAM: error: MSG\n" and, where there is one, "PROGRAM: hint: HINT\n". */
void err_print(const struct err *e, const char *program, FILE *to);

#endif
