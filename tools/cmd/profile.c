/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/profile.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/key_lines.h"
#include "core/log.h"
#include "core/text.h"
#include "core/units.h"

#define PROFILE_SYSTEM "/etc/godwit"

/* The options that say how a migration is done; the others say which one. */
static const char *const profile_keys[] = {
    "route",        "max-bandwidth", "downtime-limit", "multifd", "compression",
    "postcopy",     "pause",         "passes",         "timeout", "timeout-action",
    "max-downtime", "max-time",      "max-slowdown",   "allow",   "on-miss",
};
enum { PROFILE_KEYS = sizeof profile_keys / sizeof *profile_keys };

/* What cannot go together: given on the command line, the one leaves the other out of the profile. */
static const char *const profile_exclude[][2] = {
    {"postcopy", "pause"},       {"postcopy", "multifd"},
    {"postcopy", "compression"}, {"postcopy", "max-downtime"},
    {"postcopy", "max-time"},    {"pause", "max-downtime"},
    {"pause", "max-time"},       {"max-downtime", "downtime-limit"},
    {"max-time", "timeout"},     {"max-time", "timeout-action"},
    {"postcopy", "on-miss"},     {"pause", "on-miss"},
};

/* ---- where it is ---- */

/* Whether there is one, or might be: one that cannot be looked at is no reason to take another. */
static bool profile_is_there(const char *path)
{
    return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/* A relative XDG_CONFIG_HOME does not count (XDG Base Directory Specification). "": there is no home either. */
static const char *profile_own_directory(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (config != NULL && *config == '/')
        return text_keep("%s/godwit", config);
    return home != NULL && *home == '/' ? text_keep("%s/.config/godwit", home) : "";
}

const char *profile_find(const char *name, struct err *e)
{
    if (strchr(name, '/') != NULL)
        return text_keep("%s", name);
    if (*name == '\0' || *name == '.') {
        err_set(e, ERR_USAGE, 0, "--profile: '%s' is no name of a profile", name);
        return NULL;
    }
    const char *const directories[] = {profile_own_directory(), PROFILE_SYSTEM};
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        const char *path = text_keep("%s/profiles.d/%s", directories[i], name);
        if (directories[i][0] != '\0' && profile_is_there(path))
            return path;
    }
    err_set(e, ERR_USAGE, 0, "--profile: there is no '%s' in %s%s" PROFILE_SYSTEM "/profiles.d",
            name, directories[0], directories[0][0] != '\0' ? "/profiles.d or " : "");
    err_hint(e, "a file is given with its directory: ./%s", name);
    return NULL;
}

/* ---- what it says ---- */

struct profile_reading {
    struct migrate_options *options;
    bool begun, seen[PROFILE_KEYS];
    const char *set[OPTION_LIST_MAX]; /* the names behind "set" so far, kept */
    size_t set_n;
};

static int profile_take_version(struct profile_reading *r, const char *key, const char *value,
                                struct err *e)
{
    uint64_t version;
    r->begun = true;
    if (strcmp(key, "version") != 0) {
        err_set(e, ERR_USAGE, 0, "a profile begins with its version, not with '%s'", key);
        return err_hint(e, "version = %d", PROFILE_VERSION);
    }
    if (units_parse_count(value, 0, UINT32_MAX, &version, e) < 0)
        return err_wrap(e, "version");
    return version == PROFILE_VERSION
               ? 0
               : err_set(e, ERR_USAGE, 0, "is a profile of version %s, and this godwit reads %d",
                         value, PROFILE_VERSION);
}

