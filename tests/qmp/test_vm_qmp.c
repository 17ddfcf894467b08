/* SPDX-License-Identifier: Apache-2.0 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
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
#define CPUS                                                                    \
    {                                                                           \
        .what = FAKE_REPLY, .command = "query-cpus-fast", .text = the_cpus.text \
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

/* What query-cpus-fast says: two vCPUs, the first of which is a thread of this process, or another. */
static struct {
    char text[256];
} the_cpus;

static void set_thread(int thread)
{
    snprintf(the_cpus.text, sizeof the_cpus.text, "[" CPU("0", "%d") "," CPU("1", "7") "]", thread);
}

struct side {
    struct loop *loop;
    struct fake_qmp *fake;
    struct vm *vm;
    struct vm_facts facts;
    struct err e;
};

static void open_as(struct side *s, const char *role, struct fake_qmp *fake)
{
    struct qmp_endpoint ep;
    *s = (struct side){.fake = fake};
    s->loop = loop_new(&s->e);
    assert_int_equal(qmp_endpoint_parse(fake_qmp_endpoint(fake), &ep, &s->e), 0);
    s->vm = vm_qmp_open(s->loop, &ep, role, &s->e);
    if (s->vm == NULL)
        fail_msg("%s", s->e.msg);
    /* without it the scripts below are of either side; test_gate() has one */
    assert_true(((struct vm_qmp *)s->vm)->gated == (strcmp(role, "source") == 0));
    /* who stands at a gate cannot go on before the migration is cancelled */
    assert_non_null(strstr(s->vm->commands.go_on, "{\"execute\":\"cont\"}"));
    assert_true((strstr(s->vm->commands.go_on, "{\"execute\":\"migrate_cancel\"}") != NULL) ==
                (strcmp(role, "source") == 0));
    ((struct vm_qmp *)s->vm)->gated = false;
}

static void open_side(struct side *s, struct fake_qmp *fake)
{
    open_as(s, "source", fake);
}

static void open_probed(struct side *s, struct fake_qmp *fake)
{
    open_side(s, fake);
    if (s->vm->ops->probe(s->vm, &s->facts, &s->e) < 0) {
        fake_qmp_end(fake); /* which knows better */
        fail_msg("%s", s->e.msg);
    }
}

static void close_side(struct side *s)
{
    s->vm->ops->close(s->vm);
    loop_free(s->loop);
    fake_qmp_end(s->fake);
}

static void expect(const struct side *s, enum err_class class, const char *says)
{
    if (s->e.class != class || strstr(s->e.msg, says) == NULL)
        fail_msg("%s: '%s' instead of %s: '%s'", err_class_name(s->e.class), s->e.msg,
                 err_class_name(class), says);
}

static void test_probe(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_EXPECT_END}};
    struct side s;
    open_probed(&s, FAKE_QMP("10.0", steps));
    assert_string_equal(s.facts.hypervisor, "QEMU 10.0.2");
    assert_string_equal(s.facts.machine, "pc-q35-10.0");
    assert_int_equal(s.facts.ram_bytes, 268435456 + 65536);
    assert_int_equal(s.facts.vcpus, 2);
    assert_string_equal(s.facts.uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    assert_true(s.facts.kvm);
    assert_int_equal(s.facts.run, VM_RUN_RUNNING);
    assert_int_equal(s.facts.migration, VM_MIGRATION_NONE);
    assert_int_equal(s.facts.peer_pid, getpid());
    close_side(&s);
}

/* What a check says for these settings on a QEMU with these capabilities. */
static void check(const char *version, const struct fake_step *steps, size_t count,
                  const struct vm_settings *settings, enum err_class class, const char *says)
{
    struct side s;
    open_probed(&s, fake_qmp_start(version, FAKE_UNIX, steps, count));
    int rc = s.vm->ops->check(s.vm, settings, &s.e);
    assert_int_equal(rc, class == ERR_NONE ? 0 : -1);
    expect(&s, class, says);
    close_side(&s);
}
#define CHECK(version, steps, settings, class, says)                                             \
    check(version, steps, sizeof(steps) / sizeof *(steps), &(struct vm_settings)settings, class, \
          says)
#define SETTINGS(...) \
    {                 \
        __VA_ARGS__   \
    }

