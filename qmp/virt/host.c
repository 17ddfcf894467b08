/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libvirt needs an event loop for its keepalive and for events, and it is one for the process: its
 * own default implementation, turned by a thread that lives until the end. A loop of ours
 * (core/loop.h) would not do: it stands still while a call blocks, which is when the keepalive has
 * to notice that the daemon is dead.
 *
 * A connection that was lost is replaced under the lock. Whoever still holds the old one gets
 * errors from it, and asks for another.
 *
 * A process must not end while another thread is in a call on a connection with event callbacks. The daemon then
 * sees the end of the connection and the end of the call at the same time, and libvirt before 10.5 frees the
 * callbacks twice: in 9.0 the event loop and a worker are both in remoteClientFreePrivateCallbacks(), which takes
 * no lock there. libvirtd dies of it, of a segmentation fault, some time later. So host_settle() lets no thread
 * begin another call when the process ends, and waits for those that are under way.
 */
#include "qmp/virt/host.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <libxml/uri.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"
#include "core/text.h"
#include "qmp/virt/ssh.h"
#include "qmp/virt/xml.h"

#define HOST_KEEPALIVE_S 5
/* A call that has not returned when its connection has been dead for so long never does. */
#define HOST_HANGING_MS 1000
#define HOST_AWAIT_MS ((VIRT_HOST_DEAD_S + 2 * HOST_KEEPALIVE_S) * 1000)

/* How long the process waits for calls when it ends. One that takes longer waits for something, and is not about to
 * end in the very moment that the connection does. */
#define HOST_SETTLE_MS 2000

/* As many domains as a migration has to do with on one host, and more. */
#define HOST_HANDLES 4

struct virt_host {
    char *uri;
    const char *role;
    pthread_mutex_t lock;
    virConnectPtr conn;                 /* NULL: was lost, and not made again yet */
    virDomainPtr handles[HOST_HANDLES]; /* of that connection */
    pthread_mutex_t name_lock, capabilities_lock, version_lock; /* held while it is asked */
    char *name, *capabilities;
    unsigned long version;
    atomic_int refs;
    atomic_int calls;       /* of other threads, under way on this connection */
    atomic_uint generation; /* of the connection */
};

static void *host_turn_events(void *arg)
{
    (void)arg;
    for (;;)
        if (virEventRunDefaultImpl() < 0)
            log_debug("libvirt: its event loop has failed once");
    return NULL;
}

/* libvirt would print each error to standard error. */
static void host_hush(void *arg, virErrorPtr error)
{
    (void)arg;
    log_debug("libvirt: %s", error->message);
}

static int host_begin_failed;

/* Of all hosts: the calls of other threads that are under way; and whether the process ends. */
static atomic_int host_calls;

/* The connection on which this thread is in a call. */
static _Thread_local unsigned host_entered;
static _Thread_local bool host_waits_for_none;
static atomic_bool host_ending;

/* By atexit(). */
static void host_settle(void)
{
    atomic_store(&host_ending, true);
    for (int ms = 0; atomic_load(&host_calls) > 0 && ms < HOST_SETTLE_MS; ms++)
        usleep(1000);
}