/* A name that is the command line's stays its. */
static int profile_take_set(struct profile_reading *r, const char *name, const char *value,
                            struct err *e)
{
    struct option_list *list = &r->options->set;
    size_t len = strlen(name);
    if (len == 0 || strchr(name, ' ') != NULL || *value == '\0')
        return err_set(e, ERR_USAGE, 0, "'set%s%s' is not set NAME = VALUE", len > 0 ? " " : "",
                       name);
    for (size_t i = 0; i < r->set_n; i++)
        if (strcmp(r->set[i], name) == 0)
            return err_set(e, ERR_USAGE, 0, "'set %s' is given twice", name);
    if (r->set_n == OPTION_LIST_MAX)
        return err_set(e, ERR_USAGE, 0, "there are more than %d settings", OPTION_LIST_MAX);
    r->set[r->set_n++] = text_keep("%s", name);
    for (size_t i = 0; i < list->n; i++)
        if (strncmp(list->at[i], name, len) == 0 && list->at[i][len] == '=')
            return 0;
    return option_set(migrate_request_options, r->options, "set", text_keep("%s=%s", name, value),
                      e);
}

/* What on the command line stands against it; NULL: nothing. */
static const char *profile_overruled(const struct option_given *given, const char *key)
{
    if (option_was_given(given, key))
        return key;
    for (size_t i = 0; i < sizeof profile_exclude / sizeof *profile_exclude; i++)
        for (int side = 0; side < 2; side++)
            if (strcmp(profile_exclude[i][side], key) == 0 &&
                option_was_given(given, profile_exclude[i][1 - side]))
                return profile_exclude[i][1 - side];
    return NULL;
}

static int profile_unknown(const char *key, struct err *e)
{
    struct option_flat flat;
    char list[512] = "";
    option_flatten(migrate_request_options, &flat);
    for (const struct option_def *d = flat.at; d->name != NULL; d++)
        if (strcmp(d->name, key) == 0)
            return err_set(e, ERR_USAGE, 0,
                           "'%s' says which migration it is, and is for the command line", key);
    for (size_t i = 0; i < PROFILE_KEYS; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s, ", profile_keys[i]);
    }
    err_set(e, ERR_USAGE, 0, "'%s' is not a key", key);
    return err_hint(e, "the keys are %sset NAME", list);
}

/* On a command line a bare number is bytes; a file is read by those who did not write it. */
static int profile_check_unit(const char *key, const char *value, struct err *e)
{
    if (strcmp(key, "max-bandwidth") != 0 || value[strspn(value, "0123456789.")] != '\0')
        return 0;
    return err_set(e, ERR_USAGE, 0, "%s: '%s' has no unit (100M, 1gbit)", key, value);
}

static int profile_take_line(void *arg, char *key, char *value, struct err *e)
{
    static const char set[] = "set";
    struct profile_reading *r = arg;
    size_t i = 0;
    if (!r->begun)
        return profile_take_version(r, key, value, e);
    unsigned char next = (unsigned char)key[strlen(key) < strlen(set) ? 0 : strlen(set)];
    if (strncmp(key, set, strlen(set)) == 0 && (next == '\0' || isspace(next)))
        return profile_take_set(r, key_lines_trim(key + strlen(set)), value, e);
    while (i < PROFILE_KEYS && strcmp(profile_keys[i], key) != 0)
        i++;
    if (i == PROFILE_KEYS)
        return strcmp(key, "version") == 0 ? err_set(e, ERR_USAGE, 0, "'version' is given twice")
                                           : profile_unknown(key, e);
    if (r->seen[i])
        return err_set(e, ERR_USAGE, 0, "'%s' is given twice", key);
    r->seen[i] = true;
    if (profile_check_unit(key, value, e) < 0)
        return -1;
    /* also where it is overruled: a file that is wrong is wrong with any command line */
    struct migrate_options unused = *r->options;
    const char *by = profile_overruled(&r->options->given, key);
    if (by != NULL && strcmp(by, key) != 0)
        log_warn("the profile's %s does not count: --%s is given", key, by);
    return option_set(migrate_request_options, by != NULL ? &unused : r->options, key,
                      text_keep("%s", value), e);
}

int profile_apply(const char *text, const char *file, struct migrate_options *o, struct err *e)
{
    struct profile_reading r = {.options = o};
    if (key_lines_parse(text, file, profile_take_line, &r, e) < 0)
        return -1;
    return r.begun ? 0 : err_set(e, ERR_USAGE, 0, "%s: is no profile: it has no version", file);
}