static void test_check_capabilities(void **state)
{
    (void)state;
    static const struct fake_step usual[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    static const struct fake_step without[] = {{.what = FAKE_ACCEPT},
                                               PROBE("true"),
                                               CAPS(CAP("events", "false")),
                                               {.what = FAKE_EXPECT_END}};
    static const struct fake_step xbzrle[] = {{.what = FAKE_ACCEPT},
                                              PROBE("true"),
                                              CAPS(USUAL "," CAP("xbzrle", "true")),
                                              {.what = FAKE_EXPECT_END}};
    static const struct fake_step preempt[] = {{.what = FAKE_ACCEPT},
                                               PROBE("true"),
                                               CAPS(USUAL "," CAP("postcopy-preempt", "true")),
                                               {.what = FAKE_EXPECT_END}};
    CHECK("10.0", usual, SETTINGS(.multifd_channels = 4), ERR_NONE, "");
    CHECK("10.0", usual, SETTINGS(.postcopy = true), ERR_NONE, "");
    CHECK("10.0", usual, SETTINGS(.postcopy = true, .multifd_channels = 2), ERR_REFUSED,
          "source: migration capability multifd cannot go with postcopy-ram");
    CHECK("10.0", without, SETTINGS(.multifd_channels = 4), ERR_REFUSED,
          "source: QEMU 10.0.2 has no migration capability multifd");
    CHECK("10.0", without, SETTINGS(.postcopy = true), ERR_REFUSED, "capability postcopy-ram");
    CHECK("10.0", without, SETTINGS(.unsafe = false), ERR_NONE, "");
    /* what somebody else has set */
    CHECK("10.0", xbzrle, SETTINGS(.multifd_channels = 4), ERR_REFUSED,
          "multifd cannot go with xbzrle");
    CHECK("10.0", xbzrle, SETTINGS(.unsafe = false), ERR_NONE, "");
    CHECK("10.0", preempt, SETTINGS(.unsafe = false), ERR_REFUSED,
          "postcopy-preempt needs postcopy-ram");
    CHECK("10.0", preempt, SETTINGS(.postcopy = true), ERR_NONE, "");
}

static void test_check_tcg(void **state)
{
    (void)state;
    static const struct fake_step tcg[] = {
        {.what = FAKE_ACCEPT}, PROBE_7("false"), {.what = FAKE_EXPECT_END}};
    static const struct fake_step tcg_unsafe[] = {
        {.what = FAKE_ACCEPT}, PROBE_7("false"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    static const struct fake_step kvm[] = {
        {.what = FAKE_ACCEPT}, PROBE_7("true"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    static const struct fake_step tcg_10[] = {
        {.what = FAKE_ACCEPT}, PROBE("false"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    CHECK("7.2", tcg, SETTINGS(.unsafe = false), ERR_REFUSED, "QEMU 7.2.2 under TCG corrupts");
    CHECK("7.2", tcg_unsafe, SETTINGS(.unsafe = true), ERR_NONE, "");
    CHECK("7.2", kvm, SETTINGS(.unsafe = false), ERR_NONE, "");
    CHECK("10.0", tcg_10, SETTINGS(.unsafe = false), ERR_NONE, "");
}

#define SMALL_SCHEMA                                                                                             \
    "[{\"name\":\"migrate-set-parameters\",\"meta-type\":\"command\",\"arg-type\":\"1\",\"ret-type\":\"2\"},"    \
    "{\"name\":\"1\",\"meta-type\":\"object\",\"members\":[{\"name\":\"multifd-compression\",\"type\":\"3\"}]}," \
    "{\"name\":\"3\",\"meta-type\":\"enum\",\"values\":[\"none\",\"zlib\"]}]"

static void test_check_compression(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        PROBE("true"),
        CAPS(USUAL),
        {.what = FAKE_LOOSE, .command = "query-qmp-schema", .text = SMALL_SCHEMA},
        {.what = FAKE_EXPECT_END}};
    static const struct fake_step unasked[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    CHECK("10.0", steps, SETTINGS(.multifd_channels = 2, .compression = VM_COMPRESSION_ZLIB),
          ERR_NONE, "");
    CHECK("10.0", steps, SETTINGS(.multifd_channels = 2, .compression = VM_COMPRESSION_ZSTD),
          ERR_REFUSED, "source: QEMU 10.0.2 cannot compress with zstd");
    CHECK("10.0", unasked, SETTINGS(.compression = VM_COMPRESSION_ZSTD), ERR_REFUSED,
          "compression zstd needs multifd");
}

#define PARAMETERS                                                                      \
    REPLY("query-migrate-parameters",                                                   \
          "{\"max-bandwidth\":134217728,\"downtime-limit\":300,\"multifd-channels\":2," \
          "\"multifd-compression\":\"zlib\",\"xbzrle-cache-size\":67108864}")
#define SET(cmd, args)                                        \
    {                                                         \
        .what = FAKE_REPLY, .command = cmd, .arguments = args \
    }
#define SET_BACK                                                                              \
    SET("migrate-set-parameters",                                                             \
        "{\"max-bandwidth\":134217728,\"downtime-limit\":300,\"multifd-channels\":2,"         \
        "\"multifd-compression\":\"zlib\"}"),                                                 \
        SET("migrate-set-capabilities",                                                       \
            "{\"capabilities\":[" CAP("events", "false") "," CAP("multifd", "false") "," CAP( \
                "postcopy-ram", "false") "," CAP("return-path",                               \
                                                 "false") "," CAP("pause-before-switchover",  \
                                                                  "true") "]}")
#define SET_CAPABILITIES                                                            \
    "{\"capabilities\":[" CAP("events", "true") "," CAP("multifd", "true") "," CAP( \
        "postcopy-ram", "false") "," CAP("return-path",                             \
                                         "false") "," CAP("pause-before-switchover", "false") "]}"
#define SET_PARAMETERS                                                         \
    "{\"max-bandwidth\":1000000,\"downtime-limit\":21,\"multifd-channels\":4," \
    "\"multifd-compression\":\"none\"}"

static const struct vm_settings some = {
    .max_bandwidth_bytes_per_s = 1000000,
    .downtime_limit_ns = 20 * NS_PER_MS + 1, /* rounded up: a limit of 0 ms never ends */
    .multifd_channels = 4,
};

static void test_configure_and_restore(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        CAPS(USUAL "," CAP("xbzrle", "true")),
        PARAMETERS,
        SET("migrate-set-capabilities", SET_CAPABILITIES),
        SET("migrate-set-parameters", SET_PARAMETERS),
        SET_BACK,
        {.what = FAKE_EXPECT_END},
    };
    static const char *const versions[] = {"7.2", "10.0"};
    for (int v = 0; v < 2; v++) {
        struct side s;
        int64_t limit_ns = 0;
        open_side(&s, FAKE_QMP(versions[v], steps));
        assert_int_equal(s.vm->ops->configure(s.vm, &some, &limit_ns, &s.e), 0);
        assert_int_equal(limit_ns, 21 * NS_PER_MS);
        assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
        assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e),
                         0); /* nothing is left to do */
        close_side(&s);
    }
}

/* Where the engine has found that both sides can; else it stays as it is. */
static void test_proof(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        PROBE("true"),
        CAPS(USUAL "," CAP("validate-uuid", "false")),
        CAPS(USUAL "," CAP("validate-uuid", "false")),
        PARAMETERS,
        SET("migrate-set-capabilities",
            "{\"capabilities\":[" CAP("events", "true") "," CAP("multifd", "false") "," CAP(
                "postcopy-ram", "false") "," CAP("return-path",
                                                 "false") "," CAP("pause-before-switchover",
                                                                  "false") "," CAP("validate-uuid",
                                                                                   "true") "]}"),
        SET("migrate-set-parameters", NULL),
        SET("migrate-set-parameters", NULL),
        SET("migrate-set-capabilities",
            "{\"capabilities\":[" CAP("events", "false") "," CAP("multifd", "false") "," CAP(
                "postcopy-ram", "false") "," CAP("return-path",
                                                 "false") "," CAP("pause-before-switchover",
                                                                  "true") "," CAP("validate-uuid",
                                                                                  "false") "]}"),
        {.what = FAKE_EXPECT_END},
    };
    static const struct fake_step without[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), CAPS(USUAL), {.what = FAKE_EXPECT_END}};
    const struct vm_settings none = {0};
    struct side s;
    int64_t limit_ns;
    open_probed(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->check(s.vm, &none, &s.e), 0);
    assert_true(s.vm->proof.can && !s.vm->proof.on);
    s.vm->proof.on = true;
    assert_int_equal(s.vm->ops->configure(s.vm, &none, &limit_ns, &s.e), 0);
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
    close_side(&s);
    open_probed(&s, FAKE_QMP("10.0", without));
    assert_int_equal(s.vm->ops->check(s.vm, &none, &s.e), 0);
    assert_false(s.vm->proof.can);
    close_side(&s);
}

static void test_configure_fails_half_way(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        CAPS(USUAL),
        PARAMETERS,
        SET("migrate-set-capabilities", SET_CAPABILITIES),
        {.what = FAKE_ERROR, .command = "migrate-set-parameters", .text = "too many channels"},
        SET_BACK,
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    int64_t limit_ns;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->configure(s.vm, &some, &limit_ns, &s.e), -1);
    expect(&s, ERR_QMP, "source: migrate-set-parameters: too many channels");
    close_side(&s);
}

/* What a QEMU says to query-qmp-schema, as it was recorded. */
static const char *recorded_schema(const char *version)
{
    static char text[64 * 1024];
    char path[256];
    snprintf(path, sizeof path, SCHEMA_DIR "/schema-%s.json", version);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    assert_true(n > 1000 && n < sizeof text - 1);
    text[n] = '\0';
    fclose(f);
    return text;
}
#define SCHEMA(version)                                                                     \
    {                                                                                       \
        .what = FAKE_LOOSE, .command = "query-qmp-schema", .text = recorded_schema(version) \
    }

#define SET_BY_NAME(...)                             \
    .set = (const struct vm_setting[]){__VA_ARGS__}, \
    .set_n = sizeof((const struct vm_setting[]){__VA_ARGS__}) / sizeof(struct vm_setting)

static const struct by_name {
    const char *version;
    struct vm_settings settings;
    const char *says; /* NULL: it will be done */
} by_name[] = {
    {"10.0", {SET_BY_NAME({"auto-converge", "on"}, {"cpu-throttle-increment", "20"})}, NULL},
    {"10.0", {SET_BY_NAME({"max-postcopy-bandwidth", "50M"}, {"tls-hostname", "b"})}, NULL},
    {"10.0", {SET_BY_NAME({"multifd-compression", "zstd"}), .multifd_channels = 2}, NULL},
    {"10.0", {SET_BY_NAME({"multifd", "true"}, {"multifd-zstd-level", "3"})}, NULL},
    {"10.0", {SET_BY_NAME({"postcopy-preempt", "on"}), .postcopy = true}, NULL},
    {"10.0", {SET_BY_NAME({"postcopy-ram", "off"}, {"x-colo", "off"})}, NULL},

    {"10.0",
     {SET_BY_NAME({"auto-convrege", "on"})},
     "'auto-convrege' is neither a migration capability nor a parameter of the source's QEMU 10.0.2"},
    {"10.0", {SET_BY_NAME({"compress", "off"})}, "'compress' is neither"}, /* 7.2 has it */
    {"7.2", {SET_BY_NAME({"compress", "on"})}, "'compress' cannot be set"},
    {"7.2", {SET_BY_NAME({"zero-page-detection", "none"})}, "is neither"}, /* 10.0 has it */
    {"10.0", {SET_BY_NAME({"auto-converge", "1"})}, "takes on or off, not '1'"},
    {"10.0", {SET_BY_NAME({"cpu-throttle-tailslow", "yes"})}, "takes on or off, not 'yes'"},
    {"10.0", {SET_BY_NAME({"downtime-limit", "20ms"})}, "takes a whole number, not '20ms'"},
    {"10.0", {SET_BY_NAME({"downtime-limit", "0.3"})}, "takes a whole number, not '0.3'"},
    {"10.0", {SET_BY_NAME({"cpu-throttle-increment", "20.0"})}, "takes a whole number, not '20.0'"},
    {"10.0",
     {SET_BY_NAME({"max-postcopy-bandwidth", "1.5G"}, {"xbzrle-cache-size", "67108864"})},
     NULL},
    {"10.0",
     {SET_BY_NAME({"multifd-compression", "lz4"})},
     "takes one of none, zlib, zstd, not 'lz4'"},
    {"10.0", {SET_BY_NAME({"block-bitmap-mapping", "x"})}, "more than a word"},
    {"10.0", {SET_BY_NAME({"block-bitmap-mapping.node-name", "x"})}, "is neither a migration"},

    {"10.0", {SET_BY_NAME({"return-path", "on"})}, "'return-path' cannot be set"},
    {"10.0", {SET_BY_NAME({"events", "off"})}, "'events' cannot be set"},
    {"10.0", {SET_BY_NAME({"pause-before-switchover", "on"})}, "cannot be set"},
    {"10.0", {SET_BY_NAME({"x-colo", "on"})}, "cannot be set"},
    {"10.0", {SET_BY_NAME({"mapped-ram", "on"})}, "cannot be set"},
    {"10.0", {SET_BY_NAME({"mode", "cpr-reboot"})}, "cannot be set"},
    {"7.2", {SET_BY_NAME({"block", "on"})}, "cannot be set"},

    {"10.0", {SET_BY_NAME({"multifd", "off"}), .multifd_channels = 2}, "contradicts --multifd"},
    {"10.0",
     {SET_BY_NAME({"multifd-channels", "2"}), .multifd_channels = 2},
     "contradicts --multifd"},
    {"10.0",
     {SET_BY_NAME({"multifd-compression", "none"}), .multifd_channels = 2,
      .compression = VM_COMPRESSION_ZSTD},
     "contradicts --compression"},
    {"10.0",
     {SET_BY_NAME({"downtime-limit", "20"}), .downtime_limit_ns = 1},
     "contradicts --downtime-limit"},
    {"10.0",
     {SET_BY_NAME({"max-bandwidth", "1M"}), .max_bandwidth_bytes_per_s = 1},
     "contradicts --max-bandwidth"},
    {"10.0", {SET_BY_NAME({"postcopy-ram", "off"}), .postcopy = true}, "contradicts --postcopy"},
    {"10.0", {SET_BY_NAME({"postcopy-ram", "on"})}, "say --postcopy"},

    {"10.0", {SET_BY_NAME({"postcopy-preempt", "on"})}, "postcopy-preempt needs postcopy-ram"},
    {"10.0",
     {SET_BY_NAME({"xbzrle", "on"}), .multifd_channels = 2},
     "multifd cannot go with xbzrle"},
    {"10.0",
     {SET_BY_NAME({"multifd", "on"}), .postcopy = true},
     "multifd cannot go with postcopy-ram"},
    {"10.0", {SET_BY_NAME({"auto-converge", "on"}, {"dirty-limit", "on"})}, "both throttle"},
    {"10.0", {SET_BY_NAME({"switchover-ack", "on"})}, "needs return-path"},
    {"10.0", {SET_BY_NAME({"multifd-compression", "zstd"})}, "needs multifd"},
    {"10.0",
     {SET_BY_NAME({"zero-copy-send", "on"}, {"multifd-compression", "zlib"}),
      .multifd_channels = 2},
     "'zero-copy-send' cannot go with compression"},
};

static void test_check_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof by_name / sizeof *by_name; i++) {
        const struct by_name *b = &by_name[i];
        const struct fake_step refused[] = {
            {.what = FAKE_ACCEPT}, PROBE("true"), SCHEMA(b->version), {.what = FAKE_EXPECT_END}};
        const struct fake_step done[] = {
            {.what = FAKE_ACCEPT},
            PROBE("true"),
            SCHEMA(b->version),
            CAPS(USUAL "," CAP("auto-converge", "false") "," CAP("postcopy-preempt", "false")),
            {.what = FAKE_EXPECT_END}};
        if (b->says != NULL)
            check("10.0", refused, sizeof refused / sizeof *refused, &b->settings, ERR_REFUSED,
                  b->says);
        else
            check("10.0", done, sizeof done / sizeof *done, &b->settings, ERR_NONE, "");
    }
}