int virt_thread(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int sys = pthread_create(&thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (sys == 0)
        pthread_detach(thread);
    return sys;
}

static void host_begin(void)
{
    virSetErrorFunc(NULL, host_hush);
    bool ready = virInitialize() == 0 && virEventRegisterDefaultImpl() == 0 &&
                 atexit(host_settle) == 0;
    host_begin_failed = ready ? virt_thread(host_turn_events, NULL) : EIO;
}

bool virt_last_error_is(int code)
{
    const virError *error = virGetLastError();
    return error != NULL && error->code == code;
}

static bool host_error_is_loss(const virError *error)
{
    return error->domain == VIR_FROM_RPC || error->code == VIR_ERR_NO_CONNECT ||
           (error->code == VIR_ERR_SYSTEM_ERROR && error->int1 != 0 &&
            (error->int1 == EPIPE || error->int1 == ECONNRESET || error->int1 == ECONNREFUSED));
}

static bool host_error_is_absence(const virError *error)
{
    return error->code == VIR_ERR_NO_DOMAIN || error->code == VIR_ERR_NO_STORAGE_POOL ||
           error->code == VIR_ERR_NO_STORAGE_VOL || error->code == VIR_ERR_NO_NETWORK;
}

/* libvirt's words may have several lines: QEMU's last ones, of which the first tells most, or ssh's,
 * with "Cannot recv data: " before them. */
static const char *host_words(const char *words)
{
    static const char received[] = "Cannot recv data: ";
    if (strncmp(words, received, sizeof received - 1) == 0 && strchr(words, '\n') != NULL)
        return text_keep("ssh: %s", text_why(words + sizeof received - 1));
    return text_keep("%.*s", (int)strcspn(words, "\n"), words);
}

int virt_host_fail(const struct virt_host *h, struct err *e, const char *what)
{
    return virt_host_fail_by(h, virGetLastError(), e, what);
}

int virt_host_fail_by(const struct virt_host *h, const virError *error, struct err *e,
                      const char *what)
{
    if (error == NULL || error->code == VIR_ERR_OK)
        return err_set(e, ERR_VIRT, 0, "%s: %s: libvirt does not say why", h->role, what);
    enum err_class class = host_error_is_loss(error)                  ? ERR_LOST
                           : error->code == VIR_ERR_OPERATION_TIMEOUT ? ERR_TIMEOUT
                                                                      : ERR_VIRT;
    const char *words = error->message != NULL ? error->message : "libvirt does not say why";
    err_set(e, class, 0, "%s: %s: %s", h->role, what, host_words(words));
    if (class == ERR_VIRT && host_error_is_absence(error))
        e->sys = ENOENT;
    else if (error->code == VIR_ERR_OPERATION_ABORTED)
        e->sys = ECANCELED;
    return -1;
}

/* Under the lock, as h->conn. */
static int host_connect(struct virt_host *h, struct err *e)
{
    CLEANUP_FREE char *own = virt_ssh_uri(h->uri);
    if (own == NULL)
        return err_set(e, ERR_IO, ENOMEM, "no memory for the connection to %s", h->uri);
    h->conn = virConnectOpen(own);
    if (h->conn == NULL) {
        virt_host_fail(h, e, h->uri);
        if (e->class == ERR_VIRT)
            e->class = ERR_LOST;
        return -1;
    }
    /* a driver without a daemon has no keepalive, and needs none */
    if (virConnectSetKeepAlive(h->conn, HOST_KEEPALIVE_S, VIRT_HOST_DEAD_S / HOST_KEEPALIVE_S) < 0)
        log_debug("%s: no keepalive", h->uri);
    return 0;
}

struct virt_host *virt_host_later(const char *uri, const char *role, struct err *e)
{
    static pthread_once_t begun = PTHREAD_ONCE_INIT;
    pthread_once(&begun, host_begin);
    if (host_begin_failed != 0) {
        err_set(e, ERR_IO, host_begin_failed, "libvirt");
        return NULL;
    }
    if (strncmp(uri, "qemu:", 5) != 0 && strncmp(uri, "qemu+", 5) != 0) {
        err_set(e, ERR_USAGE, 0, "'%s' is not a URI of libvirt's QEMU driver", uri);
        err_hint(e, "write qemu:///system or qemu+ssh://[user@]host/system");
        return NULL;
    }
    struct virt_host *h = calloc(1, sizeof *h);
    char *copy = strdup(uri);
    if (h == NULL || copy == NULL) {
        free(copy);
        free(h);
        err_set(e, ERR_IO, ENOMEM, "no memory for the connection to %s", uri);
        return NULL;
    }
    *h = (struct virt_host){.uri = copy, .role = role, .refs = 1};
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->name_lock, NULL);
    pthread_mutex_init(&h->capabilities_lock, NULL);
    pthread_mutex_init(&h->version_lock, NULL);
    return h;
}

struct virt_host *virt_host_open(const char *uri, const char *role, struct err *e)
{
    struct virt_host *h = virt_host_later(uri, role, e);
    if (h != NULL && host_connect(h, e) < 0) {
        if (strstr(uri, "+ssh") != NULL)
            err_hint(e, "ssh to that host must work without a prompt, and libvirtd must run there");
        else
            err_hint(e, "is libvirtd running there?");
        virt_host_close(h);
        return NULL;
    }
    return h;
}

/* Under the lock, or when nobody else has the host any more. */
static void host_drop_handles(struct virt_host *h)
{
    for (int i = 0; i < HOST_HANDLES; i++)
        if (h->handles[i] != NULL)
            virDomainFree(TAKE(h->handles[i]));
}

