/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a check has found: a list of findings, each with a verdict, one sentence and the command
 * that fixes it. It is complete: a refusal never hides what comes after it.
 */
#ifndef CORE_CHECK_LIST_H
#define CORE_CHECK_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "core/err.h"

enum check_verdict {
    CHECK_OK,
    CHECK_WARN,    /* it may go on, and an operator should know this */
    CHECK_REFUSE,  /* it must not go on */
    CHECK_SKIPPED, /* could not be looked at; the sentence says why */
};

struct check_finding {
    enum check_verdict verdict;
    char what[80]; /* "disk vda: shared storage" */
    /* Kept texts (core/text.h). */
    const char *sentence; /* one phrase, no full stop, no newline: what was seen, and how */
    const char *fix;      /* a command for the operator's shell; NULL: nothing to fix */
};

struct check_list {
    struct check_finding *at;
    size_t n, room;
    bool lost; /* there was no memory for a finding */
};

/* Adds a finding. Of a long `what` the middle is left out. */
void check_list_add(struct check_list *l, enum check_verdict verdict, const char *what,
                    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Sets the fixing command of the finding that was added last: as text_command() makes it. */
void check_list_fix(struct check_list *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The same with a command that is a kept text already. */
void check_list_fix_by(struct check_list *l, const char *command);

/* How many findings have this verdict. */
size_t check_list_count(const struct check_list *l, enum check_verdict verdict);

/* 0; or -1: ERR_REFUSED with the first refusal's sentence, and its fix as the hint. */
int check_list_verdict(const struct check_list *l, struct err *e);

/* "ok", "warn", "refuse", "skipped". */
const char *check_verdict_name(enum check_verdict verdict);

void check_list_free(struct check_list *l);

#endif