static void test_unknown_name_has_a_hint(void **state)
{
    (void)state;
    static const struct {
        const char *name, *hint;
    } names[] = {
        {"auto-convrege", "it has auto-converge"},
        {"cpu-throttle-incremnt", "cpu-throttle-increment"},
        {"zstd-level", "multifd-zstd-level"},
        {"warp", "query-migrate-parameters"},
        {"a-name-that-is-longer-than-any-that-a-qemu-has-ever-had-and-goes-on", "list them"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct fake_step steps[] = {
            {.what = FAKE_ACCEPT}, PROBE("true"), SCHEMA("10.0"), {.what = FAKE_EXPECT_END}};
        struct side s;
        const struct vm_setting set = {names[i].name, "on"};
        open_probed(&s, FAKE_QMP("10.0", steps));
        assert_int_equal(
            s.vm->ops->check(s.vm, &(struct vm_settings){.set = &set, .set_n = 1}, &s.e), -1);
        if (strstr(s.e.hint, names[i].hint) == NULL)
            fail_msg("%s: %s", s.e.msg, s.e.hint);
        close_side(&s);
    }
}

#define MORE_PARAMETERS                                                                 \
    REPLY("query-migrate-parameters",                                                   \
          "{\"max-bandwidth\":134217728,\"downtime-limit\":300,\"multifd-channels\":2," \
          "\"cpu-throttle-increment\":10,\"announce-rounds\":5,\"tls-creds\":\"\"}")
#define MORE_CAPABILITIES(ours, converge, pause)                                            \
    "{\"capabilities\":[" CAP("events", ours) "," CAP("multifd", "false") "," CAP(          \
        "postcopy-ram", "false") "," CAP("return-path",                                     \
                                         "false") "," CAP("pause-before-switchover", pause) \
        converge "," CAP("validate-uuid", ours) "]}"

static const struct vm_settings more = {
    SET_BY_NAME({"auto-converge", "on"}, {"validate-uuid", "on"}, {"cpu-throttle-increment", "20"},
                {"downtime-limit", "50"}, {"announce-rounds", "7"}, {"tls-creds", "tls0"})};

static void configure_by_name(const char *role, const struct fake_step *steps, size_t count,
                              int64_t limit_ns)
{
    struct side s;
    int64_t limit = 0;
    open_as(&s, role, fake_qmp_start("10.0", FAKE_UNIX, steps, count));
    if (s.vm->ops->configure(s.vm, &more, &limit, &s.e) < 0)
        fail_msg("%s", s.e.msg);
    assert_int_equal(limit, limit_ns);
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
    close_side(&s);
}

/* On the destination: but for what it has no use for. */
static void test_by_name_and_put_back(void **state)
{
    (void)state;
    const struct fake_step source[] = {
        {.what = FAKE_ACCEPT},
        SCHEMA("10.0"),
        CAPS(USUAL "," CAP("auto-converge", "false") "," CAP("validate-uuid", "false")),
        MORE_PARAMETERS,
        SET("migrate-set-capabilities",
            MORE_CAPABILITIES("true", "," CAP("auto-converge", "true"), "false")),
        SET("migrate-set-parameters",
            "{\"max-bandwidth\":0,\"downtime-limit\":50,\"multifd-channels\":2,"
            "\"cpu-throttle-increment\":20,\"announce-rounds\":7,\"tls-creds\":\"tls0\"}"),
        SET("migrate-set-parameters",
            "{\"max-bandwidth\":134217728,\"downtime-limit\":300,\"multifd-channels\":2,"
            "\"cpu-throttle-increment\":10,\"announce-rounds\":5,\"tls-creds\":\"\"}"),
        SET("migrate-set-capabilities",
            MORE_CAPABILITIES("false", "," CAP("auto-converge", "false"), "true")),
        {.what = FAKE_EXPECT_END},
    };
    const struct fake_step destination[] = {
        {.what = FAKE_ACCEPT},
        SCHEMA("10.0"),
        CAPS(USUAL "," CAP("auto-converge", "false") "," CAP("validate-uuid", "false")),
        MORE_PARAMETERS,
        SET("migrate-set-capabilities", MORE_CAPABILITIES("true", "", "false")),
        SET("migrate-set-parameters",
            "{\"max-bandwidth\":0,\"downtime-limit\":300,\"multifd-channels\":2,"
            "\"announce-rounds\":7,\"tls-creds\":\"tls0\"}"),
        SET("migrate-set-parameters",
            "{\"max-bandwidth\":134217728,\"downtime-limit\":300,\"multifd-channels\":2,"
            "\"announce-rounds\":5,\"tls-creds\":\"\"}"),
        SET("migrate-set-capabilities", MORE_CAPABILITIES("false", "", "true")),
        {.what = FAKE_EXPECT_END},
    };
    configure_by_name("source", source, sizeof source / sizeof *source, 50 * NS_PER_MS);
    configure_by_name("destination", destination, sizeof destination / sizeof *destination,
                      300 * NS_PER_MS);
}

#define MULTIFD_PARAMETERS(bandwidth, channels, compression)                                 \
    "{\"max-bandwidth\":" bandwidth ",\"downtime-limit\":300,\"multifd-channels\":" channels \
    ",\"multifd-compression\":\"" compression "\"}"

static void configure_and_restore(const struct vm_settings *settings, const struct fake_step *steps,
                                  size_t count)
{
    struct side s;
    int64_t limit_ns;
    open_side(&s, fake_qmp_start("10.0", FAKE_UNIX, steps, count));
    if (s.vm->ops->configure(s.vm, settings, &limit_ns, &s.e) < 0 ||
        s.vm->ops->configure(s.vm, NULL, NULL, &s.e) < 0)
        fail_msg("%s", s.e.msg);
    close_side(&s);
}

/* Two sides whose own values differ get the same, but for what is said by name. */
static void test_multifd_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *channels, *compression; /* at rest */
    } sides[] = {{"3", "zlib"}, {"8", "none"}};
    const struct vm_settings alone = {SET_BY_NAME({"multifd", "on"})};
    const struct vm_settings named = {
        SET_BY_NAME({"multifd", "on"}, {"multifd-channels", "5"}, {"multifd-compression", "zstd"})};
    for (int i = 0; i < 4; i++) {
        const char *in_force = i % 2 == 0 ? MULTIFD_PARAMETERS("0", "2", "none")
                                          : MULTIFD_PARAMETERS("0", "5", "zstd");
        char at_rest[200];
        snprintf(at_rest, sizeof at_rest,
                 "{\"max-bandwidth\":0,\"downtime-limit\":300,\"multifd-channels\":%s,"
                 "\"multifd-compression\":\"%s\"}",
                 sides[i / 2].channels, sides[i / 2].compression);
        const struct fake_step steps[] = {
            {.what = FAKE_ACCEPT},
            SCHEMA("10.0"),
            CAPS(USUAL),
            {.what = FAKE_REPLY, .command = "query-migrate-parameters", .text = at_rest},
            SET("migrate-set-capabilities", SET_CAPABILITIES),
            SET("migrate-set-parameters", in_force),
            SET("migrate-set-parameters", at_rest),
            SET("migrate-set-capabilities", NULL),
            {.what = FAKE_EXPECT_END},
        };
        configure_and_restore(i % 2 == 0 ? &alone : &named, steps, sizeof steps / sizeof *steps);
    }
}

