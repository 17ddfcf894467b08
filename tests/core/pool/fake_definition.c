/* SPDX-License-Identifier: Apache-2.0 */
/* The fake host's definitions: a line for each thing that they say. */
#include "fake_parts.h"

#include <stdio.h>
#include <string.h>

const char *fake_next_line(const char *at, struct fake_line *l)
{
    if (*at == '\0')
        return NULL;
    char text[FAKE_TEXT];
    size_t len = strcspn(at, "\n");
    *l = (struct fake_line){0};
    snprintf(text, sizeof text, "%.*s", (int)len, at);
    sscanf(text, "%7s %255s %255s", l->word, l->a, l->b);
    at += len;
    return at + (*at == '\n');
}

static const char *next_that_counts(const char *at, struct fake_line *l)
{
    while ((at = fake_next_line(at, l)) != NULL && strcmp(l->word, "given") == 0)
        ;
    return at;
}

bool fake_same(const char *a, const char *b)
{
    for (;;) {
        struct fake_line x, y;
        a = next_that_counts(a, &x);
        b = next_that_counts(b, &y);
        if (a == NULL || b == NULL)
            return a == b;
        if (strcmp(x.word, y.word) != 0 || strcmp(x.a, y.a) != 0 || strcmp(x.b, y.b) != 0)
            return false;
    }
}

void fake_put_line(char text[FAKE_TEXT], const char *word, const char *a, const char *b)
{
    size_t len = strlen(text);
    int n = snprintf(text + len, FAKE_TEXT - len, "%s %s%s%s\n", word, a, *b != '\0' ? " " : "", b);
    if (n < 0 || len + (size_t)n >= FAKE_TEXT)
        fake_die("a definition is too long");
}

void fake_give(struct fake_world *w, const char *definition, char to[FAKE_TEXT])
{
    struct fake_line l;
    char number[16], text[FAKE_TEXT] = "";
    for (const char *at = definition; (at = next_that_counts(at, &l)) != NULL;)
        fake_put_line(text, l.word, l.a, l.b);
    snprintf(number, sizeof number, "%u", ++w->given);
    fake_put_line(text, "given", number, "");
    strcpy(to, text);
}

void fake_pool_path(const struct fake_world *w, char to[256])
{
    struct fake_line l;
    for (const char *at = w->pool; (at = fake_next_line(at, &l)) != NULL;)
        if (strcmp(l.word, "path") == 0)
            snprintf(to, 256, "%s", l.a);
}

void fake_volumes_path(const struct fake_world *w, const char *definition, char to[256])
{
    struct fake_line l;
    fake_pool_path(w, to);
    for (const char *at = definition; (at = fake_next_line(at, &l)) != NULL;)
        if (strcmp(l.word, "from") == 0)
            snprintf(to, 256, "%s", l.a);
}

bool fake_disk_path(const struct fake_world *w, const struct fake_line *l, const char *pool_path,
                    char to[512])
{
    if (strcmp(l->word, "disk") == 0)
        snprintf(to, 512, "%s", l->a);
    else if (strcmp(l->word, "volume") == 0)
        snprintf(to, 512, "%s/%s", pool_path, l->b);
    else if (strcmp(l->word, "nfs") == 0)
        snprintf(to, 512, "%s/share%s", w->top, l->b + strlen(FAKE_EXPORT));
    else
        return false;
    return true;
}

bool fake_disk(const struct fake_world *w, const char *definition, unsigned k, char path[512])
{
    struct fake_line l;
    char pool[256];
    fake_volumes_path(w, definition, pool);
    for (const char *at = definition; (at = fake_next_line(at, &l)) != NULL;)
        if (fake_disk_path(w, &l, pool, path) && k-- == 0)
            return true;
    return false;
}

void fake_moved(const struct fake_world *w, const char *definition, bool network,
                char to[FAKE_TEXT])
{
    struct fake_line l;
    char pool[80], share[80];
    bool moves = false;
    *to = '\0';
    snprintf(pool, sizeof pool, "%s/pool/", w->top);
    snprintf(share, sizeof share, "%s/share", w->top);
    for (const char *at = definition; (at = fake_next_line(at, &l)) != NULL;) {
        char path[600];
        bool file = strcmp(l.word, "disk") == 0 && strncmp(l.a, pool, strlen(pool)) == 0;
        const char *name = file ? l.a + strlen(pool) : l.b;
        snprintf(path, sizeof path, "%s/%s", network ? FAKE_EXPORT : share, name);
        if (network && (file || strcmp(l.word, "volume") == 0))
            fake_put_line(to, "nfs", FAKE_SERVER, path);
        else if (file)
            fake_put_line(to, "disk", path, "");
        else
            fake_put_line(to, l.word, l.a, l.b);
        moves |= file || strcmp(l.word, "volume") == 0;
    }
    if (moves)
        fake_put_line(to, "cache", "none", "");
}
