/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results are written as one letter a part:
 *
 *   u  four bytes          l  eight bytes         A  the attributes
 *   a  attributes, or not  w  weak cache consistency: those before, or not, and after, or not
 *   h  a handle            f  a handle, or not    s  a string or opaque data
 *   n  an array of u       *(…)  a list: each element, and whether one more follows
 */
#include "nfs/shape.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { RPC_REPLY = 1, RPC_AUTH_MAX = 400, FH_MAX = 64 };
enum { ATTR_BYTES = 84, WCC_ATTR_BYTES = 24 };

struct shape {
    uint32_t proc;
    bool no_status; /* there are only results */
    const char *ok, *failed;
};

/* RFC 1813, all of it: libnfs may ask anything, also in a version that is not written yet. */
static const struct shape nfs_shapes[] = {
    {0, true, "", ""},               /* NULL */
    {1, false, "A", ""},             /* GETATTR */
    {2, false, "w", "w"},            /* SETATTR */
    {3, false, "haa", "a"},          /* LOOKUP */
    {4, false, "au", "a"},           /* ACCESS */
    {5, false, "as", "a"},           /* READLINK */
    {6, false, "auus", "a"},         /* READ */
    {7, false, "wuul", "w"},         /* WRITE */
    {8, false, "faw", "w"},          /* CREATE */
    {9, false, "faw", "w"},          /* MKDIR */
    {10, false, "faw", "w"},         /* SYMLINK */
    {11, false, "faw", "w"},         /* MKNOD */
    {12, false, "w", "w"},           /* REMOVE */
    {13, false, "w", "w"},           /* RMDIR */
    {14, false, "ww", "ww"},         /* RENAME */
    {15, false, "aw", "aw"},         /* LINK */
    {16, false, "al*(lsl)u", "a"},   /* READDIR */
    {17, false, "al*(lslaf)u", "a"}, /* READDIRPLUS */
    {18, false, "allllllu", "a"},    /* FSSTAT */
    {19, false, "auuuuuuullu", "a"}, /* FSINFO */
    {20, false, "auuuuuu", "a"},     /* PATHCONF */
    {21, false, "wl", "w"},          /* COMMIT */
};

static const struct shape mount_shapes[] = {
    {0, true, "", ""},         /* NULL */
    {1, false, "hn", ""},      /* MNT */
    {2, true, "*(ss)", ""},    /* DUMP */
    {3, true, "", ""},         /* UMNT */
    {4, true, "", ""},         /* UMNTALL */
    {5, true, "*(s*(s))", ""}, /* EXPORT */
};

struct view {
    const uint8_t *at, *end;
    uint32_t elements;
    const char *why; /* NULL: good so far */
};

static void bad(struct view *v, const char *why)
{
    if (v->why == NULL)
        v->why = why;
    v->at = v->end;
}

static void step_over(struct view *v, uint64_t bytes)
{
    if (bytes > (uint64_t)(v->end - v->at))
        bad(v, "ends too early");
    else
        v->at += bytes;
}