/* Nothing is sent then. */
static void test_by_name_cannot_be_put_back(void **state)
{
    (void)state;
    const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SCHEMA("10.0"),
        CAPS(USUAL "," CAP("auto-converge", "false") "," CAP("validate-uuid", "false")),
        PARAMETERS,
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    int64_t limit_ns;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->configure(s.vm, &more, &limit_ns, &s.e), -1);
    expect(&s, ERR_REFUSED, "source: QEMU does not report what 'cpu-throttle-increment' is");
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
    close_side(&s);
}

/* QEMU refuses zero-copy-send and compression together, also for a moment: a source with the one at
 * rest that migrates with the other. */
#define ZERO_COPY_CAPABILITIES(events, pause, zero_copy)                                       \
    SET("migrate-set-capabilities",                                                            \
        "{\"capabilities\":[" CAP("events", events) "," CAP("multifd", "true") "," CAP(        \
            "postcopy-ram", "false") "," CAP("return-path",                                    \
                                             "false") "," CAP("pause-before-switchover",       \
                                                              pause) "," CAP("zero-copy-send", \
                                                                             zero_copy) "]}")
#define ZERO_COPY_AT_REST(zero_copy, compression)                                           \
    CAPS(CAP("events", "false") "," CAP("multifd", "true") "," CAP(                         \
        "postcopy-ram", "false") "," CAP("return-path",                                     \
                                         "false") "," CAP("pause-before-switchover",        \
                                                          "true") "," CAP("zero-copy-send", \
                                                                          zero_copy)),      \
        REPLY("query-migrate-parameters", MULTIFD_PARAMETERS("7000", "3", compression))

