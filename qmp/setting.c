/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/setting.h"

#include <stdio.h>
#include <string.h>

#include "core/units.h"
#include "qmp/command.h"
#include "qmp/field.h"

#define CAPABILITIES "migrate-set-capabilities", "capabilities.capability"
#define PARAMETERS "migrate-set-parameters"

enum { SETTING_NAMES_MAX = 128, SETTING_NAME_MAX = 48, SETTING_NEAR_MAX = 3 };

/* What the engine's promises rest on. */
static const struct held {
    const char *name;
    bool may_be_off; /* it is anyhow */
    const char *why;
} held[] = {
    {"events", false, "godwit follows the migration by them"},
    {"return-path", false,
     "with it a source that loses the connection at the end starts the guest again, which the "
     "destination may be running; --postcopy, which needs it, has it on"},
    {"pause-before-switchover", false,
     "the guest would stand, and wait for a migrate-continue that nobody sends"},
    {"x-colo", true, "the guest would run on both sides"},
    {"background-snapshot", true, "it saves the guest, and leaves it where it is"},
    {"mapped-ram", true, "it is for files, and the guest goes to another QEMU"},
    {"x-ignore-shared", true,
     "shared memory would not be sent, and a destination that fails would have written to the "
     "source's"},
    {"release-ram", true,
     "pages that are on their way when postcopy loses its connection would be nowhere any more"},
    {"block", true, "it would copy the disks over themselves, for both sides share them"},
    {"zero-blocks", true, "it goes with block, which would copy the disks over themselves"},
    {"compress", true, "QEMU has given it up; --multifd with --compression takes its place"},
    {"mode", false, "the others stop the guest first, and leave its memory on this host"},
};

/* Heeded by the source alone. Source: QEMU 7.2 and 10.0, migration/ram.c, migration/migration.c. */
static const char *const of_source[] = {
    "auto-converge",          "dirty-limit",
    "zero-copy-send",         "cpu-throttle-initial",
    "cpu-throttle-increment", "cpu-throttle-tailslow",
    "max-cpu-throttle",       "throttle-trigger-threshold",
    "vcpu-dirty-limit",       "x-vcpu-dirty-limit-period",
    "max-bandwidth",          "avail-switchover-bandwidth",
    "downtime-limit",         "max-postcopy-bandwidth",
    "multifd-zlib-level",     "multifd-zstd-level",
    "xbzrle-cache-size",
};

/* One side, and the settings that are being read for it. */
struct reader {
    const struct vm_settings *s;
    const struct qmp_schema *schema;
    const char *role, *hypervisor;
    struct qmp_settings *set;
};

bool qmp_setting_flag(const char *value, bool *on)
{
    *on = strcmp(value, "on") == 0 || strcmp(value, "true") == 0;
    return *on || strcmp(value, "off") == 0 || strcmp(value, "false") == 0;
}

bool qmp_setting_number(const char *value, uint64_t *n)
{
    struct err none = {0};
    bool bare = strspn(value, "0123456789.") ==
                strlen(value); /* then no fraction of it is cut off */
    return (bare ? units_parse_count(value, 0, INT64_MAX, n, &none)
                 : units_parse_size(value, n, &none)) == 0;
}

/* ---- names ---- */

static bool setting_is_of_source(const char *name)
{
    for (size_t i = 0; i < sizeof of_source / sizeof *of_source; i++)
        if (strcmp(of_source[i], name) == 0)
            return true;
    return false;
}

/* How many letters are to be added, left out or changed to make one the other (Levenshtein). */
static size_t setting_distance(const char *a, const char *b)
{
    size_t row[SETTING_NAME_MAX + 1], len = strlen(b);
    if (len > SETTING_NAME_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= len; i++)
        row[i] = i;
    for (size_t n = 1; *a != '\0'; a++, n++) {
        size_t left_above = row[0];
        row[0] = n;
        for (size_t i = 1; i <= len; i++) {
            size_t changed = left_above + (*a != b[i - 1]);
            size_t moved = 1 + (row[i] < row[i - 1] ? row[i] : row[i - 1]);
            left_above = row[i];
            row[i] = changed < moved ? changed : moved;
        }
    }
    return row[len];
}

/* Adds to `list`, which has `found` names, those of `names` that may have been meant. */
static size_t setting_add_near(const char *name, const char *const *names, size_t n, size_t found,
                               char *list, size_t size)
{
    size_t near = 2 + strlen(name) / 8;
    for (size_t i = 0; i < n && found < SETTING_NEAR_MAX; i++) {
        if (setting_distance(name, names[i]) > near && strstr(names[i], name) == NULL)
            continue;
        size_t len = strlen(list);
        snprintf(list + len, size - len, "%s%s", found > 0 ? ", " : "", names[i]);
        found++;
    }
    return found;
}