static uint32_t word(struct view *v)
{
    const uint8_t *p = v->at;
    step_over(v, 4);
    return v->why != NULL
               ? 0
               : (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool flag(struct view *v)
{
    uint32_t value = word(v);
    if (value > 1)
        bad(v, "has something else where yes or no stands");
    return v->why == NULL && value == 1;
}

static void optional(struct view *v, uint64_t bytes)
{
    if (flag(v))
        step_over(v, bytes);
}

static void opaque(struct view *v, uint32_t most)
{
    uint64_t len = word(v);
    if (len > (uint64_t)(v->end - v->at))
        bad(v, "has a length beyond its end");
    else if (len > most)
        bad(v, "has a handle or credential that is too long");
    else
        step_over(v, (len + 3) & ~UINT64_C(3));
}

static void array(struct view *v)
{
    uint64_t count = word(v);
    if (count * 4 > (uint64_t)(v->end - v->at))
        bad(v, "has a count beyond its end");
    else
        step_over(v, count * 4);
}

static void part(struct view *v, char kind)
{
    switch (kind) {
    case 'u': step_over(v, 4); break;
    case 'l': step_over(v, 8); break;
    case 'A': step_over(v, ATTR_BYTES); break;
    case 'a': optional(v, ATTR_BYTES); break;
    case 'w':
        optional(v, WCC_ATTR_BYTES);
        optional(v, ATTR_BYTES);
        break;
    case 'h': opaque(v, FH_MAX); break;
    case 'f':
        if (flag(v))
            opaque(v, FH_MAX);
        break;
    case 's': opaque(v, UINT32_MAX); break;
    default: array(v);
    }
}

/* Behind the ')' that belongs to the '(' before `shape`. */
static const char *behind(const char *shape)
{
    for (int depth = 1; depth > 0; shape++)
        depth += *shape == '(' ? 1 : *shape == ')' ? -1 : 0;
    return shape;
}

/* Up to the end of `shape`, or the ')' of the list that it is in; no deeper than lists are nested. */
static void walk(struct view *v, const char *shape)
{
    for (; *shape != '\0' && *shape != ')' && v->why == NULL; shape++) {
        if (*shape != '*') {
            part(v, *shape);
            continue;
        }
        while (flag(v)) {
            if (++v->elements > SHAPE_ELEMENTS_MAX)
                bad(v, "has a list that is too long");
            walk(v, shape + 2);
        }
        shape = behind(shape + 2) - 1;
    }
}

static enum shape_outcome denied(struct view *v)
{
    uint32_t reason = word(v);
    if (reason > 1)
        bad(v, "was denied for no reason that there is");
    step_over(v, reason == 1 ? 4 : 8);
    return reason == 1 ? SHAPE_AUTH : SHAPE_FOREIGN;
}

static enum shape_outcome accepted(struct view *v, const struct shape *s)
{
    enum { SUCCESS, PROG_MISMATCH = 2, SYSTEM_ERR = 5 };
    word(v); /* the flavour of the server's verifier */
    opaque(v, RPC_AUTH_MAX);
    uint32_t status = word(v);
    if (status > SYSTEM_ERR)
        bad(v, "has a status that there is not");
    if (status == PROG_MISMATCH)
        step_over(v, 8);
    if (status != SUCCESS)
        return SHAPE_FOREIGN;
    walk(v, s->no_status || word(v) == 0 ? s->ok : s->failed);
    return SHAPE_RESULTS;
}

static const struct shape *find(enum shape_program program, uint32_t proc)
{
    const struct shape *s = program == SHAPE_NFS ? nfs_shapes : mount_shapes;
    size_t n = program == SHAPE_NFS ? sizeof nfs_shapes : sizeof mount_shapes;
    for (size_t i = 0; i < n / sizeof *s; i++)
        if (s[i].proc == proc)
            return &s[i];
    return NULL;
}

enum shape_outcome shape_check(enum shape_program program, uint32_t proc, const uint8_t *record,
                               size_t len, const char **why)
{
    struct view v = {.at = record, .end = record + len};
    const struct shape *s = find(program, proc);
    enum shape_outcome outcome = SHAPE_NONSENSE;
    word(&v); /* the xid */
    if (word(&v) != RPC_REPLY)
        bad(&v, "is no reply");
    uint32_t stat = word(&v);
    if (stat > 1)
        bad(&v, "is neither accepted nor denied");
    else if (s == NULL)
        bad(&v, "is to a procedure that is not known");
    else
        outcome = stat == 0 ? accepted(&v, s) : denied(&v);
    *why = v.why;
    return v.why != NULL ? SHAPE_NONSENSE : outcome;
}

void shape_show(char text[SHAPE_SHOWN], const void *bytes, size_t len)
{
    enum { SHOWN = 20 };
    const unsigned char *p = bytes;
    size_t n = len < SHOWN ? len : SHOWN, at = 0, printable = 0;
    while (printable < n && isprint(p[printable]))
        printable++;
    if (n > 0 && (printable == n || (printable >= 8 && p[printable] == '\r'))) {
        snprintf(text, SHAPE_SHOWN, "\"%.*s%s\"", (int)printable, (const char *)p,
                 printable < len ? "…" : "");
        return;
    }
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, SHAPE_SHOWN - at, "%s%02x", i > 0 ? " " : "", p[i]);
    snprintf(text + at, SHAPE_SHOWN - at, "%s", n == 0 ? "nothing" : n < len ? " …" : "");
}