static void test_restore_goes_back_the_same_way(void **state)
{
    (void)state;
    const struct fake_step off[] = {
        {.what = FAKE_ACCEPT},
        SCHEMA("10.0"),
        ZERO_COPY_AT_REST("true", "none"),
        ZERO_COPY_CAPABILITIES("true", "false", "false"),
        SET("migrate-set-parameters", MULTIFD_PARAMETERS("0", "4", "zstd")),
        SET("migrate-set-parameters", MULTIFD_PARAMETERS("7000", "3", "none")),
        ZERO_COPY_CAPABILITIES("false", "true", "true"),
        {.what = FAKE_EXPECT_END},
    };
    const struct fake_step on[] = {
        {.what = FAKE_ACCEPT},
        SCHEMA("10.0"),
        ZERO_COPY_AT_REST("false", "zlib"),
        SET("migrate-set-parameters", MULTIFD_PARAMETERS("0", "4", "none")),
        ZERO_COPY_CAPABILITIES("true", "false", "true"),
        ZERO_COPY_CAPABILITIES("false", "true", "false"),
        SET("migrate-set-parameters", MULTIFD_PARAMETERS("7000", "3", "zlib")),
        {.what = FAKE_EXPECT_END},
    };
    configure_and_restore(&(struct vm_settings){SET_BY_NAME({"zero-copy-send", "off"}),
                                                .multifd_channels = 4,
                                                .compression = VM_COMPRESSION_ZSTD},
                          off, sizeof off / sizeof *off);
    configure_and_restore(&(struct vm_settings){SET_BY_NAME({"zero-copy-send", "on"}),
                                                .multifd_channels = 4},
                          on, sizeof on / sizeof *on);
}

static void test_restore_does_what_it_can(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        CAPS(USUAL),
        PARAMETERS,
        SET("migrate-set-capabilities", SET_CAPABILITIES),
        SET("migrate-set-parameters", SET_PARAMETERS),
        {.what = FAKE_ERROR, .command = "migrate-set-parameters", .text = "not these"},
        {.what = FAKE_ERROR, .command = "migrate-set-capabilities", .text = "nor those"},
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    int64_t limit_ns;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->configure(s.vm, &some, &limit_ns, &s.e), 0);
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), -1);
    expect(&s, ERR_QMP, "not these");
    close_side(&s);
}

static void test_listen_arms_first(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SET("cont", NULL),
        SET("migrate-incoming", "{\"uri\":\"tcp:0:4444\"}"),
        SET("migrate", "{\"uri\":\"tcp:b:4444\"}"),
        SET("migrate-start-postcopy", NULL),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->listen(s.vm, "tcp:0:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->switch_over(s.vm, &s.e), 0);
    close_side(&s);
}

#define GATE_STATE "{\"state\":\"pre-switchover\"}"
#define AT_GATE                                                                               \
    {                                                                                         \
        .what = FAKE_EVENT, .command = "MIGRATION", .text = "{\"status\":\"pre-switchover\"}" \
    }
#define STANDS REPLY("query-migrate", "{\"status\":\"pre-switchover\"}"), STATUS("finish-migrate")

/* A source that stands at its gate is let go on: at its word, and where that was not heard by what it
 * is seen to do; and no more once it has been told to give up. */
static void test_gate(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        AT_GATE, /* of somebody else's migration */
        SET("migrate", "{\"uri\":\"tcp:b:4444\"}"),
        AT_GATE,
        SET("migrate-continue", GATE_STATE),
        STANDS,
        SET("migrate-continue", GATE_STATE),
        SET("migrate_cancel", NULL),
        AT_GATE,
        STANDS,
        REPLY("query-migrate", "{\"status\":\"cancelled\"}"),
        STATUS("running"),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    struct vm_sample sample;
    open_side(&s, FAKE_QMP("10.0", steps));
    ((struct vm_qmp *)s.vm)->gated = true;
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    if (s.vm->ops->sample(s.vm, &sample, &s.e) < 0) {
        fake_qmp_end(s.fake);
        fail_msg("%s", s.e.msg);
    }
    assert_int_equal(sample.migration, VM_MIGRATION_ACTIVE);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    if (s.vm->ops->cancel(s.vm, &s.e) < 0)
        fail_msg("%s", s.e.msg);
    close_side(&s);
}

/* Without a gate nobody's is opened. */
static void test_no_gate(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},     SET("migrate", "{\"uri\":\"tcp:b:4444\"}"), AT_GATE, STANDS,
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    struct vm_sample sample;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    close_side(&s);
}

static void test_run_and_events(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SET("stop", NULL),
        STATUS("inmigrate"),
        {.what = FAKE_EVENT, .command = "STOP"},
        {.what = FAKE_EVENT, .command = "RESUME"},
        SET("cont", NULL),
        STATUS("running"),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    enum vm_run now;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_int_equal(now, VM_RUN_INCOMING);
    assert_int_equal(s.vm->ops->run(s.vm, true, &now, &s.e), 0);
    assert_int_equal(now, VM_RUN_RUNNING);
    assert_true(s.vm->changed && s.vm->seen.stopped_ns > 0);
    assert_true(s.vm->seen.resumed_ns >= s.vm->seen.stopped_ns);
    close_side(&s);
}

static void test_cancel_waits(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        SET("migrate_cancel", NULL),
        REPLY("query-migrate", "{\"status\":\"cancelling\"}"),
        STATUS("finish-migrate"),
        REPLY("query-migrate", "{\"status\":\"cancelled\"}"),
        STATUS("running"),
        {.what = FAKE_EXPECT_END},
    };
    struct side s;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->cancel(s.vm, &s.e), 0);
    close_side(&s);
}

/* ssh drops, QEMU lives: the next operation connects anew. Also when Ctrl-C has been pressed: the
 * roll-back has to be said on this line. */
static void test_reconnect(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT}, {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT}, REPLY("query-migrate", "{\"status\":\"active\"}"),
        STATUS("running"),     {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT}, SET("stop", NULL),
        STATUS("paused"),      {.what = FAKE_EXPECT_END},
    };
    struct side s;
    struct vm_sample sample;
    enum vm_run now;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(loop_catch_signals(s.loop, &s.e), 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_true(s.vm->changed);
    assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
    assert_int_equal(sample.migration, VM_MIGRATION_ACTIVE);
    raise(SIGINT);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(loop_interrupts(s.loop), 1);
    if (s.vm->ops->run(s.vm, false, &now, &s.e) < 0)
        fail_msg("%s: %s", err_class_name(s.e.class), s.e.msg);
    assert_int_equal(now, VM_RUN_STOPPED);
    close_side(&s);
}

/* Runs it by sh, as a person would; what it says. */
static void type(const char *command, char *said, size_t room)
{
    FILE *f = popen(command, "re");
    assert_non_null(f);
    said[fread(said, 1, room - 1, f)] = '\0';
    assert_int_equal(pclose(f), 0);
}

/* What is printed in an emergency can be typed as it is. */
static void test_commands_can_be_typed(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},       {.what = FAKE_CLOSE}, {.what = FAKE_ACCEPT},
        STATUS("inmigrate"),         {.what = FAKE_CLOSE}, {.what = FAKE_ACCEPT},
        SET("migrate_cancel", NULL), SET("cont", NULL),    {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},       SET("stop", NULL),    {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},       SET("quit", NULL),    {.what = FAKE_CLOSE}};
    enum fake_transport transports[] = {FAKE_UNIX, FAKE_TCP};
    for (size_t i = 0; i < sizeof transports / sizeof *transports; i++) {
        struct side s;
        char said[4096];
        open_side(&s, fake_qmp_start("10.0", transports[i], steps, sizeof steps / sizeof *steps));
        const struct vm_commands *h = &s.vm->commands;
        type(h->look, said, sizeof said);
        assert_non_null(strstr(said, "\"status\":\"inmigrate\""));
        type(h->go_on, said, sizeof said);
        type(h->stop, said, sizeof said);
        type(h->end, said, sizeof said);
        close_side(&s);
    }
}

