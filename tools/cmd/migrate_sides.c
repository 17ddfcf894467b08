/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/migrate_sides.h"

#include "qmp/virt/address.h"
#include "qmp/vm_qmp.h"

static int sides_open_domain(struct migrate_sides *s, const struct migrate_request *request,
                             struct err *e)
{
    s->route = virt_route_open(s->loop, &request->domain, e);
    if (s->route == NULL)
        return -1;
    s->source = s->route->source;
    s->destination = s->route->destination;
    return 0;
}

int migrate_sides_open(struct migrate_sides *s, const struct migrate_request *request,
                       struct err *e)
{
    *s = (struct migrate_sides){.loop = loop_new(e)};
    if (s->loop == NULL || loop_catch_signals(s->loop, e) < 0)
        return -1;
    if (request->domain.domain != NULL)
        return sides_open_domain(s, request, e);
    if (!request->opt.unsafe &&
        virt_address_check_bare(&request->source_ep, &request->destination_ep, request->opt.via,
                                e) < 0)
        return -1;
    s->source = vm_qmp_open(s->loop, &request->source_ep, "source", e);
    if (s->source == NULL)
        return -1;
    s->destination = vm_qmp_open(s->loop, &request->destination_ep, "destination", e);
    return s->destination != NULL ? 0 : -1;
}

void migrate_sides_close(struct migrate_sides *s)
{
    if (s->route != NULL) {
        virt_route_close(s->route);
    } else {
        if (s->destination != NULL)
            s->destination->ops->close(s->destination);
        if (s->source != NULL)
            s->source->ops->close(s->source);
    }
    loop_free(s->loop);
    *s = (struct migrate_sides){.loop = NULL};
}

const char *migrate_sides_route(const struct migrate_sides *s,
                                const struct migrate_request *request)
{
    return s->route != NULL                 ? virt_route_name(s->route->kind)
           : request->domain.domain == NULL ? "qmp"
                                            : NULL;
}
