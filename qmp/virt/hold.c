/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * libvirt dumps the domain's memory into a FIFO that nobody reads. While that goes on it is in libvirt's
 * job, so that `virsh resume` waits and fails ("held by monitor=remoteDispatchDomainCoreDump"), and QEMU
 * itself refuses `cont` ("There is a dump in process, please wait"). When the reading end is closed, by us
 * or by our end, the dump fails, and all is as before. `virsh destroy` is let through. QEMU may answer
 * nobody meanwhile.
 *
 * On another host, which libvirt reaches by ssh, a process there has the reading end for as long as our shell
 * there lives: that ends with us, or with the connection.
 *
 * By libvirt, and not by a command to QEMU behind its back: libvirt 9.0 crashes on the event by which such
 * a dump ends. The FIFO is in a directory of its own: a libvirt that does not see it makes no file there,
 * and the call fails. Both go as soon as libvirt has opened the FIFO.
 * Source: QEMU 10.0, monitor/qmp-cmds.c, qmp_cont(); libvirt 9.0, src/qemu/qemu_driver.c, doCoreDump(),
 * src/qemu/qemu_process.c, qemuProcessHandleDumpCompleted().
 */
#include "qmp/virt/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/log.h"
#include "qmp/shell.h"

#define HOLD_BEGIN_NS NS_PER_S
#define HOLD_THERE_NS (10 * NS_PER_S) /* ssh may have to connect */
#define HOLD_TICK_MS 20

struct virt_hold {
    atomic_int refs; /* the thread's, and the owner's */
    atomic_bool ended;
    virDomainPtr dom;
    int fd;                       /* the end that nobody reads from; -1: none */
    struct shell there;           /* of another host's; SHELL_LOCAL: it is here */
    char directory[32], fifo[40]; /* "": not there (any more) */
};

static void hold_put(struct virt_hold *h)
{
    if (atomic_fetch_sub(&h->refs, 1) > 1)
        return;
    if (h->dom != NULL)
        virDomainFree(h->dom);
    free(h);
}

static void *hold_thread(void *arg)
{
    struct virt_hold *h = arg;
    char fifo[sizeof h->fifo];
    memcpy(fifo, h->fifo, sizeof fifo);
    if (virDomainCoreDumpWithFormat(h->dom, fifo, VIR_DOMAIN_CORE_DUMP_FORMAT_RAW,
                                    VIR_DUMP_MEMORY_ONLY) < 0)
        log_debug("hold: %s", virGetLastErrorMessage());
    atomic_store(&h->ended, true);
    hold_put(h);
    return NULL;
}

static int hold_make_fifo(struct virt_hold *h, struct err *e)
{
    snprintf(h->directory, sizeof h->directory, "/tmp/godwit-hold-XXXXXX");
    if (mkdtemp(h->directory) == NULL) {
        h->directory[0] = '\0';
        return err_set(e, ERR_IO, errno, "/tmp");
    }
    snprintf(h->fifo, sizeof h->fifo, "%s/fifo", h->directory);
    if (mkfifo(h->fifo, 0600) < 0 || (h->fd = open(h->fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
        return err_set(e, ERR_IO, errno, "%s", h->fifo);
    return 0;
}

/* The shell there is $$ in what it starts, too. */
static int hold_make_fifo_there(struct virt_hold *h, struct err *e)
{
    static const char script[] =
        "d=$(mktemp -d /tmp/godwit-hold-XXXXXX) && mkfifo -m 600 \"$d/fifo\" || exit 1\n"
        "(exec 3<>\"$d/fifo\"; while kill -0 $$; do sleep 1; done) >/dev/null 2>&1 &\n"
        "echo \"$d\"";
    char said[256];
    int status = shell_run(&h->there, script, said, sizeof said, HOLD_THERE_NS, e);
    if (status < 0)
        return -1;
    if (status > 0 || strlen(said) >= sizeof h->directory || said[0] != '/')
        return err_set(e, ERR_IO, 0, "%s: cannot make a FIFO: %s", h->there.login, said);
    snprintf(h->directory, sizeof h->directory, "%s", said);
    snprintf(h->fifo, sizeof h->fifo, "%s/fifo", said);
    return 0;
}

static void hold_remove_fifo(struct virt_hold *h)
{
    struct err none = {0}; /* it is in /tmp, and of no use to anybody */
    char script[64], said[64];
    if (h->directory[0] == '\0')
        return;
    if (h->there.kind == SHELL_SSH) {
        snprintf(script, sizeof script, "rm -rf '%s'", h->directory);
        shell_run(&h->there, script, said, sizeof said, HOLD_THERE_NS, &none);
        return;
    }
    unlink(h->fifo);
    rmdir(h->directory);
}

static int hold_begin(struct virt_hold *h, const struct virt_domain *d, struct err *e)
{
    virt_host_shell(virt_host_uri(d->host), &h->there);
    if (h->there.kind == SHELL_NONE)
        return err_set(e, ERR_REFUSED, 0, "its libvirt is on another host, and not reached by ssh");
    h->dom = virt_domain_get(d, e);
    if (h->dom == NULL ||
        (h->there.kind == SHELL_SSH ? hold_make_fifo_there(h, e) : hold_make_fifo(h, e)) < 0)
        return -1;
    atomic_fetch_add(&h->refs, 1);
    int sys = virt_thread(hold_thread, h);
    if (sys == 0)
        return 0;
    atomic_fetch_sub(&h->refs, 1);
    return err_set(e, ERR_IO, sys, "cannot start a thread");
}

static bool hold_is_begun_there(struct virt_hold *h)
{
    struct err none = {0};
    char script[128], said[64];
    snprintf(script, sizeof script, "timeout 2 dd bs=1 count=1 <'%s' >/dev/null 2>&1", h->fifo);
    return shell_run(&h->there, script, said, sizeof said, HOLD_THERE_NS, &none) == 0 &&
           !atomic_load(&h->ended);
}

/* Its first bytes tell that it goes on. */
static bool hold_is_begun(struct virt_hold *h)
{
    if (h->there.kind == SHELL_SSH)
        return hold_is_begun_there(h);
    int64_t deadline_ns = clock_now_ns() + HOLD_BEGIN_NS;
    while (!atomic_load(&h->ended) && clock_now_ns() < deadline_ns) {
        struct pollfd begun = {.fd = h->fd, .events = POLLIN};
        if (poll(&begun, 1, HOLD_TICK_MS) == 1 && (begun.revents & POLLIN) != 0)
            return true;
    }
    return false;
}

struct virt_hold *virt_hold_take(const struct virt_domain *d, struct err *e)
{
    struct virt_hold *h = calloc(1, sizeof *h);
    if (h == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for domain %s", d->name);
        return NULL;
    }
    atomic_init(&h->refs, 1);
    h->fd = -1;
    bool held = hold_begin(h, d, e) == 0 && hold_is_begun(h);
    hold_remove_fifo(h);
    if (held)
        return h;
    if (e->class == ERR_NONE)
        err_set(e, ERR_VIRT, 0, "libvirt does not dump its memory");
    virt_hold_release(h);
    return NULL;
}

bool virt_hold_lasts(const struct virt_hold *h)
{
    return h != NULL && !atomic_load(&h->ended);
}

void virt_hold_release(struct virt_hold *h)
{
    if (h == NULL)
        return;
    if (h->fd >= 0)
        close(h->fd);
    shell_close(&h->there);
    hold_put(h);
}
