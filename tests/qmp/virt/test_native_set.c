/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/clock.h"
#include "qmp/virt/native_set.h"
#include "tests/qmp/fake_qmp.h"

#define BY_NAME(...)                                 \
    .set = (const struct vm_setting[]){__VA_ARGS__}, \
    .set_n = sizeof((const struct vm_setting[]){__VA_ARGS__}) / sizeof(struct vm_setting)

static void test_what_libvirt_cannot_set_is_refused(void **state)
{
    (void)state;
    const struct {
        struct vm_settings settings;
        const char *says; /* NULL: it can */
    } all[] = {
        {{.set_n = 0}, NULL},
        {{BY_NAME({"auto-converge", "on"}, {"cpu-throttle-initial", "30"})}, NULL},
        {{BY_NAME({"multifd-channels", "3"}), .multifd_channels = 3}, NULL},
        {{BY_NAME({"max-postcopy-bandwidth", "1M"}, {"downtime-limit", "20"})}, NULL},
        {{BY_NAME({"postcopy-preempt", "on"})},
         "the native route cannot set postcopy-preempt: libvirt does"},
        {{BY_NAME({"auto-converge", "on"}, {"announce-rounds", "3"})},
         "cannot set announce-rounds"},
        {{BY_NAME({"cpu-throttle-initial", "30"})},
         "libvirt does not set cpu-throttle-initial without auto-converge"},
        {{BY_NAME({"auto-converge", "off"}, {"cpu-throttle-initial", "30"})},
         "without auto-converge"},
        {{BY_NAME({"multifd-channels", "3"})}, "without multifd"},
        {{BY_NAME({"xbzrle", "on"}, {"xbzrle-cache-size", "1.5G"})}, NULL},
        {{BY_NAME({"auto-converge", "on"}, {"cpu-throttle-initial", "30.5"})},
         "'cpu-throttle-initial' takes a whole number, not '30.5'"},
        {{BY_NAME({"max-bandwidth", "0.3"})}, "takes a whole number, not '0.3'"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct err e = {0};
        assert_int_equal(native_set_check(&all[i].settings, &e), all[i].says == NULL ? 0 : -1);
        if (all[i].says != NULL && (e.class != ERR_REFUSED || strstr(e.msg, all[i].says) == NULL))
            fail_msg("%s", e.msg);
    }
}

static void test_libvirt_gets_what_it_has_a_word_for(void **state)
{
    (void)state;
    const struct vm_settings s = {BY_NAME({"auto-converge", "on"}, {"xbzrle", "true"},
                                          {"zero-copy-send", "off"}, {"cpu-throttle-initial", "30"},
                                          {"xbzrle-cache-size", "64M"},
                                          {"max-bandwidth", "1500000"}, {"downtime-limit", "20"})};
    virTypedParameterPtr params = NULL;
    int n = 0, max = 0, initial = 0;
    const char *method = NULL;
    unsigned long long cache = 0, bandwidth = 0;
    unsigned flags = VIR_MIGRATE_LIVE;
    native_set_tell(&s, &flags, &params, &n, &max);
    assert_int_equal(flags, VIR_MIGRATE_LIVE | VIR_MIGRATE_AUTO_CONVERGE | VIR_MIGRATE_COMPRESSED);
    assert_int_equal(n, 4); /* the downtime limit is QEMU's */
    assert_int_equal(
        virTypedParamsGetInt(params, n, VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL, &initial), 1);
    assert_int_equal(
        virTypedParamsGetULLong(params, n, VIR_MIGRATE_PARAM_COMPRESSION_XBZRLE_CACHE, &cache), 1);
    assert_int_equal(virTypedParamsGetULLong(params, n, VIR_MIGRATE_PARAM_BANDWIDTH, &bandwidth),
                     1);
    assert_int_equal(virTypedParamsGetString(params, n, VIR_MIGRATE_PARAM_COMPRESSION, &method), 1);
    assert_string_equal(method, "xbzrle");
    assert_int_equal(initial, 30);
    assert_int_equal(cache, 64 << 20);
    assert_int_equal(bandwidth, 2); /* MiB/s, rounded up */
    virTypedParamsFree(params, n);
}

/* Multifd that is on by name only; what --multifd says, the job tells. */
static void test_libvirt_gets_the_channels_of_multifd(void **state)
{
    (void)state;
    const struct {
        struct vm_settings settings;
        int channels; /* 0: not given */
    } all[] = {
        {{BY_NAME({"multifd", "on"})}, 2},
        {{BY_NAME({"multifd-channels", "5"}, {"multifd", "on"})}, 5},
        {{BY_NAME({"multifd", "off"})}, 0},
        {{BY_NAME({"multifd", "on"}), .multifd_channels = 4}, 0},
        {{.multifd_channels = 4}, 0},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        virTypedParameterPtr params = NULL;
        int n = 0, max = 0, channels = 0;
        unsigned flags = 0;
        native_set_tell(&all[i].settings, &flags, &params, &n, &max);
        virTypedParamsGetInt(params, n, VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS, &channels);
        assert_int_equal(channels, all[i].channels);
        assert_int_equal(n, channels > 0);
        virTypedParamsFree(params, n);
    }
}

static void test_only_what_is_tuned_later_is_kept(void **state)
{
    (void)state;
    struct qmp_settings set = {.which = CAP_BIT(CAP_AUTO_CONVERGE),
                               .on = CAP_BIT(CAP_AUTO_CONVERGE),
                               .parameters = json_object_new_object()};
    json_object_object_add(set.parameters, "downtime-limit", json_object_new_int(20));
    json_object_object_add(set.parameters, "cpu-throttle-initial", json_object_new_int(30));
    native_set_keep_tuned(&set);
    assert_int_equal(set.which | set.on, 0);
    assert_int_equal(json_object_object_length(set.parameters), 1);
    assert_true(json_object_object_get_ex(set.parameters, "downtime-limit", NULL));
    qmp_settings_clear(&set);

    native_set_keep_tuned(&set);
    assert_null(set.parameters);
}

#define REPLY(cmd, json)                                 \
    {                                                    \
        .what = FAKE_REPLY, .command = cmd, .text = json \
    }
#define SET(args)                                                                  \
    {                                                                              \
        .what = FAKE_REPLY, .command = "migrate-set-parameters", .arguments = args \
    }
#define PARAMETERS(limit, compression)                                             \
    "{\"max-bandwidth\":7000,\"downtime-limit\":" limit ",\"multifd-channels\":3," \
    "\"multifd-compression\":\"" compression "\"}"

/* The source is tuned, and restored; `says`: how the first fails. */
static void tune(const struct fake_step *steps, size_t count, bool proof, const char *says)
{
    const struct vm_settings s = {.downtime_limit_ns = 20 * NS_PER_MS, .multifd_channels = 4};
    struct fake_qmp *fake = fake_qmp_start("10.0", FAKE_UNIX, steps, count);
    struct err e = {0};
    struct qmp_endpoint ep;
    struct loop *loop = loop_new(&e);
    int64_t limit_ns = 0;
    assert_int_equal(qmp_endpoint_parse(fake_qmp_endpoint(fake), &ep, &e), 0);
    struct vm *vm = vm_qmp_open(loop, &ep, "source", &e);
    assert_non_null(vm);
    struct vm_qmp *q = (struct vm_qmp *)vm;
    vm->proof.on = proof;
    assert_int_equal(native_set_tune(q, &s, &limit_ns, &e), says == NULL ? 0 : -1);
    assert_string_equal(e.msg, says == NULL ? "" : says);
    assert_int_equal(limit_ns, says == NULL ? 20 * NS_PER_MS : 0);
    err_clear(&e);
    if (says == NULL) /* else it has been already */
        assert_int_equal(native_set_restore(q, &e), 0);
    vm->ops->close(vm);
    loop_free(loop);
    fake_qmp_end(fake);
}

static void test_what_was_tuned_is_put_back(void **state)
{
    (void)state;
    static const struct fake_step done[] = {
        {.what = FAKE_ACCEPT},
        REPLY("query-migrate-parameters", PARAMETERS("300", "zlib")),
        SET(PARAMETERS("20", "none")),
        SET(PARAMETERS("300", "zlib")),
        {.what = FAKE_EXPECT_END}};
    static const struct fake_step fails[] = {
        {.what = FAKE_ACCEPT},
        REPLY("query-migrate-parameters", PARAMETERS("300", "zlib")),
        {.what = FAKE_ERROR, .command = "migrate-set-parameters", .text = "too short"},
        SET(PARAMETERS("300", "zlib")),
        {.what = FAKE_EXPECT_END}};
#define UUID(on) "{\"capability\":\"validate-uuid\",\"state\":" on "}"
#define SET_UUID(on)                                               \
    {                                                              \
        .what = FAKE_REPLY, .command = "migrate-set-capabilities", \
        .arguments = "{\"capabilities\":[" UUID(on) "]}"           \
    }
    static const struct fake_step proves[] = {
        {.what = FAKE_ACCEPT},
        REPLY("query-migrate-capabilities", "[" UUID("false") "]"),
        REPLY("query-migrate-parameters", PARAMETERS("300", "zlib")),
        SET_UUID("true"),
        SET(PARAMETERS("20", "none")),
        SET(PARAMETERS("300", "zlib")),
        SET_UUID("false"),
        {.what = FAKE_EXPECT_END}};
    tune(done, sizeof done / sizeof *done, false, NULL);
    tune(proves, sizeof proves / sizeof *proves, true, NULL);
    tune(fails, sizeof fails / sizeof *fails, false, "source: migrate-set-parameters: too short");
}

int main(void)
{
    if (virInitialize() < 0) /* else virTypedParams*() corrupt the heap */
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_libvirt_cannot_set_is_refused),
                                       cmocka_unit_test(test_libvirt_gets_what_it_has_a_word_for),
                                       cmocka_unit_test(test_libvirt_gets_the_channels_of_multifd),
                                       cmocka_unit_test(test_only_what_is_tuned_later_is_kept),
                                       cmocka_unit_test(test_what_was_tuned_is_put_back)};
    return cmocka_run_group_tests_name("native_set", tests, NULL, NULL);
}