static int setting_unknown(const struct reader *r, const char *name, struct err *e)
{
    const char *names[SETTING_NAMES_MAX];
    char near[SETTING_NEAR_MAX * (SETTING_NAME_MAX + 2)] = "";
    size_t n = qmp_schema_names(r->schema, CAPABILITIES, names, SETTING_NAMES_MAX);
    size_t found = setting_add_near(name, names, n, 0, near, sizeof near);
    n = qmp_schema_names(r->schema, PARAMETERS, "", names, SETTING_NAMES_MAX);
    found = setting_add_near(name, names, n, found, near, sizeof near);
    err_set(e, ERR_REFUSED, 0,
            "'%s' is neither a migration capability nor a parameter of the %s's %s", name, r->role,
            r->hypervisor);
    if (found > 0)
        return err_hint(e, "it has %s", near);
    return err_hint(e, "'query-migrate-capabilities' and 'query-migrate-parameters' list them");
}

/* ---- what must not be set ---- */

static int setting_check_held(const struct vm_setting *v, struct err *e)
{
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) {
        bool on;
        if (strcmp(held[i].name, v->name) != 0 ||
            (held[i].may_be_off && qmp_setting_flag(v->value, &on) && !on))
            continue;
        return err_set(e, ERR_REFUSED, 0, "'%s' cannot be set: %s", v->name, held[i].why);
    }
    return 0;
}

static int setting_contradicts(const struct vm_setting *v, const char *option, struct err *e)
{
    return err_set(e, ERR_REFUSED, 0, "--set %s=%s contradicts %s", v->name, v->value, option);
}

/* What has an option of its own is said once. */
static int setting_check_option(const struct vm_settings *s, const struct vm_setting *v,
                                struct err *e)
{
    const struct {
        const char *name, *option;
        bool given;
    } options[] = {
        {"multifd-channels", "--multifd", s->multifd_channels > 0},
        {"multifd-compression", "--compression", s->compression != VM_COMPRESSION_NONE},
        {"downtime-limit", "--downtime-limit", s->downtime_limit_ns > 0},
        {"max-bandwidth", "--max-bandwidth", s->max_bandwidth_bytes_per_s > 0},
    };
    bool on = false, flag = qmp_setting_flag(v->value, &on);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].given && strcmp(options[i].name, v->name) == 0)
            return setting_contradicts(v, options[i].option, e);
    if (flag && !on && s->multifd_channels > 0 && strcmp(v->name, "multifd") == 0)
        return setting_contradicts(v, "--multifd", e);
    if (!flag || on == s->postcopy || strcmp(v->name, "postcopy-ram") != 0)
        return 0;
    if (s->postcopy)
        return setting_contradicts(v, "--postcopy", e);
    return err_set(e, ERR_REFUSED, 0, "'postcopy-ram' alone does not switch over: say --postcopy");
}

/* Those with a value on one side; between capabilities alone: qmp_capability_check(). */
static int setting_check_together(const struct reader *r, struct err *e)
{
    const char *compression = "none";
    bool multifd = r->s->multifd_channels > 0 || (r->set->on & CAP_BIT(CAP_MULTIFD));
    if (field_text_opt(r->set->parameters, "multifd-compression", &compression, e) < 0)
        return -1;
    if (strcmp(compression, "none") != 0 && !multifd)
        return err_set(e, ERR_REFUSED, 0, "'multifd-compression' needs multifd");
    bool packed = strcmp(compression, "none") != 0 || r->s->compression != VM_COMPRESSION_NONE;
    if (packed && (r->set->on & CAP_BIT(CAP_ZERO_COPY_SEND)))
        return err_set(e, ERR_REFUSED, 0,
                       "'zero-copy-send' cannot go with compression: pages that "
                       "are sent in place cannot be packed");
    return 0;
}

/* ---- values ---- */

static int setting_wrong(const struct reader *r, const struct vm_setting *v, const char *takes,
                         struct err *e)
{
    return err_set(e, ERR_REFUSED, 0, "'%s' of the %s's %s takes %s, not '%s'", v->name, r->role,
                   r->hypervisor, takes, v->value);
}

static struct json_object *setting_number(const struct reader *r, const struct vm_setting *v,
                                          struct err *e)
{
    uint64_t n;
    if (qmp_setting_number(v->value, &n))
        return json_object_new_uint64(n);
    setting_wrong(r, v, "a whole number", e);
    err_hint(e, "a size may have a unit (50M, 1.5G); all else is in QEMU's own unit, and bare");
    return NULL;
}

