/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * What both texts begin and end with is set aside. For the rest, a table has the length of the
 * longest common subsequence of what follows each pair of lines; walked from the start it gives
 * the edit script, a character a line: ' ' both, '-' only before, '+' only after. The script is then
 * printed as hunks.
 */
#include "tools/cmd/line_diff.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

enum {
    DIFF_CONTEXT = 3,
    DIFF_CELLS_MAX = 4 << 20, /* of the table; beyond it all differing lines are replaced */
};

struct lines {
    const char **at;
    size_t n;
};

static bool lines_split(const char *text, struct lines *lines)
{
    size_t room = 1;
    for (const char *p = text; *p != '\0'; p++)
        room += *p == '\n';
    *lines = (struct lines){.at = calloc(room, sizeof *lines->at)};
    if (lines->at == NULL)
        return false;
    for (const char *p = text; *p != '\0'; p += strcspn(p, "\n"), p += *p == '\n')
        lines->at[lines->n++] = p;
    return true;
}

static bool line_same(const char *a, const char *b)
{
    size_t len = strcspn(a, "\n");
    return len == strcspn(b, "\n") && memcmp(a, b, len) == 0;
}

/* The script of a[0..n) and b[0..m), appended to `script`; its length. */
static size_t diff_middle(const char **a, size_t n, const char **b, size_t m, char *script)
{
    size_t wide = m + 1, len = 0, i = 0, j = 0;
    CLEANUP_FREE uint32_t *common =
        (n + 1) * wide <= DIFF_CELLS_MAX ? calloc((n + 1) * wide, sizeof *common) : NULL;
    for (size_t x = n; common != NULL && x-- > 0;) {
        for (size_t y = m; y-- > 0;) {
            uint32_t down = common[(x + 1) * wide + y], right = common[x * wide + y + 1];
            common[x * wide + y] = line_same(a[x], b[y]) ? common[(x + 1) * wide + y + 1] + 1
                                   : down > right        ? down
                                                         : right;
        }
    }
    while (common != NULL && i < n && j < m) {
        if (line_same(a[i], b[j])) {
            script[len++] = ' ';
            i++, j++;
        } else if (common[(i + 1) * wide + j] >= common[i * wide + j + 1]) {
            script[len++] = '-';
            i++;
        } else {
            script[len++] = '+';
            j++;
        }
    }
    for (; i < n; i++)
        script[len++] = '-';
    for (; j < m; j++)
        script[len++] = '+';
    return len;
}

static size_t diff_script(const struct lines *a, const struct lines *b, char *script)
{
    size_t head = 0, tail = 0;
    while (head < a->n && head < b->n && line_same(a->at[head], b->at[head]))
        head++;
    while (tail < a->n - head && tail < b->n - head &&
           line_same(a->at[a->n - 1 - tail], b->at[b->n - 1 - tail]))
        tail++;
    memset(script, ' ', head);
    size_t len = head + diff_middle(a->at + head, a->n - head - tail, b->at + head,
                                    b->n - head - tail, script + head);
    memset(script + len, ' ', tail);
    return len + tail;
}

/* Where the hunk that begins with the change at `from` ends: where more than two contexts follow
 * without a change. */
static size_t hunk_end(const char *script, size_t len, size_t from)
{
    size_t end = from, quiet = 0;
    for (size_t i = from; i < len && quiet <= 2 * DIFF_CONTEXT; i++) {
        quiet = script[i] == ' ' ? quiet + 1 : 0;
        if (quiet == 0)
            end = i + 1;
    }
    return end;
}

static void hunk_range(FILE *to, char sign, size_t at, size_t n)
{
    fprintf(to, n == 1 ? "%c%zu" : "%c%zu,%zu", sign, n == 0 ? at : at + 1, n);
}

static void hunk_put(FILE *to, const struct lines *a, const struct lines *b, const char *script,
                     size_t from, size_t end, size_t i, size_t j)
{
    size_t n = 0, m = 0;
    for (size_t k = from; k < end; k++) {
        n += script[k] != '+';
        m += script[k] != '-';
    }
    fputs("@@ ", to);
    hunk_range(to, '-', i, n);
    fputc(' ', to);
    hunk_range(to, '+', j, m);
    fputs(" @@\n", to);
    for (size_t k = from; k < end; k++) {
        const char *line = script[k] == '+' ? b->at[j] : a->at[i];
        i += script[k] != '+';
        j += script[k] != '-';
        fprintf(to, "%c%.*s\n", script[k], (int)strcspn(line, "\n"), line);
    }
}

void line_diff(const char *name, const char *before, const char *after, FILE *to)
{
    struct lines a = {0}, b = {0};
    bool split = lines_split(before, &a) && lines_split(after, &b);
    CLEANUP_FREE char *script = split ? malloc(a.n + b.n + 1) : NULL;
    size_t len = script != NULL ? diff_script(&a, &b, script) : 0;
    size_t i = 0, j = 0; /* the lines that script[k] stands for */
    bool headed = false;
    for (size_t k = 0; k < len;) {
        if (script[k] == ' ') {
            k++, i++, j++;
            continue;
        }
        size_t lead = k < DIFF_CONTEXT ? k : DIFF_CONTEXT;
        size_t end = hunk_end(script, len, k), trail = end + DIFF_CONTEXT;
        if (!headed)
            fprintf(to, "--- %s\n+++ %s\n", name, name);
        headed = true;
        hunk_put(to, &a, &b, script, k - lead, trail < len ? trail : len, i - lead, j - lead);
        for (; k < end; k++) {
            i += script[k] != '+';
            j += script[k] != '-';
        }
    }
    free(a.at);
    free(b.at);
}