/* A path that is words for the shell, and signs for socat; over ssh it is typed there. */
static void test_commands_are_quoted(void **state)
{
    (void)state;
    char dir[] = "/tmp/test-vm-hand-XXXXXX", link[64], text[96], said[4096];
    static const struct fake_step steps[] = {{.what = FAKE_ACCEPT},
                                             {.what = FAKE_CLOSE},
                                             {.what = FAKE_ACCEPT},
                                             STATUS("running"),
                                             {.what = FAKE_CLOSE}};
    struct qmp_endpoint ep;
    struct side s = {.fake = FAKE_QMP("10.0", steps)};
    assert_non_null(mkdtemp(dir));
    snprintf(link, sizeof link, "%s/it's, a:b $x", dir);
    assert_int_equal(symlink(fake_qmp_path(s.fake), link), 0);
    snprintf(text, sizeof text, "qmp+unix:%s", link);
    s.loop = loop_new(&s.e);
    assert_int_equal(qmp_endpoint_parse(text, &ep, &s.e), 0);
    s.vm = vm_qmp_open(s.loop, &ep, "destination", &s.e);
    assert_non_null(s.vm);
    type(s.vm->commands.look, said, sizeof said);
    assert_non_null(strstr(said, "\"status\":\"running\""));
    close_side(&s);
    unlink(link);
    rmdir(dir);
}

static void test_quit(void **state)
{
    (void)state;
    static const struct fake_step answered[] = {
        {.what = FAKE_ACCEPT}, SET("quit", NULL), {.what = FAKE_CLOSE}};
    static const struct fake_step gone[] = {
        {.what = FAKE_ACCEPT}, {.what = FAKE_HOLD, .command = "quit"}, {.what = FAKE_CLOSE}};
    struct side s;
    open_side(&s, FAKE_QMP("10.0", answered));
    assert_int_equal(s.vm->ops->quit(s.vm, &s.e), 0);
    close_side(&s);
    open_side(&s, FAKE_QMP("10.0", gone));
    assert_int_equal(s.vm->ops->quit(s.vm, &s.e), 0);
    close_side(&s);
}

/* A forwarder that has ended, or a firewall, refuses as well as a machine whose QEMU is gone. */
static void test_refused_is_no_death(void **state)
{
    (void)state;
    static const struct fake_step dies[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_UNLISTEN}, {.what = FAKE_CLOSE}};
    static const struct fake_step lives[] = {{.what = FAKE_ACCEPT},
                                             PROBE("true"),
                                             {.what = FAKE_CLOSE},
                                             {.what = FAKE_ACCEPT},
                                             VERSION(10, 0),
                                             CPUS,
                                             UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
                                             {.what = FAKE_EXPECT_END}};
    struct side s;
    set_thread(1); /* not of who answers: a forwarder */
    open_probed(&s, fake_qmp_start("10.0", FAKE_TCP, dies, sizeof dies / sizeof *dies));
    assert_int_equal(s.facts.peer_pid, 0);
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    close_side(&s);
    open_probed(&s, fake_qmp_start("10.0", FAKE_TCP, lives, sizeof lives / sizeof *lives));
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
    close_side(&s);
    set_thread(getpid());
}

/* ---- fakes in processes of their own, which end ---- */

struct other {
    pid_t pid; /* as this process sees it */
    pid_t child;
    char path[100], endpoint[128];
};

enum other_where { HERE, IN_A_CONTAINER };

/* In the child: says where it listens, and plays its part. */
static void other_play(int words, enum fake_transport transport, const struct fake_step *steps,
                       size_t count, const char *listen_at)
{
    struct other said = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when a check fails over there */
    set_thread((int)syscall(SYS_gettid));
    struct fake_qmp *fake = fake_qmp_start("10.0", transport, steps, count);
    snprintf(said.endpoint, sizeof said.endpoint, "%s", fake_qmp_endpoint(fake));
    if (transport == FAKE_UNIX)
        snprintf(said.path, sizeof said.path, "%s", fake_qmp_path(fake));
    if (listen_at != NULL && rename(said.path, listen_at) < 0)
        _exit(1);
    if (write(words, &said, sizeof said) != sizeof said)
        _exit(1);
    pause();
    _exit(0);
}

/* The process of `child`'s first child, where that is in a container. */
static pid_t other_inner(pid_t child)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)child, (int)child);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    return pid;
}

/* False: this machine does not let us make a container. */
static bool other_start(struct other *o, enum other_where where, enum fake_transport transport,
                        const struct fake_step *steps, size_t count, const char *listen_at)
{
    int words[2];
    assert_int_equal(pipe(words), 0);
    pid_t child = fork();
    if (child == 0) {
        close(words[0]);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (where == IN_A_CONTAINER) {
            if (unshare(CLONE_NEWPID) < 0)
                _exit(77);
            pid_t inner = fork();
            if (inner > 0) {
                close(words[1]);
                waitpid(inner, NULL, 0);
                _exit(0);
            }
        }
        other_play(words[1], transport, steps, count, listen_at);
    }
    close(words[1]);
    bool made = read(words[0], o, sizeof *o) == sizeof *o;
    close(words[0]);
    o->child = child;
    if (made)
        o->pid = where == IN_A_CONTAINER ? other_inner(child) : child;
    else
        waitpid(child, NULL, 0);
    return made;
}

/* Until it is a zombie, or, in a container, waited for: a busy machine takes its time. */
static void other_kill(const struct other *o)
{
    siginfo_t info;
    assert_int_equal(kill(o->pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)o->child, &info, WEXITED | WNOWAIT), 0);
}

static void other_end(struct other *o)
{
    kill(o->pid, SIGKILL);
    waitpid(o->child, NULL, 0);
    unlink(o->path);
    if (o->path[0] != '\0') {
        *strrchr(o->path, '/') = '\0';
        rmdir(o->path);
    }
}

static void open_other(struct side *s, const char *endpoint)
{
    struct qmp_endpoint ep;
    *s = (struct side){.loop = loop_new(&s->e)};
    assert_int_equal(qmp_endpoint_parse(endpoint, &ep, &s->e), 0);
    s->vm = vm_qmp_open(s->loop, &ep, "destination", &s->e);
    if (s->vm == NULL || s->vm->ops->probe(s->vm, &s->facts, &s->e) < 0)
        fail_msg("%s", s->e.msg);
}

static void close_other(struct side *s)
{
    s->vm->ops->close(s->vm);
    loop_free(s->loop);
}

static const struct fake_step probed_only[] = {
    {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_EXPECT_END}};
enum { PROBED_ONLY = sizeof probed_only / sizeof *probed_only };

/* It is known by its socket and its thread, whatever its program is called, also over TCP and in a PID
 * namespace of its own; then its end is a fact. */
static void test_death_by_process(void **state)
{
    (void)state;
    static const struct {
        enum other_where where;
        enum fake_transport transport;
    } cases[] = {{HERE, FAKE_UNIX},
                 {HERE, FAKE_TCP},
                 {IN_A_CONTAINER, FAKE_UNIX},
                 {IN_A_CONTAINER, FAKE_TCP}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct other o;
        struct side s;
        if (!other_start(&o, cases[i].where, cases[i].transport, probed_only, PROBED_ONLY, NULL)) {
            assert_int_not_equal(geteuid(), 0);
            continue;
        }
        open_other(&s, o.endpoint);
        assert_int_equal(s.facts.peer_pid, o.pid);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
        other_kill(&o);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        waitpid(o.child, NULL, 0);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        close_other(&s);
        other_end(&o);
    }
}

