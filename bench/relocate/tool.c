/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/relocate/tool.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

/*
 * The other tools. Each is used as its users would for speed, and made to say "done" only when the
 * data is durable:
 *  - nfs-cp (libnfs) sends a COMMIT when it closes the file;
 *  - qemu-img convert: -W writes out of order, -m 16 is the most requests that it keeps under way.
 *    Its default cache mode, "unsafe", ignores flushes; with -t writeback it flushes once, at the
 *    end, which its NFS driver sends as a COMMIT.
 */
static const struct tool peers[] = {
    {
        .label = "nfs-cp",
        .role = TOOL_PEER,
        .command = {{"nfs-cp", NULL}},
        .package = "libnfs-utils",
    },
    {
        .label = "qemu-img",
        .role = TOOL_PEER,
        .command = {{"qemu-img", "convert", "-W", "-m", "16", "-t", "writeback", "-f", "raw", "-O",
                     "raw", NULL}},
        .package = "qemu-utils and qemu-block-extra",
    },
};

struct tool_course {
    enum tool_end from, to;
};

static const struct tool_course courses[] = {
    [DIRECTION_TO_SHARE] = {END_SOURCE, END_SHARE},
    [DIRECTION_FROM_SHARE] = {END_SHARE, END_LOCAL},
    [DIRECTION_SHARE_TO_NULL] = {END_SHARE, END_NULL},
};

/* What godwit is measured against when nothing is in its way. "sink": no disk behind the server;
 * "null": no disk of ours; "disk": no server. */
static const struct tool_ceiling {
    enum tool_direction direction;
    const char *label;
    struct tool_course course;
} ceilings[] = {
    {DIRECTION_TO_SHARE, "sink", {END_SOURCE, END_SINK}},
    {DIRECTION_TO_SHARE, "disk", {END_SOURCE, END_NULL}},
    {DIRECTION_FROM_SHARE, "null", {END_SHARE, END_NULL}},
    {DIRECTION_FROM_SHARE, "disk", {END_SOURCE, END_LOCAL}},
    {DIRECTION_SHARE_TO_NULL, "sink", {END_SINK, END_NULL}},
};

#define COUNT(a) (sizeof(a) / sizeof(*(a)))

/* Whether `name` is in the comma-separated list. */
static bool tool_in_list(const char *list, const char *name)
{
    size_t len = strlen(name);
    while (*list != '\0') {
        size_t word = strcspn(list, ",");
        if (word == len && strncmp(list, name, len) == 0)
            return true;
        list += word;
        list += *list == ',';
    }
    return false;
}

static int tool_check_only(const char *only, struct err *e)
{
    char known[128] = "godwit,sink,null,disk";
    for (size_t i = 0; i < COUNT(peers); i++) {
        strcat(known, ",");
        strcat(known, peers[i].label);
    }
    CLEANUP_FREE char *words = strdup(only);
    char *rest = words;
    for (char *word; words != NULL && (word = strsep(&rest, ",")) != NULL;)
        if (!tool_in_list(known, word))
            return err_set(e, ERR_USAGE, 0, "'%s' is not one of %s", word, known);
    return 0;
}

static bool tool_is_installed(const char *program)
{
    const char *path = getenv("PATH");
    CLEANUP_FREE char *copy = strdup(path != NULL ? path : "/usr/bin:/bin");
    char *rest = copy;
    char file[4096];
    for (char *dir; copy != NULL && (dir = strsep(&rest, ":")) != NULL;) {
        snprintf(file, sizeof file, "%s/%s", *dir != '\0' ? dir : ".", program);
        if (access(file, X_OK) == 0)
            return true;
    }
    return false;
}

static void tool_add(struct tool *list, size_t *n, const char *only, const char *word,
                     const struct tool *c)
{
    if (only != NULL && !tool_in_list(only, word))
        return;
    assert(*n < TOOLS_MAX);
    list[(*n)++] = *c;
}

static struct tool tool_of(const struct tool_variant *v, enum tool_role role, const char *label,
                           const struct tool_course *course)
{
    struct tool c = {
        .role = role,
        .from = course->from,
        .to = course->to,
        .command = v->command,
        .at_once = true,
    };
    snprintf(c.label, sizeof c.label, "%s", label);
    return c;
}

size_t tool_list(struct tool list[TOOLS_MAX], enum tool_direction direction,
                 const struct tool_variant *variants, size_t variants_n, bool with_sink,
                 const char *only, struct err *e)
{
    const struct tool_course *course = &courses[direction];
    size_t n = 0;
    if (only != NULL && tool_check_only(only, e) < 0)
        return 0;
    for (size_t i = 0; i < variants_n; i++) {
        struct tool c = tool_of(&variants[i], TOOL_GODWIT, variants[i].label, course);
        tool_add(list, &n, only, "godwit", &c);
    }
    /* none of them can read into nothing */
    for (size_t i = 0; i < COUNT(peers) && course->to != END_NULL; i++) {
        struct tool c = peers[i];
        c.from = course->from;
        c.to = course->to;
        c.missing = !tool_is_installed(c.command.words[0]);
        tool_add(list, &n, only, c.label, &c);
    }
    for (size_t i = 0; i < COUNT(ceilings); i++) {
        const struct tool_ceiling *k = &ceilings[i];
        if (k->direction != direction ||
            (!with_sink && (k->course.from == END_SINK || k->course.to == END_SINK)))
            continue;
        struct tool c = tool_of(&variants[0], TOOL_CEILING, k->label, &k->course);
        tool_add(list, &n, only, k->label, &c);
    }
    if (n == 0)
        err_set(e, ERR_USAGE, 0, "--only=%s: leaves no tool for this direction", only);
    return n;
}
