/* SPDX-License-Identifier: Apache-2.0 */
/* Room for the guest on the destination: memory, huge pages, processors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/units.h"
#include "qmp/virt/check/check_run.h"

/* QEMU's own, and what a host needs to stay well. */
#define MEMORY_SPARE_KIB (256 * 1024)

/* Free, and what could be: the kernel gives page cache back when memory is asked for. */
static int memory_available(const struct check_run *r, uint64_t *free_kib, uint64_t *available_kib)
{
    const virNodeMemoryStats *stats = r->there->memory;
    if (r->there->memory_n <= 0)
        return -1;
    *free_kib = *available_kib = 0;
    for (int i = 0; i < r->there->memory_n; i++) {
        if (strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_FREE) == 0)
            *free_kib = stats[i].value;
        else if (strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_CACHED) != 0 &&
                 strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_BUFFERS) != 0)
            continue;
        *available_kib += stats[i].value;
    }
    return 0;
}

static void memory_huge(struct check_run *r, uint64_t need_kib)
{
    static const char what[] = "huge pages";
    if (!xml_has(r->xml, NULL, "/domain/memoryBacking/hugepages"))
        return;
    CLEANUP_FREE char *size = xml_value(r->xml, NULL, "/domain/memoryBacking/hugepages/page/@size");
    unsigned page_kib = size != NULL ? (unsigned)strtoul(size, NULL, 10) : 2048;
    unsigned long long pages = 0;
    if (page_kib == 0 || virNodeGetFreePages(r->to.conn, 1, &page_kib, -1, 1, &pages, 0) < 0) {
        check_skip(r, &r->to, what, "cannot count the free huge pages");
        return;
    }
    unsigned long long need = need_kib / page_kib;
    check_list_add(r->l, pages >= need ? CHECK_OK : CHECK_REFUSE, what,
                   "%s has %llu free pages of %u KiB, and the guest needs %llu", r->to.name, pages,
                   page_kib, need);
    if (pages < need)
        check_list_fix(r->l, "virsh -c %s allocpages --add %u %llu", r->to.uri, page_kib,
                       need - pages);
}

void check_memory(struct check_run *r)
{
    static const char what[] = "memory";
    char need[UNITS_TEXT_MAX], room[UNITS_TEXT_MAX], now[UNITS_TEXT_MAX];
    uint64_t free_kib, available_kib;
    uint64_t need_kib = virDomainGetMaxMemory(r->dom);
    if (need_kib == 0) {
        check_skip(r, &r->from, what, "cannot read how much the guest has");
        return;
    }
    if (memory_available(r, &free_kib, &available_kib) < 0) {
        check_there_skip(r, CHECK_ASK_MEMORY, what, "cannot compare memory");
        return;
    }
    units_format_size(need, need_kib << 10);
    units_format_size(room, available_kib << 10);
    units_format_size(now, free_kib << 10);
    if (xml_has(r->xml, NULL, "/domain/memoryBacking/hugepages"))
        memory_huge(r, need_kib);
    else if (need_kib > available_kib)
        check_list_add(r->l, CHECK_REFUSE, what, "the guest has %s, and %s can free %s at most",
                       need, r->to.name, room);
    else if (need_kib + MEMORY_SPARE_KIB > available_kib || need_kib > free_kib)
        check_list_add(r->l, CHECK_WARN, what,
                       "the guest has %s; %s has %s free, and %s if it gives up its page cache",
                       need, r->to.name, now, room);
    else
        check_list_add(r->l, CHECK_OK, what, "the guest has %s, and %s has %s free", need,
                       r->to.name, now);
    if (r->l->n > 0 && r->l->at[r->l->n - 1].verdict != CHECK_OK &&
        strcmp(r->l->at[r->l->n - 1].what, what) == 0)
        check_list_fix(r->l, "virsh -c %s list; virsh -c %s setmem --live %s SIZE", r->to.uri,
                       r->from.uri, r->domain->name);
}

void check_vcpus(struct check_run *r)
{
    static const char what[] = "vCPUs";
    const virNodeInfo node = r->there->node;
    CLEANUP_FREE char *text = xml_value(r->xml, NULL, "/domain/vcpu");
    unsigned long n = text != NULL ? strtoul(text, NULL, 10) : 1;
    if (!r->there->node_known) {
        check_there_skip(r, CHECK_ASK_NODE, what, "cannot count the processors");
        return;
    }
    check_list_add(r->l, n > node.cpus ? CHECK_WARN : CHECK_OK, what,
                   "the guest has %lu, and %s has %u processors", n, r->to.name, node.cpus);
    if (n > node.cpus)
        check_list_fix(r->l, "virsh -c %s setvcpus --live %s %u", r->from.uri, r->domain->name,
                       node.cpus);
}