#define AGAIN VERSION(10, 0), CPUS, UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")

/* The one that was probed lives, and another, in a container of its own, has its socket's name, its thread's
 * number, its version and its guest's UUID: the kernel tells who is at the other end. */
static void test_another_process_answers(void **state)
{
    (void)state;
    static const struct fake_step first[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_CLOSE}};
    static const struct fake_step second[] = {
        {.what = FAKE_ACCEPT}, AGAIN, {.what = FAKE_EXPECT_END}};
    struct other a, b;
    struct side s;
    enum vm_run now;
    if (!other_start(&a, IN_A_CONTAINER, FAKE_UNIX, first, sizeof first / sizeof *first, NULL)) {
        assert_int_not_equal(geteuid(), 0);
        skip();
    }
    open_other(&s, a.endpoint);
    assert_int_equal(s.facts.peer_pid, a.pid);
    assert_true(other_start(&b, IN_A_CONTAINER, FAKE_UNIX, second, sizeof second / sizeof *second,
                            a.path));
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), -1);
    expect(&s, ERR_LOST, "a different QEMU answers than before");
    close_other(&s);
    other_end(&b);
    other_end(&a);
}

#define LOOKED(times, sent, left)                                                                 \
    {.what = FAKE_LOOSE,                                                                          \
     .command = "query-migrate",                                                                  \
     .text =                                                                                      \
         "{\"status\":\"active\",\"ram\":{\"total\":409600,\"transferred\":9,\"remaining\":" left \
         ",\"page-size\":4096,\"normal\":" sent ",\"duplicate\":0,\"mbps\":8.0,"                  \
         "\"dirty-sync-count\":" times "}}"},                                                     \
        STATUS("running")

/* Words of QEMU 11.1.3 with postcopy-ram: it has looked for dirty pages 31 times, and is in its first
 * pass, which the next migration begins anew. */
static void test_passes(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},        SET("migrate", NULL),          LOOKED("1", "1", "405504"),
        LOOKED("31", "50", "300000"), LOOKED("62", "101", "200000"), SET("migrate", NULL),
        LOOKED("1", "0", "409600"),   {.what = FAKE_EXPECT_END}};
    static const uint64_t passes[] = {1, 1, 2};
    struct side s;
    struct vm_sample sample;
    open_side(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
        assert_int_equal(sample.passes, passes[i]);
    }
    assert_int_equal(s.vm->ops->start(s.vm, "tcp:b:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->sample(s.vm, &sample, &s.e), 0);
    assert_int_equal(sample.passes, 1);
    close_side(&s);
}

static char ssh_dir[] = "/tmp/test-vm-ssh-XXXXXX";

/* An ssh that "forwards" to a path of this machine, which is the far one, where the shell is $FAKE_SHELL. */
static void install_ssh(void)
{
    static char old_path[4096];
    char path[sizeof old_path + 64];
    if (old_path[0] != '\0')
        return;
    assert_non_null(mkdtemp(ssh_dir));
    snprintf(path, sizeof path, "%s/ssh", ssh_dir);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs("#!/bin/sh\n"
          "for a; do case $a in\n"
          "/*:/*) ln -s \"${a#*:}\" \"${a%%:*}\"; exec sleep 60 ;;\n"
          "'exec /bin/sh') exec ${FAKE_SHELL:-/bin/sh} ;;\n"
          "esac; done\n",
          f);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
    snprintf(old_path, sizeof old_path, "%s", getenv("PATH"));
    snprintf(path, sizeof path, "%s:%s", ssh_dir, old_path);
    setenv("PATH", path, 1);
}

static int remove_ssh(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/ssh", ssh_dir);
    unlink(path);
    rmdir(ssh_dir);
    return 0;
}

/* It hangs up on each connection after the first, which was looked at by then, before it greets: so does a full
 * backlog look. */
static const struct fake_step hangs_up[] = {{.what = FAKE_ACCEPT},
                                            VERSION(10, 0),
                                            STATUS("running"),
                                            REPLY("query-migrate", "{}"),
                                            MACHINE("pc-q35-10.0"),
                                            MEMORY,
                                            CPUS,
                                            KVM("true"),
                                            UUID("00000000-0000-0000-0000-000000000000"),
                                            REPLY("query-migrate", "{\"status\":\"active\"}"),
                                            STATUS("running"),
                                            {.what = FAKE_CLOSE},
                                            {.what = FAKE_ACCEPT_DUMB},
                                            {.what = FAKE_CLOSE}};
enum { HANGS_UP = sizeof hangs_up / sizeof *hangs_up };

static void open_over_ssh(struct side *s, const char *path)
{
    char endpoint[160], end[256];
    struct vm_sample sample;
    install_ssh();
    snprintf(endpoint, sizeof endpoint, "qmp+ssh://b%s", path);
    open_other(s, endpoint);
    assert_string_equal(s->facts.uuid, ""); /* -uuid was not given */
    assert_int_equal(s->facts.peer_pid, 0); /* it is of this machine's */
    snprintf(end, sizeof end,
             "ssh b 'printf '\\''%%s\\n'\\'' '\\''{\"execute\":\"qmp_capabilities\"}'\\'' "
             "'\\''{\"execute\":\"quit\"}'\\'' | socat -t5 - UNIX-CONNECT:%s'",
             path);
    assert_string_equal(s->vm->commands.end, end);
    assert_int_equal(s->vm->ops->sample(s->vm, &sample, &s->e), 0);
    loop_sleep(s->loop, 20 * NS_PER_MS);
    assert_int_equal(s->vm->ops->sample(s->vm, &sample, &s->e), -1);
    expect(s, ERR_LOST, "closed without a QMP greeting");
}

/* The stream that ends before a greeting says nothing: the process does, also one that is in a container
 * over there, beside another whose socket has the same name and whose thread the same number. */
static void test_death_over_ssh(void **state)
{
    (void)state;
    for (enum other_where where = HERE; where <= IN_A_CONTAINER; where++) {
        struct other o, twin;
        struct side s, of_twin;
        if (!other_start(&o, where, FAKE_UNIX, hangs_up, HANGS_UP, NULL)) {
            assert_int_not_equal(geteuid(), 0);
            continue;
        }
        assert_true(other_start(&twin, where, FAKE_UNIX, probed_only, PROBED_ONLY, NULL));
        open_other(&of_twin, twin.endpoint);
        open_over_ssh(&s, o.path);
        assert_int_equal(((struct vm_qmp *)s.vm)->process.pid, o.pid);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_LIVES);
        other_kill(&o);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        waitpid(o.child, NULL, 0);
        assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_PROCESS_GONE);
        close_other(&of_twin);
        other_end(&twin);
        close_other(&s);
        other_end(&o);
    }
}

static pid_t start_bystander(void)
{
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    return child;
}

/* The far machine has that thread, of a process that lives, named as it may be, and does not have the socket:
 * nothing can be proven by it. */
static void test_a_thread_is_no_process(void **state)
{
    (void)state;
    pid_t bystander = start_bystander();
    struct side s;
    set_thread(bystander);
    struct fake_qmp *fake = fake_qmp_start("10.0", FAKE_UNIX, hangs_up, HANGS_UP);
    open_over_ssh(&s, fake_qmp_path(fake));
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    close_other(&s);
    fake_qmp_end(fake);
    set_thread(getpid());
}

