/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QMP client: one connection to one QEMU, in a loop.
 *
 * Inside qmp/ only: json_object never leaves this folder (see qmp/command.h for the typed layer).
 *
 * Every reply callback runs exactly once: with the reply, with QEMU's error (ERR_QMP, QEMU's own
 * words), when its time is over (ERR_TIMEOUT), when the connection is lost (ERR_LOST) or when the
 * client is closed (ERR_CANCELLED); and never from within qmp_client_send(). Callbacks may send,
 * but must not close the client or turn the loop.
 *
 * Wire format: QEMU, docs/interop/qmp-spec.
 */
#ifndef QMP_CLIENT_H
#define QMP_CLIENT_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/err.h"
#include "core/loop.h"
#include "qmp/endpoint.h"
#include "qmp/link.h"

struct qmp_client;

/* In what is sent to who carries QMP: it may be carried out at the same time as others that have this, too. */
#define QMP_TOGETHER "together"

enum { QMP_CALLS_MAX = 4 };

/* `result` is lent, and NULL on failure, when `e` tells why; else `e` is unset. */
typedef void qmp_reply_fn(void *arg, struct json_object *result, const struct err *e);

/* An event, or name == NULL: the connection was lost. `data` is lent and may be NULL. */
typedef void qmp_event_fn(void *arg, const char *name, struct json_object *data);

/*
 * Connects, reads the greeting and leaves negotiation mode. ERR_LOST when nobody is there (see
 * qmp/link.h) or the stream ends before a greeting; ERR_REFUSED when it is not QMP; ERR_TIMEOUT
 * when it says nothing in time; ERR_CANCELLED if `interruptible`, as in loop_spin(), once
 * connected.
 */
struct qmp_client *qmp_client_open(struct loop *loop, const struct qmp_endpoint *ep,
                                   int64_t timeout_ns, bool interruptible, qmp_event_fn *on_event,
                                   void *arg, struct err *e);

/* The pending callbacks run from here, with ERR_CANCELLED. NULL is fine. */
void qmp_client_close(struct qmp_client *c);

/* Takes `args`, which may be NULL. */
void qmp_client_send(struct qmp_client *c, const char *command, struct json_object *args,
                     int64_t timeout_ns, qmp_reply_fn *fn, void *arg);

/*
 * Sends, and turns the loop until the answer is there. Takes `args`. If `result` is not NULL it is
 * given there (json_object_put() it). `interruptible`: as in loop_spin().
 */
int qmp_client_call(struct qmp_client *c, const char *command, struct json_object *args,
                    int64_t timeout_ns, bool interruptible, struct json_object **result,
                    struct err *e);

/* Where what this QEMU has is kept, for qmp_query_schema(): NULL, it was not asked for yet. Freed with the client. */
struct qmp_schema;
struct qmp_schema **qmp_client_schema(struct qmp_client *c);

/* Within the event callback: QEMU's own time stamp of that event, CLOCK_REALTIME; 0: it has none. */
int64_t qmp_client_event_epoch_ns(const struct qmp_client *c);

/*
 * Several calls that need neither each other nor any order: all are sent before the first answer is waited for, and who
 * carries QMP may have them carried out at the same time. Takes all `args`; each result is given in its
 * `result` (json_object_put() it), none on failure, when *e is of the first that failed, in their order.
 */
struct qmp_call {
    const char *command;
    struct json_object *args, *result;
};
int qmp_client_calls(struct qmp_client *c, struct qmp_call *calls, size_t n, int64_t timeout_ns,
                     bool interruptible, struct err *e);

bool qmp_client_lost(const struct qmp_client *c);

/* Of a lost one: whether QEMU itself has ended the stream, so that all it had said has come here.
 * Over ssh this takes a moment, because ssh may have ended for a reason of its own. */
bool qmp_client_ended_by_peer(struct qmp_client *c);
/* Lent. */
const struct qmp_link *qmp_client_link(const struct qmp_client *c);

#endif
