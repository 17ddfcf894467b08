/* SPDX-License-Identifier: Apache-2.0 */
/* What is set on a QEMU for a migration, by option or by name, and put back. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/clock.h"
#include "vm_side.h"

#define PARAMETERS                                                                      \
    REPLY("query-migrate-parameters",                                                   \
          "{\"max-bandwidth\":134217728,\"downtime-limit\":300,\"multifd-channels\":2," \
          "\"multifd-compression\":\"zlib\",\"xbzrle-cache-size\":67108864}")
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
        side_open(&s, FAKE_QMP(versions[v], steps));
        assert_int_equal(s.vm->ops->configure(s.vm, &some, &limit_ns, &s.e), 0);
        assert_int_equal(limit_ns, 21 * NS_PER_MS);
        assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
        assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e),
                         0); /* nothing is left to do */
        side_close(&s);
    }
}

/* Limits of vCPUs are nobody's parameters: they are taken off with the rest, once, and only where there are
 * any. */
static void test_limits_of_vcpus_are_taken_off(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {.what = FAKE_ACCEPT},
        CAPS(USUAL "," CAP("xbzrle", "true")),
        PARAMETERS,
        SET("migrate-set-capabilities", SET_CAPABILITIES),
        SET("migrate-set-parameters", SET_PARAMETERS),
        SET("set-vcpu-dirty-limit", "{\"cpu-index\":0,\"dirty-rate\":40}"),
        SET("set-vcpu-dirty-limit", "{\"cpu-index\":3,\"dirty-rate\":1}"),
        SET("set-vcpu-dirty-limit", "{\"cpu-index\":4,\"dirty-rate\":0}"),
        SET("migrate-set-parameters", "{\"downtime-limit\":40}"),
        SET("cancel-vcpu-dirty-limit", NULL),
        SET_BACK,
        {.what = FAKE_EXPECT_END},
    };
    static const struct vm_vcpu_limit limits[] = {
        {.id = 0, .dirty_bytes_per_s = 40 << 20}, {.id = 3, .dirty_bytes_per_s = 1000}, {.id = 4}};
    static const char *const versions[] = {"7.2", "10.0"};
    const struct vm_tuning limit = {.vcpu = limits, .vcpus = 3},
                           other = {.downtime_limit_ns = 40 * NS_PER_MS};
    for (int v = 0; v < 2; v++) {
        struct side s;
        int64_t limit_ns = 0;
        side_open(&s, FAKE_QMP(versions[v], steps));
        assert_int_equal(s.vm->ops->configure(s.vm, &some, &limit_ns, &s.e), 0);
        assert_int_equal(s.vm->ops->tune(s.vm, &limit, &s.e), 0);
        assert_int_equal(s.vm->ops->tune(s.vm, &other, &s.e), 0);
        assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
        side_close(&s);
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
    side_open_probed(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->check(s.vm, &none, &s.e), 0);
    assert_true(s.vm->proof.can && !s.vm->proof.on);
    s.vm->proof.on = true;
    assert_int_equal(s.vm->ops->configure(s.vm, &none, &limit_ns, &s.e), 0);
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
    side_close(&s);
    side_open_probed(&s, FAKE_QMP("10.0", without));
    assert_int_equal(s.vm->ops->check(s.vm, &none, &s.e), 0);
    assert_false(s.vm->proof.can);
    side_close(&s);
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
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->configure(s.vm, &some, &limit_ns, &s.e), -1);
    side_expect(&s, ERR_QMP, "source: migrate-set-parameters: too many channels");
    side_close(&s);
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
            side_check("10.0", refused, sizeof refused / sizeof *refused, &b->settings, ERR_REFUSED,
                       b->says);
        else
            side_check("10.0", done, sizeof done / sizeof *done, &b->settings, ERR_NONE, "");
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
        side_open_probed(&s, FAKE_QMP("10.0", steps));
        assert_int_equal(
            s.vm->ops->check(s.vm, &(struct vm_settings){.set = &set, .set_n = 1}, &s.e), -1);
        if (strstr(s.e.hint, names[i].hint) == NULL)
            fail_msg("%s: %s", s.e.msg, s.e.hint);
        side_close(&s);
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
    side_open_as(&s, role, fake_qmp_start("10.0", FAKE_UNIX, steps, count));
    if (s.vm->ops->configure(s.vm, &more, &limit, &s.e) < 0)
        fail_msg("%s", s.e.msg);
    assert_int_equal(limit, limit_ns);
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
    side_close(&s);
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
    side_open(&s, fake_qmp_start("10.0", FAKE_UNIX, steps, count));
    if (s.vm->ops->configure(s.vm, settings, &limit_ns, &s.e) < 0 ||
        s.vm->ops->configure(s.vm, NULL, NULL, &s.e) < 0)
        fail_msg("%s", s.e.msg);
    side_close(&s);
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
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->configure(s.vm, &more, &limit_ns, &s.e), -1);
    side_expect(&s, ERR_REFUSED, "source: QEMU does not report what 'cpu-throttle-increment' is");
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), 0);
    side_close(&s);
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
    side_open(&s, FAKE_QMP("10.0", steps));
    assert_int_equal(s.vm->ops->configure(s.vm, &some, &limit_ns, &s.e), 0);
    assert_int_equal(s.vm->ops->configure(s.vm, NULL, NULL, &s.e), -1);
    side_expect(&s, ERR_QMP, "not these");
    side_close(&s);
}

int main(int argc, char **argv)
{
    side_set_thread(getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configure_and_restore),
        cmocka_unit_test(test_limits_of_vcpus_are_taken_off),
        cmocka_unit_test(test_proof),
        cmocka_unit_test(test_configure_fails_half_way),
        cmocka_unit_test(test_check_by_name),
        cmocka_unit_test(test_unknown_name_has_a_hint),
        cmocka_unit_test(test_by_name_and_put_back),
        cmocka_unit_test(test_multifd_by_name),
        cmocka_unit_test(test_by_name_cannot_be_put_back),
        cmocka_unit_test(test_restore_goes_back_the_same_way),
        cmocka_unit_test(test_restore_does_what_it_can),
    };
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    return cmocka_run_group_tests_name("vm_qmp_settings", tests, NULL, NULL);
}
