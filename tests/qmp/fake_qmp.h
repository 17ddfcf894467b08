/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A QMP server that follows a script, in a thread of its own. Each command that it gets is checked
 * against a recorded schema, and so is each answer that it is told to give; what does not fit ends
 * the conversation and fails the test in fake_qmp_end().
 */
#ifndef TESTS_QMP_FAKE_QMP_H
#define TESTS_QMP_FAKE_QMP_H

#include <stddef.h>

enum fake_do {
    FAKE_ACCEPT,      /* takes a connection, greets, serves qmp_capabilities */
    FAKE_ACCEPT_DUMB, /* takes a connection and says nothing */
    FAKE_REPLY,       /* expects `command` [with `arguments`], answers `text`, JSON; NULL: {} */
    FAKE_ERROR,       /* expects …, answers an error with the description `text` */
    FAKE_LOOSE,       /* like FAKE_REPLY, for an answer that no QEMU gives: it is not checked */
    FAKE_HOLD,        /* expects …, and keeps it: held commands are numbered from 0 */
    FAKE_ANSWER,      /* answers held command number `n` with `text` */
    FAKE_EVENT,       /* says event `command` with data `text` (NULL: none) */
    FAKE_RAW,         /* sends `text` as it is, `n` times (0: once) */
    FAKE_BYTES,       /* from here on everything goes out in single bytes */
    FAKE_WAIT,        /* `n` milliseconds */
    FAKE_CLOSE,       /* closes the connection */
    FAKE_EXPECT_END,  /* waits until the client has closed it */
    FAKE_UNLISTEN,    /* closes the listening socket, and removes its path */
};

struct fake_step {
    enum fake_do what;
    const char *command;
    const char *text;
    const char *arguments; /* JSON that they must equal; NULL: whatever the schema allows */
    int n;
};

struct fake_qmp;

enum fake_transport { FAKE_UNIX, FAKE_TCP };

/* `version`: "7.2" or "10.0", of the recorded schema. The steps stay the caller's. */
struct fake_qmp *fake_qmp_start(const char *version, enum fake_transport transport,
                                const struct fake_step *steps, size_t count);
#define FAKE_QMP(version, steps) \
    fake_qmp_start(version, FAKE_UNIX, steps, sizeof(steps) / sizeof *(steps))

/* "qmp+unix:…" or "qmp+tcp:…" */
const char *fake_qmp_endpoint(const struct fake_qmp *f);
const char *fake_qmp_path(const struct fake_qmp *f);

/* Waits for the script to end. Fails the test if it was not followed to its end. */
void fake_qmp_end(struct fake_qmp *f);

/* The same, and gives the fault instead of failing: "" if there was none. */
void fake_qmp_end_fault(struct fake_qmp *f, char *fault, size_t size);

#endif
