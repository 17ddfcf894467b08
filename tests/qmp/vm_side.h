/* SPDX-License-Identifier: Apache-2.0 */
/* One side of a migration whose QEMU is a script: what it says, and how it is opened. */
#ifndef TESTS_QMP_VM_SIDE_H
#define TESTS_QMP_VM_SIDE_H

#include "fake_qmp.h"
#include "qmp/vm_qmp.h"

#define REPLY(cmd, ...)                                            \
    {                                                              \
        .what = FAKE_REPLY, .command = cmd, .text = "" __VA_ARGS__ \
    }
#define VERSION(major, minor)                                                  \
    REPLY("query-version", "{\"qemu\":{\"major\":" #major ",\"minor\":" #minor \
                           ",\"micro\":2},\"package\":\"Debian\"}")
#define MEMORY \
    REPLY("query-memory-size-summary", "{\"base-memory\":268435456,\"plugged-memory\":65536}")
#define CPU(n, thread) \
    "{\"cpu-index\":" n ",\"qom-path\":\"/x\",\"thread-id\":" thread ",\"target\":\"x86_64\"}"
#define KVM(on) REPLY("query-kvm", "{\"enabled\":" on ",\"present\":true}")
#define STATUS_7(status) \
    REPLY("query-status", "{\"running\":false,\"singlestep\":false,\"status\":\"" status "\"}")
#define STATUS(status) REPLY("query-status", "{\"running\":false,\"status\":\"" status "\"}")
#define MACHINE(name)                                                             \
    {                                                                             \
        .what = FAKE_REPLY, .command = "qom-get", .text = "\"" name "-machine\"", \
        .arguments = "{\"path\":\"/machine\",\"property\":\"type\"}"              \
    }
#define CPUS                                                                     \
    {                                                                            \
        .what = FAKE_REPLY, .command = "query-cpus-fast", .text = side_cpus.text \
    }
#define UUID(text) REPLY("query-uuid", "{\"UUID\":\"" text "\"}")
#define HARDWARE(kvm) \
    MACHINE("pc-q35-10.0"), MEMORY, CPUS, KVM(kvm), UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
#define PROBE(kvm) VERSION(10, 0), STATUS("running"), REPLY("query-migrate", "{}"), HARDWARE(kvm)
#define PROBE_7(kvm) VERSION(7, 2), STATUS_7("running"), REPLY("query-migrate", "{}"), HARDWARE(kvm)

#define CAP(name, on) "{\"capability\":\"" name "\",\"state\":" on "}"
#define CAPS(...) REPLY("query-migrate-capabilities", "[" __VA_ARGS__ "]")
#define USUAL                                                             \
    CAP("events", "false")                                                \
    "," CAP("multifd", "false") "," CAP("postcopy-ram", "false") "," CAP( \
        "return-path", "false") "," CAP("pause-before-switchover", "true")

#define SET(cmd, args)                                        \
    {                                                         \
        .what = FAKE_REPLY, .command = cmd, .arguments = args \
    }

struct side {
    struct loop *loop;
    struct fake_qmp *fake;
    struct vm *vm;
    struct vm_facts facts;
    struct err e;
};

/* What query-cpus-fast says: two vCPUs, the first of which is a thread of this process, or another. */
struct side_cpus {
    char text[256];
};
extern struct side_cpus side_cpus;
void side_set_thread(int thread);

/* Without its gate, which a test may set again. */
void side_open_as(struct side *s, const char *role, struct fake_qmp *fake);
void side_open(struct side *s, struct fake_qmp *fake); /* the source */
void side_open_probed(struct side *s, struct fake_qmp *fake);
void side_close(struct side *s);

/* s->e is of that class, and says that. */
void side_expect(const struct side *s, enum err_class class, const char *says);

/* What a check says for these settings on a QEMU with these capabilities. */
void side_check(const char *version, const struct fake_step *steps, size_t count,
                const struct vm_settings *settings, enum err_class class, const char *says);
#define CHECK(version, steps, settings, class, says)                                           \
    side_check(version, steps, sizeof(steps) / sizeof *(steps), &(struct vm_settings)settings, \
               class, says)
#define SETTINGS(...) \
    {                 \
        __VA_ARGS__   \
    }

#endif
