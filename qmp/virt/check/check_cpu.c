/* SPDX-License-Identifier: Apache-2.0 */
/* Accelerator, machine type and CPU: whether the destination's QEMU can be the same machine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qmp/virt/check/check_run.h"

enum { QEMU_TCG_MIGRATES = 8000000 /* 8.0.0 */ };

static void accelerator_of(struct check_run *r, const struct check_side *side, unsigned long qemu)
{
    char what[80];
    snprintf(what, sizeof what, "accelerator: %s", side->role);
    if (qemu == 0 || qemu >= QEMU_TCG_MIGRATES) {
        check_list_add(r->l, CHECK_OK, what, "TCG on QEMU %lu.%lu migrates", qemu / 1000000,
                       qemu / 1000 % 1000);
        return;
    }
    /* measured, see tests/assume/tcg-migration.sh */
    check_list_add(r->l, check_risk(r), what,
                   "migration with TCG on QEMU %lu.%lu corrupts the guest's memory", qemu / 1000000,
                   qemu / 1000 % 1000);
    check_list_fix(r->l, "apt-get install -t bookworm-backports qemu-system-x86");
}

void check_accelerator(struct check_run *r)
{
    if (strcmp(r->type, "qemu") != 0)
        return;
    accelerator_of(r, &r->from, r->from_qemu);
    if (r->to.host != NULL)
        accelerator_of(r, &r->to, r->to_qemu);
}

/* ---- machine type ---- */

static void machine_refuse(struct check_run *r, const char *what)
{
    const char *said = check_there_words(r->there, CHECK_ASK_MACHINE, "it is not there");
    const char *emulator = r->emulator != NULL ? r->emulator : "qemu-system-x86_64";
    check_list_add(r->l, CHECK_REFUSE, what, "%s cannot run a %s guest of machine %s with %s: %s",
                   r->to.name, r->type, r->machine != NULL ? r->machine : "?", emulator, said);
    if (strstr(said, "accel") != NULL)
        check_fix_there(r->l, &r->to.shell, "modprobe -a kvm_intel kvm_amd; ls -l /dev/kvm");
    else if (strstr(said, "machine") != NULL)
        check_fix_there(r->l, &r->to.shell, "%s -machine help", emulator);
    else
        check_fix_there(r->l, &r->to.shell, "apt-get install qemu-system-x86; ls -l %s", emulator);
}

void check_machine(struct check_run *r)
{
    static const char what[] = "machine type";
    const char *caps = r->there->domain_capabilities;
    if (caps == NULL) {
        machine_refuse(r, what);
        return;
    }
    check_list_add(r->l, CHECK_OK, what, "%s on %s knows %s", r->emulator, r->to.name,
                   r->machine != NULL ? r->machine : "the default machine");
    struct err e = {0};
    CLEANUP_XML xmlDocPtr doc = xml_parse(caps, "the domain capabilities", &e);
    CLEANUP_FREE char *loader = xml_value(r->xml, NULL, "/domain/os/loader");
    if (doc == NULL || loader == NULL)
        return;
    CLEANUP_NODES struct xml_nodes known =
        xml_select(doc, NULL, "/domainCapabilities/os/loader/value");
    for (size_t i = 0; i < known.n; i++) {
        CLEANUP_FREE char *one = xml_value(doc, known.at[i], ".");
        if (one != NULL && strcmp(one, loader) == 0)
            return;
    }
    check_list_add(r->l, CHECK_WARN, "firmware", "libvirt on %s does not list the firmware %s",
                   r->to.name, loader);
    check_fix_there(r->l, &r->to.shell, "apt-get install ovmf; ls -l %s", loader);
}

/* ---- CPU ---- */

static void cpu_refuse(struct check_run *r, const char *what, const char *whose)
{
    const char *said = check_there_words(r->there, CHECK_ASK_CPU, "incompatible");
    const char *colon = strstr(said, "required features: ");
    check_list_add(r->l, CHECK_REFUSE, what, "%s on %s is not enough for %s: it lacks %s",
                   strcmp(r->type, "kvm") == 0 ? "the CPU" : "QEMU's CPU", r->to.name, whose,
                   colon != NULL ? colon + strlen("required features: ") : said);
    check_list_fix(r->l,
                   "virsh -c %s hypervisor-cpu-baseline --migratable CPUS.xml  # of both hosts; "
                   "then: virt-xml -c %s %s --edit --cpu MODEL",
                   r->to.uri, r->from.uri, r->domain->name);
}

bool check_cpu_is_of_host(const struct check_run *r)
{
    CLEANUP_FREE char *mode = xml_value(r->xml, NULL, "/domain/cpu/@mode");
    return mode != NULL && (strcmp(mode, "host-passthrough") == 0 || strcmp(mode, "maximum") == 0);
}

static void cpu_hosts(struct check_run *r)
{
    static const char what[] = "CPU";
    if (r->there->cpu == NULL) {
        check_list_add(r->l, CHECK_SKIPPED, what, "%s does not report its CPU", r->from.name);
        return;
    }
    int n = r->there->cpu_compared;
    if (n == VIR_CPU_COMPARE_IDENTICAL)
        check_list_add(r->l, CHECK_OK, what, "both hosts have the same CPU, and the guest sees it");
    else if (n == VIR_CPU_COMPARE_SUPERSET)
        check_list_add(
            r->l, CHECK_WARN, what,
            "%s has a different CPU than %s, with all of its features, and the guest sees "
            "the host's (host-passthrough): migrating back may not work",
            r->to.name, r->from.name);
    else if (n == VIR_CPU_COMPARE_INCOMPATIBLE ||
             check_there_error_is(r->there, CHECK_ASK_CPU, VIR_ERR_CPU_INCOMPATIBLE))
        cpu_refuse(r, what, "what the guest sees of its host's");
    else
        check_there_skip(r, CHECK_ASK_CPU, what, "cannot compare the hosts' CPUs");
}

void check_cpu(struct check_run *r)
{
    static const char what[] = "CPU";
    CLEANUP_FREE char *model = xml_value(r->xml, NULL, "/domain/cpu/model");
    if (r->there->cpu_of_host) {
        cpu_hosts(r);
        return;
    }
    if (r->there->cpu == NULL) {
        check_list_add(r->l, CHECK_OK, what, "it is QEMU's default for this machine type");
        return;
    }
    int n = r->there->cpu_compared;
    if (n == VIR_CPU_COMPARE_IDENTICAL || n == VIR_CPU_COMPARE_SUPERSET)
        check_list_add(r->l, CHECK_OK, what, "QEMU on %s can be %s with all its features",
                       r->to.name, model);
    else if (n == VIR_CPU_COMPARE_INCOMPATIBLE ||
             check_there_error_is(r->there, CHECK_ASK_CPU, VIR_ERR_CPU_INCOMPATIBLE))
        cpu_refuse(r, what, model);
    else
        check_there_skip(r, CHECK_ASK_CPU, what, "cannot compare the CPU");
}