void virt_host_close(struct virt_host *h)
{
    if (h == NULL || atomic_fetch_sub(&h->refs, 1) > 1)
        return;
    host_drop_handles(h);
    if (h->conn != NULL)
        virConnectClose(h->conn);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->name_lock);
    pthread_mutex_destroy(&h->capabilities_lock);
    pthread_mutex_destroy(&h->version_lock);
    free(h->name);
    free(h->capabilities);
    free(h->uri);
    free(h);
}

struct virt_host *virt_host_ref(struct virt_host *h)
{
    atomic_fetch_add(&h->refs, 1);
    return h;
}

void virt_host_enter(struct virt_host *h)
{
    /* counted before it looks, so that host_settle() sees the call or the call sees that the process ends */
    atomic_fetch_add(&host_calls, 1);
    if (atomic_load(&host_ending)) {
        atomic_fetch_sub(&host_calls, 1);
        for (;;)
            pause();
    }
    host_entered = atomic_load(&h->generation);
    atomic_fetch_add(&h->calls, 1);
}

void virt_host_leave(struct virt_host *h)
{
    if (host_entered == atomic_load(&h->generation)) /* else they are counted no more */
        atomic_fetch_sub(&h->calls, 1);
    atomic_fetch_sub(&host_calls, 1);
}

void virt_host_wait_for_none(void)
{
    host_waits_for_none = true;
}

/* Until no other thread is in a call, or its connection is known to be alive: the keepalive would
 * have ended the call. When it is dead all but one may hang for ever (at_once.c). */
static void host_await_calls(struct virt_host *h)
{
    int dead_ms = 0;
    if (host_waits_for_none)
        return;
    for (int ms = 0; atomic_load(&h->calls) > 0 && ms < HOST_AWAIT_MS && dead_ms < HOST_HANGING_MS;
         ms += 10) {
        pthread_mutex_lock(&h->lock);
        dead_ms += h->conn != NULL && virConnectIsAlive(h->conn) == 1 ? 0 : 10;
        pthread_mutex_unlock(&h->lock);
        usleep(10000);
    }
}

virConnectPtr virt_host_connection(struct virt_host *h, struct err *e)
{
    host_await_calls(h);
    pthread_mutex_lock(&h->lock);
    if (h->conn != NULL && virConnectIsAlive(h->conn) != 1) {
        host_drop_handles(h);
        virConnectClose(h->conn);
        h->conn = NULL;
        atomic_fetch_add(&h->generation, 1);
        atomic_store(&h->calls, 0);
        log_info("%s: the connection to libvirt was lost", h->role);
    }
    virConnectPtr conn = NULL;
    if (h->conn != NULL || host_connect(h, e) == 0) {
        virConnectRef(h->conn);
        conn = h->conn;
    }
    pthread_mutex_unlock(&h->lock);
    return conn;
}

const char *virt_host_uri(const struct virt_host *h)
{
    return h->uri;
}

const char *virt_host_role(const struct virt_host *h)
{
    return h->role;
}

/* ---- what is asked once ---- */

const char *virt_host_name(struct virt_host *h, struct err *e)
{
    pthread_mutex_lock(&h->name_lock);
    virConnectPtr conn = h->name == NULL ? virt_host_connection(h, e) : NULL;
    if (conn != NULL) {
        h->name = virConnectGetHostname(conn);
        if (h->name == NULL)
            virt_host_fail(h, e, "libvirt does not report the host's name");
        virConnectClose(conn);
    }
    pthread_mutex_unlock(&h->name_lock);
    return h->name;
}

const char *virt_host_capabilities(struct virt_host *h, struct err *e)
{
    pthread_mutex_lock(&h->capabilities_lock);
    virConnectPtr conn = h->capabilities == NULL ? virt_host_connection(h, e) : NULL;
    if (conn != NULL) {
        h->capabilities = virConnectGetCapabilities(conn);
        if (h->capabilities == NULL)
            virt_host_fail(h, e, "cannot read the host's capabilities");
        virConnectClose(conn);
    }
    pthread_mutex_unlock(&h->capabilities_lock);
    return h->capabilities;
}

unsigned long virt_host_qemu_version(struct virt_host *h, struct err *e)
{
    pthread_mutex_lock(&h->version_lock);
    virConnectPtr conn = h->version == 0 ? virt_host_connection(h, e) : NULL;
    if (conn != NULL) {
        if (virConnectGetVersion(conn, &h->version) < 0)
            virt_host_fail(h, e, "libvirt does not report QEMU's version");
        else if (h->version == 0)
            err_set(e, ERR_VIRT, 0, "%s: libvirt has no QEMU there", h->role);
        virConnectClose(conn);
    }
    pthread_mutex_unlock(&h->version_lock);
    return h->version;
}

