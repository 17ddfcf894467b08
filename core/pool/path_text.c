/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * A path begins where the text does, or behind a character that ends words somewhere; and since its
 * own names may have such characters, it ends at any of those that follow. All are tried, the
 * shortest first, which decides most: what is below the directory asked for is so by its beginning.
 * Then the text is read as JSON, as QEMU's options and as a URL have it, each once for each depth to
 * which they can be put into each other.
 */
#include "core/pool/path_text.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

enum { DEPTH_MAX = 4 }; /* of JSON in JSON: each is twice as long, so that nobody goes far */

struct seek {
    path_text_name *name;
    void *arg;
    bool from_root;
};

static bool text_delimits(char c)
{
    return c == '\0' || strchr(",:;=|&?# \t\r\n'\"`(){}[]<>@!$*", c) != NULL;
}

static bool text_knows(const struct seek *s, const char *path)
{
    CLEANUP_FREE char *name = s->name(s->arg, path);
    return name != NULL;
}

/* From `at` to each end that it may have. */
static bool text_try(const struct seek *s, const char *at)
{
    char path[PATH_MAX];
    size_t len = 0;
    bool slash = false;
    if (*at != '/')
        path[len++] = '/';
    for (size_t i = 0; len + 1 < sizeof path; i++) {
        if (text_delimits(at[i]) && i > 0 && slash) {
            path[len] = '\0';
            if (text_knows(s, path))
                return true;
        }
        if (at[i] == '\0')
            break;
        slash |= at[i] == '/';
        path[len++] = at[i];
    }
    return false;
}

static bool text_scan(const struct seek *s, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        bool begins = at == text || text_delimits(at[-1]);
        if (begins && (*at == '/' || (s->from_root && !text_delimits(*at))) && text_try(s, at))
            return true;
    }
    return false;
}

/* ---- the same text, as others read it ---- */

/* What stands at *at; it goes behind that. 0: as it is. */
typedef unsigned text_reader(const char **at);

static unsigned text_hex(const char *at, int digits)
{
    unsigned value = 0;
    for (; digits > 0; digits--, at++) {
        const char *hex = "0123456789abcdef", *found = *at != '\0' ? strchr(hex, *at | 0x20) : NULL;
        if (found == NULL)
            return 0;
        value = value * 16 + (unsigned)(found - hex);
    }
    return value < 0x80 ? value : 0; /* what delimits is ASCII, the rest is not worth it */
}

static unsigned text_json(const char **at)
{
    if ((*at)[0] != '\\' || (*at)[1] == '\0')
        return 0;
    unsigned is = (*at)[1] == 'u'                     ? text_hex(*at + 2, 4)
                  : strchr("bfnrt", (*at)[1]) != NULL ? ' ' /* white space, whichever */
                                                      : (unsigned char)(*at)[1];
    if (is != 0)
        *at += (*at)[1] == 'u' ? 6 : 2;
    return is;
}

static unsigned text_comma(const char **at)
{
    if (strncmp(*at, ",,", 2) != 0)
        return 0;
    *at += 2;
    return ',';
}

static unsigned text_percent(const char **at)
{
    unsigned is = **at == '%' ? text_hex(*at + 1, 2) : 0;
    if (is != 0)
        *at += 3;
    return is;
}

/* NULL: it has none of that, or there is no memory. */
static char *text_read(const char *text, text_reader *reader)
{
    char *read = malloc(strlen(text) + 1), *to = read;
    bool differs = false;
    while (read != NULL && *text != '\0') {
        unsigned is = reader(&text);
        differs |= is != 0;
        *to++ = is != 0 ? (char)is : *text++;
    }
    if (read == NULL || !differs) {
        free(read);
        return NULL;
    }
    *to = '\0';
    return read;
}

static bool text_has_read(const struct seek *s, const char *text, text_reader *reader)
{
    CLEANUP_FREE char *read = text_read(text, reader);
    return read != NULL && text_scan(s, read);
}

bool path_text_has(const char *text, bool from_root, path_text_name *name, void *arg)
{
    const struct seek s = {name, arg, from_root};
    CLEANUP_FREE char *inner = NULL;
    for (int depth = 0; depth < DEPTH_MAX && text != NULL; depth++) {
        if (text_scan(&s, text) || text_has_read(&s, text, text_comma) ||
            text_has_read(&s, text, text_percent))
            return true;
        char *next = text_read(text, text_json);
        free(inner);
        text = inner = next;
    }
    return false;
}
