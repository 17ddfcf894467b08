/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One typed function a QMP command. Each blocks by turning the client's loop. Those that only look
 * or prepare can be interrupted; those that a roll-back needs cannot.
 *
 * Unknown enum strings become _UNKNOWN and a debug line; unknown fields are ignored.
 * Source of names and units: QEMU, qapi/migration.json, qapi/run-state.json, qapi/machine.json.
 */
#ifndef QMP_COMMAND_H
#define QMP_COMMAND_H

#include "core/migrate/vm.h"
#include "qmp/capability.h"
#include "qmp/client.h"
#include "qmp/schema.h"

struct qmp_version {
    int at[3];
};

/* The migration parameters that we set. */
struct qmp_parameters {
    uint64_t max_bandwidth_bytes_per_s;
    uint64_t downtime_limit_ms;
    uint64_t multifd_channels;
    char multifd_compression[16]; /* "" where this QEMU has none */
};

int qmp_query_version(struct qmp_client *c, struct qmp_version *v, struct err *e);
/* Asked once: the client keeps it, and frees it. To answer takes a QEMU some ten milliseconds and more, in which a
 * guest under TCG stands still. */
const struct qmp_schema *qmp_query_schema(struct qmp_client *c, struct err *e);
int qmp_query_status(struct qmp_client *c, enum vm_run *run, struct err *e);
/* … and whether an I/O error has stopped it. */
int qmp_query_run(struct qmp_client *c, enum vm_run *run, bool *io_error, struct err *e);
/* As -uuid said; "" where nothing did. */
int qmp_query_uuid(struct qmp_client *c, char *uuid, size_t size, struct err *e);
int qmp_query_kvm(struct qmp_client *c, bool *enabled, struct err *e);
int qmp_query_ram(struct qmp_client *c, uint64_t *bytes, struct err *e);
/* *thread: of the first, on QEMU's host; 0: it does not say. Hotplug does not change it. */
int qmp_query_vcpus(struct qmp_client *c, unsigned *n, int64_t *thread, struct err *e);
/* The versioned machine type, without QEMU's "-machine" suffix. */
int qmp_query_machine(struct qmp_client *c, char *name, size_t size, struct err *e);

/* Fills in all of the sample but `run` and the passes (core/migrate/passes.h). */
int qmp_query_migrate(struct qmp_client *c, struct vm_sample *s, struct err *e);

/* The same of an answer to query-migrate that has come, and all else that it tells. */
struct watch_sample;
int qmp_read_migrate(struct json_object *answer, struct watch_sample *s, struct err *e);

/* What is worth telling of an event's data, for people: "active", "3", "". */
void qmp_event_detail(const char *name, struct json_object *data, char *detail, size_t size);

/* Of the data of an event MIGRATION: whether the guest is stopped in that state; and whether it
 * stays so until migrate-continue. */
bool qmp_migration_in_pause(struct json_object *data);
bool qmp_migration_at_gate(struct json_object *data);
/* … whether all has been handed over. */
bool qmp_migration_is_sent(struct json_object *data);

/* *known: those that this QEMU has. */
int qmp_query_capabilities(struct qmp_client *c, qmp_capability_set *on, qmp_capability_set *known,
                           struct err *e);
/* Sets those in `which` to their value in `on`, in one command, so that QEMU checks the whole. */
int qmp_set_capabilities(struct qmp_client *c, qmp_capability_set which, qmp_capability_set on,
                         struct err *e);
/* *all: the whole answer, for json_object_put(); NULL: it is not wanted. */
int qmp_query_parameters(struct qmp_client *c, struct qmp_parameters *p, struct json_object **all,
                         struct err *e);
/* In one command, so that QEMU checks the whole. `more`: others by name; they win. NULL: none. */
int qmp_set_parameters(struct qmp_client *c, const struct qmp_parameters *p,
                       struct json_object *more, struct err *e);

/* Both of a kind at the same time (qmp_client_calls()): where neither needs the other to be first. `back`: the
 * parameters go out first, and theirs is the error that counts. */
int qmp_query_capabilities_and_parameters(struct qmp_client *c, qmp_capability_set *on,
                                          qmp_capability_set *known, struct qmp_parameters *p,
                                          struct json_object **all, struct err *e);
int qmp_set_capabilities_and_parameters(struct qmp_client *c, qmp_capability_set which,
                                        qmp_capability_set on, const struct qmp_parameters *p,
                                        bool back, struct err *e);

/* What changes while a migration runs. */
int qmp_tune(struct qmp_client *c, const struct vm_tuning *t, struct err *e);
/* All limits of vCPUs are off. */
int qmp_unlimit_vcpus(struct qmp_client *c, struct err *e);
/* Of an event BLOCK_IO_ERROR: whether it stops the guest. STOP comes after it.
 * Source: QEMU 10.0, block/block-backend.c, blk_error_action(). */
bool qmp_io_error_stops(struct json_object *data);

int qmp_migrate(struct qmp_client *c, const char *uri, struct err *e);
/* Of a postcopy that is paused: the destination listens anew, the source sends what is left there; and either
 * pauses it, where it does not know that the connection is lost. */
int qmp_migrate_recover(struct qmp_client *c, const char *uri, struct err *e);
int qmp_migrate_resume(struct qmp_client *c, const char *uri, struct err *e);
int qmp_migrate_pause(struct qmp_client *c, struct err *e);
int qmp_migrate_incoming(struct qmp_client *c, const char *uri, struct err *e);
/* Of a destination that listens on tcp: on which port. */
int qmp_query_incoming_port(struct qmp_client *c, unsigned *port, struct err *e);
/* Switches trace points on or off; `pattern` may end in '*'. */
int qmp_trace_event_set_state(struct qmp_client *c, const char *pattern, bool on, struct err *e);

/* With pause-before-switchover: the source may hand over the rest. Does not wait for the answer,
 * which a later turn of the loop gives to the log: QEMU says no where it is too early or too late. */
void qmp_migrate_continue(struct qmp_client *c);
int qmp_migrate_start_postcopy(struct qmp_client *c, struct err *e);
int qmp_migrate_cancel(struct qmp_client *c, struct err *e);
int qmp_cont(struct qmp_client *c, struct err *e);
int qmp_stop(struct qmp_client *c, struct err *e);
int qmp_quit(struct qmp_client *c, struct err *e);

#endif
