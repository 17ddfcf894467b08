/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/check_list.h"
#include "core/log.h"
#include "core/text.h"
#include "qmp/virt/check/check.h"
#include "qmp/virt/guard.h"
#include "qmp/virt/incoming.h"
#include "qmp/virt/move.h"
#include "qmp/virt/native_set.h"
#include "qmp/virt/vm_direct.h"
#include "qmp/virt/vm_native.h"

struct route {
    struct virt_route route; /* first: it is what others see */
    struct loop *loop;
    struct virt_route_options options;
    struct virt_host *source, *destination;
    struct virt_move move;
    struct virt_check *check; /* begun, and not judged yet */
};

static struct route *route(struct virt_route *r)
{
    return (struct route *)r;
}

int virt_route_guard(int argc, char **argv)
{
    return virt_guard_main(argc, argv);
}

const char *virt_route_name(enum virt_route_kind kind)
{
    static const char *const names[] = {"auto", "direct", "native"};
    return names[kind];
}

/* What `godwit check` would refuse is refused, all but what takes long to find out. */
static int route_begin_check(struct route *r, struct err *e)
{
    const struct virt_check_options options = {.unsafe = r->options.unsafe,
                                               .quick = true,
                                               .dname = r->options.dname,
                                               .address_is_known = true};
    r->check = virt_check_begin(r->source, r->destination, &r->move.source, &options, e);
    return r->check != NULL ? 0 : -1;
}

static int route_check(struct route *r, struct err *e)
{
    struct check_list l = {0};
    int rc = virt_check_judge(r->check, &l, e);
    virt_check_free(TAKE(r->check));
    for (size_t i = 0; i < l.n; i++)
        if (l.at[i].verdict != CHECK_OK)
            log_info("check: %s: %s: %s", check_verdict_name(l.at[i].verdict), l.at[i].what,
                     l.at[i].sentence);
    if (rc == 0)
        rc = check_list_verdict(&l, e);
    check_list_free(&l);
    return rc;
}

/* The direct one is not for it: the native one, unless what is to be set cannot be set there. */
static int route_choose_native(struct route *r, const struct err *why, struct err *e)
{
    r->route.kind = VIRT_ROUTE_NATIVE;
    r->route.reason = text_keep("%s", why->msg);
    if (native_set_check(r->options.settings, e) == 0)
        return 0;
    return err_hint(e, "the direct route could, and is not for domain %s: %s", r->move.source.name,
                    why->msg);
}

static void route_choose_direct(struct route *r)
{
    struct virt_route *to = &r->route;
    struct err unable = {0};
    to->kind = VIRT_ROUTE_DIRECT;
    if (r->options.kind == VIRT_ROUTE_DIRECT)
        to->reason = text_keep("it was asked for");
    else
        to->reason = text_keep("all that the domain has was proven on it%s%s",
                               native_set_check(r->options.settings, &unable) < 0 ? "; " : "",
                               unable.msg);
}

/* libvirt's ssh to the destination and ours connect at the same time. The check is begun first, for what it asks of
 * the destination is all that is needed to know of it. */
static int route_open_move(struct route *r, struct err *e)
{
    struct virt_move_shells shells;
    int rc = -1;
    r->source = virt_host_open(r->options.connect, "source", e);
    if (r->source == NULL || virt_move_find(&r->move, r->source, &r->options, e) < 0)
        return -1;
    virt_move_shells_begin(&shells, &r->options);
    r->destination = virt_host_open(r->options.destination_uri, "destination", e);
    if (r->destination != NULL && route_begin_check(r, e) == 0)
        rc = virt_move_open(&r->move, r->destination, &shells, e);
    virt_move_shells_close(&shells);
    return rc;
}

/* Which route it is to be, and why. */
static int route_choose(struct route *r, struct err *e)
{
    struct virt_route *to = &r->route;
    struct err why = {0};
    if (r->options.kind == VIRT_ROUTE_NATIVE) {
        to->kind = VIRT_ROUTE_NATIVE;
        to->reason = text_keep("it was asked for");
        return 0;
    }
    CLEANUP_FREE char *live = virt_domain_xml(&r->move.source, 0, e);
    if (live == NULL)
        return -1;
    if (virt_incoming_check(live, &why) == 0) {
        route_choose_direct(r);
        return 0;
    }
    if (why.class == ERR_REFUSED && r->options.kind == VIRT_ROUTE_AUTO)
        return route_choose_native(r, &why, e);
    *e = why;
    return err_wrap(e, "the direct route is not for domain %s", r->move.source.name);
}

static int route_open_sides(struct route *r, struct err *e)
{
    struct virt_route *to = &r->route;
    bool direct = to->kind == VIRT_ROUTE_DIRECT;
    to->source = direct ? vm_direct_source(r->loop, &r->move, e)
                        : vm_native_source(r->loop, &r->move, e);
    if (to->source == NULL)
        return -1;
    to->destination = direct ? vm_direct_destination(r->loop, &r->move, to->source, e)
                             : vm_native_destination(r->loop, &r->move, to->source, e);
    return to->destination != NULL ? 0 : -1;
}

/* The destination first: it may know the source. */
static void route_close_sides(struct route *r)
{
    struct virt_route *to = &r->route;
    if (to->destination != NULL)
        to->destination->ops->close(to->destination);
    if (to->source != NULL)
        to->source->ops->close(to->source);
    to->source = to->destination = NULL;
}

struct virt_route *virt_route_open(struct loop *loop, const struct virt_route_options *options,
                                   struct err *e)
{
    struct route *r = calloc(1, sizeof *r);
    if (r == NULL) {
        err_set(e, ERR_IO, ENOMEM, "no memory for domain %s", options->domain);
        return NULL;
    }
    r->loop = loop;
    r->options = *options;
    if (route_open_move(r, e) < 0 || route_check(r, e) < 0 || route_choose(r, e) < 0 ||
        route_open_sides(r, e) < 0) {
        virt_route_close(&r->route);
        return NULL;
    }
    log_info("route %s: %s", virt_route_name(r->route.kind), r->route.reason);
    return &r->route;
}

void virt_route_close(struct virt_route *to)
{
    if (to == NULL)
        return;
    struct route *r = route(to);
    route_close_sides(r);
    virt_check_free(r->check);
    virt_move_close(&r->move);
    virt_host_close(r->destination);
    virt_host_close(r->source);
    free(r);
}

bool virt_route_fall_back(struct virt_route *to, const struct err *why, struct err *e)
{
    struct route *r = route(to);
    struct err unable = {0};
    if (to->kind != VIRT_ROUTE_DIRECT || r->options.kind != VIRT_ROUTE_AUTO ||
        why->class != ERR_REFUSED)
        return false;
    if (native_set_check(r->options.settings, &unable) < 0) {
        log_info("%s", unable.msg);
        return false;
    }
    route_close_sides(r);
    to->kind = VIRT_ROUTE_NATIVE;
    to->reason = text_keep("the direct one was refused: %s", why->msg);
    return route_open_sides(r, e) == 0;
}

int virt_route_finish(struct virt_route *to, struct err *e)
{
    return virt_move_definition(&route(to)->move, to->kind == VIRT_ROUTE_NATIVE, e);
}

void virt_route_shell(const char *uri, struct shell *s)
{
    virt_host_shell(uri, s);
}