/* Who logs in there must not see whose the socket is: what the process is called is no proof. */
static void test_who_may_not_see_proves_nothing(void **state)
{
    (void)state;
    struct other o;
    struct side s;
    if (geteuid() != 0)
        skip();
    assert_true(other_start(&o, HERE, FAKE_UNIX, hangs_up, HANGS_UP, NULL));
    setenv("FAKE_SHELL", "setpriv --reuid 65534 --clear-groups /bin/sh", 1);
    open_over_ssh(&s, o.path);
    other_kill(&o);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    unsetenv("FAKE_SHELL");
    close_other(&s);
    other_end(&o);
}

/* The socket is another program's: that it is gone says nothing about the QEMU behind it. */
static void test_death_of_a_proxy(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT}, PROBE("true"), {.what = FAKE_CLOSE}};
    struct side s;
    struct fake_qmp *fake = FAKE_QMP("10.0", steps);
    char path[128], text[160];
    pid_t proxy = fork();
    snprintf(path, sizeof path, "%s.proxy", fake_qmp_path(fake));
    if (proxy == 0) {
        char from[160], to[160];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(from, sizeof from, "UNIX-LISTEN:%s", path);
        snprintf(to, sizeof to, "UNIX-CONNECT:%s", fake_qmp_path(fake));
        execlp("socat", "socat", from, to, (char *)NULL);
        _exit(77);
    }
    for (int i = 0; i < 200 && access(path, F_OK) < 0; i++)
        usleep(10000);
    assert_int_equal(access(path, F_OK), 0);
    snprintf(text, sizeof text, "qmp+unix:%s", path);
    struct qmp_endpoint ep;
    s = (struct side){.fake = fake, .loop = loop_new(&s.e)};
    assert_int_equal(qmp_endpoint_parse(text, &ep, &s.e), 0);
    s.vm = vm_qmp_open(s.loop, &ep, "destination", &s.e);
    assert_non_null(s.vm);
    assert_int_equal(s.vm->ops->probe(s.vm, &s.facts, &s.e), 0);
    waitpid(proxy, NULL, 0); /* its one connection is closed */
    loop_sleep(s.loop, 20 * NS_PER_MS);
    assert_int_equal(s.vm->ops->death(s.vm), VM_DEATH_NO_ANSWER);
    close_side(&s);
    unlink(path);
}

/* A service manager has started another in its place: to ask that one would be to ask a stranger. */
static void test_another_qemu_answers(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        PROBE("true"),
        {.what = FAKE_CLOSE},
        {.what = FAKE_ACCEPT},
        VERSION(10, 0),
        REPLY("query-cpus-fast", "[{\"cpu-index\":0,\"qom-path\":\"/x\",\"thread-id\":8,"
                                 "\"target\":\"x86_64\"}]"),
        UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        {.what = FAKE_EXPECT_END}};
    static const struct fake_step uuid[] = {{.what = FAKE_ACCEPT},
                                            PROBE("true"),
                                            {.what = FAKE_CLOSE},
                                            {.what = FAKE_ACCEPT},
                                            VERSION(10, 0),
                                            CPUS,
                                            UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8"),
                                            {.what = FAKE_EXPECT_END}};
    static const struct fake_step version[] = {{.what = FAKE_ACCEPT},
                                               PROBE("true"),
                                               {.what = FAKE_CLOSE},
                                               {.what = FAKE_ACCEPT},
                                               VERSION(10, 1),
                                               CPUS,
                                               UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
                                               {.what = FAKE_EXPECT_END}};
    struct fake_qmp *others[] = {FAKE_QMP("10.0", steps), FAKE_QMP("10.0", uuid),
                                 FAKE_QMP("10.0", version)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct side s;
        enum vm_run now;
        open_probed(&s, others[i]);
        assert_int_equal(loop_catch_signals(s.loop, &s.e), 0);
        raise(SIGINT); /* a rollback is not interrupted */
        loop_sleep(s.loop, 20 * NS_PER_MS);
        assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), -1);
        expect(&s, ERR_LOST, "a different QEMU answers than before");
        close_side(&s);
    }
}

/* In a container the next QEMU has the same thread, and its guest the same UUID: that the process which was
 * probed is not that one, or cannot be looked at any more, is enough to say so. */
static void test_its_process_is_another(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{.what = FAKE_ACCEPT},
                                             PROBE("true"),
                                             {.what = FAKE_CLOSE},
                                             {.what = FAKE_ACCEPT},
                                             {.what = FAKE_EXPECT_END}};
    for (int left = 0; left < 2; left++) {
        struct side s;
        enum vm_run now;
        open_probed(&s, FAKE_QMP("10.0", steps));
        struct qmp_process *p = &((struct vm_qmp *)s.vm)->process;
        assert_int_equal(p->pid, getpid());
        if (left == 0)
            p->start_ticks++; /* that one began at another time */
        else
            p->shell.kind = SHELL_NONE;
        loop_sleep(s.loop, 20 * NS_PER_MS);
        assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), -1);
        expect(&s, ERR_LOST,
               left == 0 ? "a different QEMU answers" : "its process could not be checked");
        close_side(&s);
    }
}

/* An armed destination that runs when it is stopped has run, also where RESUME was not heard. */
static void test_stopped_while_it_ran(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},    SET("cont", NULL), SET("migrate-incoming", NULL),
        STATUS("inmigrate"),      SET("stop", NULL), STATUS("inmigrate"),
        STATUS("running"),        SET("stop", NULL), STATUS("paused"),
        {.what = FAKE_EXPECT_END}};
    struct side s;
    enum vm_run now;
    open_as(&s, "destination", FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->listen(s.vm, "tcp:0:4444", &s.e), 0);
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_false(s.vm->seen.ran);
    assert_int_equal(s.vm->ops->run(s.vm, false, &now, &s.e), 0);
    assert_int_equal(now, VM_RUN_STOPPED);
    assert_true(s.vm->seen.ran);
    close_side(&s);
}

int main(int argc, char **argv)
{
    set_thread(getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe),
        cmocka_unit_test(test_check_capabilities),
        cmocka_unit_test(test_check_tcg),
        cmocka_unit_test(test_check_compression),
        cmocka_unit_test(test_configure_and_restore),
        cmocka_unit_test(test_proof),
        cmocka_unit_test(test_configure_fails_half_way),
        cmocka_unit_test(test_check_by_name),
        cmocka_unit_test(test_unknown_name_has_a_hint),
        cmocka_unit_test(test_by_name_and_put_back),
        cmocka_unit_test(test_multifd_by_name),
        cmocka_unit_test(test_by_name_cannot_be_put_back),
        cmocka_unit_test(test_restore_goes_back_the_same_way),
        cmocka_unit_test(test_restore_does_what_it_can),
        cmocka_unit_test(test_listen_arms_first),
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_no_gate),
        cmocka_unit_test(test_run_and_events),
        cmocka_unit_test(test_cancel_waits),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_quit),
        cmocka_unit_test(test_commands_can_be_typed),
        cmocka_unit_test(test_commands_are_quoted),
        cmocka_unit_test(test_refused_is_no_death),
        cmocka_unit_test(test_death_by_process),
        cmocka_unit_test(test_another_process_answers),
        cmocka_unit_test(test_death_over_ssh),
        cmocka_unit_test(test_a_thread_is_no_process),
        cmocka_unit_test(test_who_may_not_see_proves_nothing),
        cmocka_unit_test(test_death_of_a_proxy),
        cmocka_unit_test(test_another_qemu_answers),
        cmocka_unit_test(test_its_process_is_another),
        cmocka_unit_test(test_stopped_while_it_ran),
        cmocka_unit_test(test_passes),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests_name("vm_qmp", tests, NULL, remove_ssh);
}