int virt_host_uuid(struct virt_host *h, char uuid[VIRT_UUID_TEXT], struct err *e)
{
    const char *text = virt_host_capabilities(h, e);
    if (text == NULL)
        return -1;
    CLEANUP_XML xmlDocPtr doc = xml_parse(text, "the capabilities", e);
    if (doc == NULL)
        return -1;
    CLEANUP_FREE char *value = xml_value(doc, NULL, "/capabilities/host/uuid");
    if (value == NULL)
        return err_set(e, ERR_PROTO, 0, "%s: its capabilities have no host UUID", h->uri);
    snprintf(uuid, VIRT_UUID_TEXT, "%s", value);
    return 0;
}

/* ---- handles ---- */

static bool host_handle_is(virDomainPtr dom, const char *uuid)
{
    char text[VIRT_UUID_TEXT];
    return dom != NULL && virDomainGetUUIDString(dom, text) == 0 && strcmp(text, uuid) == 0;
}

virDomainPtr virt_host_handle(struct virt_host *h, virConnectPtr conn, const char *uuid)
{
    virDomainPtr found = NULL;
    pthread_mutex_lock(&h->lock);
    for (int i = 0; conn == h->conn && i < HOST_HANDLES && found == NULL; i++)
        if (host_handle_is(h->handles[i], uuid))
            found = h->handles[i];
    if (found != NULL)
        virDomainRef(found);
    pthread_mutex_unlock(&h->lock);
    return found;
}

void virt_host_keep_handle(struct virt_host *h, virDomainPtr dom)
{
    char uuid[VIRT_UUID_TEXT];
    pthread_mutex_lock(&h->lock);
    if (virDomainGetConnect(dom) == h->conn && virDomainGetUUIDString(dom, uuid) == 0) {
        int at = 0;
        for (int i = 0; i < HOST_HANDLES && !host_handle_is(h->handles[at], uuid); i++)
            at = h->handles[at] != NULL && i < HOST_HANDLES - 1 ? i + 1 : at;
        virDomainRef(dom);
        if (h->handles[at] != NULL)
            virDomainFree(h->handles[at]);
        h->handles[at] = dom;
    }
    pthread_mutex_unlock(&h->lock);
}

/* ---- where it is ---- */

bool virt_uri_is_here(const char *uri)
{
    /* a URI names a host between "//" and the next "/": ours has none */
    const char *authority = strstr(uri, "//");
    return authority != NULL && authority[2] == '/';
}

/* "keyfile=/path" of the URI's query. */
static void host_take_keyfile(struct shell *s, const char *query)
{
    static const char name[] = "keyfile=";
    const char *at = query != NULL ? strstr(query, name) : NULL;
    if (at == NULL || (at != query && at[-1] != '&'))
        return;
    at += sizeof name - 1;
    snprintf(s->keyfile, sizeof s->keyfile, "%.*s", (int)strcspn(at, "&"), at);
}

void virt_host_shell(const char *uri, struct shell *s)
{
    *s = (struct shell){0};
    xmlURIPtr parsed = xmlParseURI(uri);
    if (parsed == NULL || parsed->scheme == NULL) {
        xmlFreeURI(parsed);
        return;
    }
    const char *plus = strchr(parsed->scheme, '+');
    const char *host = parsed->server != NULL ? parsed->server : "";
    snprintf(s->host, sizeof s->host, "%s", host);
    if (*host == '\0' && (plus == NULL || strcmp(plus, "+unix") == 0)) {
        s->kind = SHELL_LOCAL;
    } else if (plus != NULL && strcmp(plus, "+ssh") == 0 && *host != '-' && *host != '\0' &&
               (parsed->user == NULL || *parsed->user != '-')) {
        s->kind = SHELL_SSH;
        snprintf(s->login, sizeof s->login, "%s%s%s", parsed->user != NULL ? parsed->user : "",
                 parsed->user != NULL ? "@" : "", host);
        if (parsed->port > 0)
            snprintf(s->port, sizeof s->port, "%d", parsed->port);
        host_take_keyfile(s, parsed->query_raw);
    }
    xmlFreeURI(parsed);
}
