/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `godwit migrate` is asked for on its command line, and `godwit predict` with it: the option
 * table, and what the words alone can tell.
 */
#ifndef TOOLS_CMD_MIGRATE_REQUEST_H
#define TOOLS_CMD_MIGRATE_REQUEST_H

#include "core/migrate/vm.h"
#include "core/tune/control.h"
#include "qmp/endpoint.h"
#include "qmp/virt/address.h"
#include "qmp/virt/route.h"
#include "tools/cmd/option.h"
#include "tools/cmd/promise.h"

struct migrate_options {
    const char *via;
    const char *connect;
    int route;
    bool live;
    bool persistent, undefine_source;
    const char *dname;
    const char *migrateuri;
    uint64_t max_bandwidth_bytes_per_s;
    int64_t downtime_limit_ns;
    uint64_t multifd;
    int compression;
    bool postcopy, pause;
    uint64_t passes;
    struct option_list set;
    const char *profile;
    int64_t timeout_ns;
    int timeout_action;
    struct promise_options promise;
    bool explain;
    int policy;
    const char *trace;
    bool quit_source;
    bool unsafe;
    struct option_list observe;
    bool json;
    const char *progress_fd;
    bool verbose;
    struct option_given given;
};

/* Of a struct migrate_options. */
extern const struct option_def migrate_request_options[];

/* What lets vCPUs be throttled later, and does not do it yet. */
enum { MIGRATE_THROTTLE_SETTINGS = 4 };

struct migrate_request {
    struct migrate_options opt;
    struct qmp_endpoint source_ep, destination_ep; /* of bare QEMUs */
    struct virt_route_options domain;              /* .domain is NULL: bare QEMUs */
    struct vm_settings settings;
    struct control_plan control; /* but for what a pause costs */

    char stream_host[VIRT_ADDRESS_HOST];
    struct vm_setting set[OPTION_LIST_MAX + MIGRATE_THROTTLE_SETTINGS];
    char set_names[OPTION_LIST_MAX][64];
};

/* Before the options are parsed into r->opt. */
void migrate_request_init(struct migrate_request *r);

/* Understands the two operands and the options, and fills in the rest. *r stays where it is from then
 * on: it points into itself. ERR_USAGE: what the command line alone can tell. */
int migrate_request_check(struct migrate_request *r, char **operands, struct err *e);

#endif