static struct json_object *setting_word(const struct reader *r, const struct vm_setting *v,
                                        struct err *e)
{
    const char *words[SETTING_NAMES_MAX];
    char takes[120] = "one of";
    if (qmp_schema_has_value(r->schema, PARAMETERS, v->name, v->value))
        return json_object_new_string(v->value);
    size_t n = qmp_schema_names(r->schema, PARAMETERS, v->name, words, SETTING_NAMES_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(takes);
        snprintf(takes + len, sizeof takes - len, "%s %s", i > 0 ? "," : "", words[i]);
    }
    setting_wrong(r, v, takes, e);
    return NULL;
}

static struct json_object *setting_value(const struct reader *r, const struct vm_setting *v,
                                         struct err *e)
{
    bool on;
    switch (qmp_schema_kind(r->schema, PARAMETERS, v->name)) {
    case QMP_KIND_NONE: setting_unknown(r, v->name, e); return NULL;
    case QMP_KIND_INT: return setting_number(r, v, e);
    case QMP_KIND_BOOL:
        if (qmp_setting_flag(v->value, &on))
            return json_object_new_boolean(on);
        setting_wrong(r, v, "on or off", e);
        return NULL;
    case QMP_KIND_TEXT: return json_object_new_string(v->value);
    case QMP_KIND_ENUM: return setting_word(r, v, e);
    case QMP_KIND_OTHER: break;
    }
    err_set(e, ERR_REFUSED, 0, "'%s' takes more than a word, which --set cannot set", v->name);
    return NULL;
}

/* What a new one does to our promises is not known before somebody has read about it. */
static int setting_read_capability(struct reader *r, const struct vm_setting *v, struct err *e)
{
    enum qmp_capability cap = qmp_capability_find(v->name);
    bool on;
    if (cap == CAP_COUNT)
        return err_set(e, ERR_REFUSED, 0,
                       "migration capability '%s' is not known to godwit, nor what "
                       "its promises are worth with it",
                       v->name);
    if (!qmp_setting_flag(v->value, &on))
        return setting_wrong(r, v, "on or off", e);
    r->set->which |= CAP_BIT(cap);
    if (on)
        r->set->on |= CAP_BIT(cap);
    return 0;
}

static int setting_read(struct reader *r, const struct vm_setting *v, struct err *e)
{
    if (strchr(v->name, '.') != NULL) /* to the schema a path, to QEMU nothing */
        return setting_unknown(r, v->name, e);
    /* newer QEMUs may take a capability as a parameter, too: it is one thing all the same */
    if (qmp_schema_has_value(r->schema, CAPABILITIES, v->name))
        return setting_read_capability(r, v, e);
    struct json_object *value = setting_value(r, v, e);
    if (value == NULL)
        return -1;
    if (r->set->parameters == NULL)
        r->set->parameters = json_object_new_object();
    json_object_object_add(r->set->parameters, v->name, value);
    return 0;
}

static int settings_read_all(struct reader *r, struct err *e)
{
    for (size_t i = 0; i < r->s->set_n; i++) {
        const struct vm_setting *v = &r->s->set[i];
        if (setting_is_of_source(v->name) && strcmp(r->role, "source") != 0)
            continue;
        if (setting_read(r, v, e) < 0 || setting_check_held(v, e) < 0 ||
            setting_check_option(r->s, v, e) < 0)
            return -1;
    }
    return setting_check_together(r, e);
}

int qmp_settings_read(struct qmp_client *c, const struct vm_settings *s, const char *role,
                      const char *hypervisor, struct qmp_settings *set, struct err *e)
{
    *set = (struct qmp_settings){0};
    if (s->set_n == 0)
        return 0;
    const struct qmp_schema *schema = qmp_query_schema(c, e);
    if (schema == NULL)
        return err_wrap(e, "%s", role);
    struct reader r = {
        .s = s, .schema = schema, .role = role, .hypervisor = hypervisor, .set = set};
    int rc = settings_read_all(&r, e);
    if (rc < 0)
        qmp_settings_clear(set);
    return rc;
}

void qmp_settings_clear(struct qmp_settings *set)
{
    json_object_put(set->parameters);
    *set = (struct qmp_settings){0};
}

int qmp_settings_remember(const struct qmp_settings *set, struct json_object *now,
                          struct json_object **old, struct err *e)
{
    *old = NULL;
    if (set->parameters == NULL)
        return 0;
    *old = json_object_new_object();
    json_object_object_foreach(set->parameters, name, ignored)
    {
        struct json_object *value = field_peek(now, name);
        (void)ignored;
        if (value == NULL) {
            json_object_put(TAKE(*old));
            return err_set(e, ERR_REFUSED, 0,
                           "QEMU does not report what '%s' is, so that it could not "
                           "be put back",
                           name);
        }
        json_object_object_add(*old, name, json_object_get(value));
    }
    return 0;
}
