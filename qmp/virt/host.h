/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host as its libvirt shows it: one connection, made again when it was lost.
 *
 * Inside qmp/virt/ only, like every libvirt type. libvirt's calls block, for as long as its daemon
 * takes; one whose daemon is gone or hangs ends after VIRT_HOST_DEAD_S. They may be made from any
 * thread. libvirt's events are dispatched by a thread of this file's.
 */
#ifndef QMP_VIRT_HOST_H
#define QMP_VIRT_HOST_H

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdbool.h>

#include "core/err.h"
#include "qmp/shell.h"

/* A daemon that has said nothing for so long counts as lost. */
#define VIRT_HOST_DEAD_S 15

enum { VIRT_UUID_TEXT = VIR_UUID_STRING_BUFLEN };

/* VIR_DOMAIN_EVENT_CALLBACK() by way of the one type that any function may be cast to and from, so that
 * clang does not warn: libvirt casts it back by the kind of event. */
#define VIRT_EVENT_CALLBACK(fn) ((virConnectDomainEventGenericCallback)(void (*)(void))(fn))

struct virt_host;

/*
 * Connects to the daemon at `uri` ("qemu:///system", "qemu+ssh://root@b/system"), for reading and
 * writing; `role` is "source" or "destination", for messages, and lives as long as the host.
 * ERR_REFUSED: not a QEMU driver's URI; ERR_LOST: it cannot be reached.
 */
struct virt_host *virt_host_open(const char *uri, const char *role, struct err *e);
/* The same, but for that it connects when it is first asked for its connection. */
struct virt_host *virt_host_later(const char *uri, const char *role, struct err *e);
/* NULL is fine. It lives on as long as somebody has virt_host_ref(), until that is closed, too. */
void virt_host_close(struct virt_host *h);
struct virt_host *virt_host_ref(struct virt_host *h);

/*
 * The connection, to be given back with virConnectClose(). If it was lost it is made again: NULL
 * with ERR_LOST where that fails.
 */
virConnectPtr virt_host_connection(struct virt_host *h, struct err *e);

/*
 * For a call from another thread that may take long: it holds the host from enter to leave. In
 * between virt_host_connection() waits, as long as that call may be waiting for a dead daemon: in
 * libvirt 9 two calls on one connection, when its keepalive ends it, may hang or crash the second. Once it has
 * ended that wait is short, and calls that hang on it count no more.
 * The process does not end in the middle of it, for up to 2 s, for that may crash the daemon (libvirt before 10.5,
 * host.c says how); and once it ends, enter does not return.
 */
void virt_host_enter(struct virt_host *h);
void virt_host_leave(struct virt_host *h);

/* This thread makes its calls beside others on purpose (qmp/virt/at_once.h): virt_host_connection() waits for none. */
void virt_host_wait_for_none(void);

const char *virt_host_uri(const struct virt_host *h);
const char *virt_host_role(const struct virt_host *h);

/*
 * What stays as it is for as long as we look: asked once, by whoever needs it first, and kept. Whoever asks at the
 * same time waits for that answer. The texts are lent, for as long as the host lives; NULL, 0: see *e.
 */
const char *virt_host_name(struct virt_host *h, struct err *e);
const char *virt_host_capabilities(struct virt_host *h, struct err *e);
unsigned long virt_host_qemu_version(struct virt_host *h, struct err *e); /* 7002000 for 7.2.0 */

/* The host's own UUID, which libvirt on every host has another of: of its capabilities. */
int virt_host_uuid(struct virt_host *h, char uuid[VIRT_UUID_TEXT], struct err *e);

/*
 * The handle by which calls on this connection name the domain of that UUID, as some look-up gave it: to be given back
 * with virDomainFree(). NULL: none is kept. It spares the look-up, and says nothing about whether the domain is
 * there: the call that it is for does (VIR_ERR_NO_DOMAIN). `conn` is from virt_host_connection(), by which handles go
 * that are of an older one.
 */
virDomainPtr virt_host_handle(struct virt_host *h, virConnectPtr conn, const char *uuid);
/* The caller keeps his own. */
void virt_host_keep_handle(struct virt_host *h, virDomainPtr dom);

/*
 * Sets *e from libvirt's last error of this thread: ERR_LOST where the connection is the reason,
 * ERR_TIMEOUT where libvirt gave up waiting for a job of the domain's, else ERR_VIRT. `what` is
 * what was tried: "cannot start the domain". Always -1. To be called before anything else is asked
 * of libvirt, freeing included: each of its calls forgets the error of the one before.
 */
int virt_host_fail(const struct virt_host *h, struct err *e, const char *what);

/* The same of an error that was kept; NULL: it is not known. */
int virt_host_fail_by(const struct virt_host *h, const virError *error, struct err *e,
                      const char *what);

/* Starts a thread that nobody waits for, with all signals blocked: they are for the thread that has
 * the loop. 0, or the errno. */
int virt_thread(void *(*run)(void *arg), void *arg);

/* Whether libvirt's last error of this thread is this one (virErrorNumber); as above. */
bool virt_last_error_is(int code);

/* Whether that URI's host is this one, whose paths can be looked at. */
bool virt_uri_is_here(const char *uri);

/* The shell on the host of a libvirt, as its URI tells. End with shell_close(). */
void virt_host_shell(const char *uri, struct shell *s);

#endif
