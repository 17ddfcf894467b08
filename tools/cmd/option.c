/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cmd/option.h"

#include <assert.h>
#include <getopt.h>
#include <string.h>

#include "core/units.h"

enum { OPTION_HELP_COLUMN = 26, OPTION_WIDTH = 80 };

/* getopt_long's val of the n-th option is OPTION_BASE + n; --help is OPTION_HELP. */
enum { OPTION_HELP = 500, OPTION_BASE = 1000 };

static size_t option_append_flat(const struct option_def *defs, size_t offset,
                                 struct option_flat *flat, size_t n)
{
    for (; defs->name != NULL; defs++) {
        if (defs->kind == OPTION_TABLE) {
            n = option_append_flat(defs->of, offset + defs->offset, flat, n);
            continue;
        }
        if (defs->kind == OPTION_GIVEN) {
            flat->given_offset = offset + defs->offset;
            continue;
        }
        assert(n < OPTION_MAX);
        flat->at[n] = *defs;
        flat->at[n++].offset += offset;
    }
    return n;
}

void option_flatten(const struct option_def *defs, struct option_flat *flat)
{
    flat->given_offset = SIZE_MAX;
    size_t n = option_append_flat(defs, 0, flat, 0);
    flat->at[n] = (struct option_def)OPTION_END;
}

static int option_choice(const struct option_def *d, const char *text, int *value, struct err *e)
{
    const char *const *words = d->of;
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *value = i;
            return 0;
        }
    }
    return err_set(e, ERR_USAGE, 0, "'%s' is not one of %s", text, d->arg);
}

static int option_append(struct option_list *list, const char *text, struct err *e)
{
    if (list->n == OPTION_LIST_MAX)
        return err_set(e, ERR_USAGE, 0, "given more than %d times", OPTION_LIST_MAX);
    list->at[list->n++] = text;
    return 0;
}

static int option_store(const struct option_def *d, void *base, const char *text, struct err *e)
{
    void *at = (char *)base + d->offset;
    switch (d->kind) {
    case OPTION_FLAG: *(bool *)at = true; return 0;
    case OPTION_TEXT: *(const char **)at = text; return 0;
    case OPTION_COUNT: return units_parse_count(text, d->min, d->max, at, e);
    case OPTION_SIZE: return units_parse_size(text, at, e);
    case OPTION_RATE: return units_parse_rate(text, at, e);
    case OPTION_DURATION: return units_parse_duration(text, at, e);
    case OPTION_CHOICE: return option_choice(d, text, at, e);
    case OPTION_LIST: return option_append(at, text, e);
    case OPTION_TABLE:
    case OPTION_GIVEN: break; /* flat tables have none */
    }
    assert(0 && "an option kind without a parser");
    return -1;
}

/* The table in getopt_long's form. */
struct option_forms {
    struct option longs[OPTION_MAX + 2];
    char shorts[OPTION_MAX * 2 + 4];
};

static void option_forms(const struct option_def *defs, struct option_forms *f)
{
    size_t s = 0;
    int n = 0;
    f->shorts[s++] = ':'; /* a missing value is ':', not '?' */
    f->shorts[s++] = 'h';
    for (; defs[n].name != NULL; n++) {
        f->longs[n] = (struct option){
            .name = defs[n].name,
            .has_arg = defs[n].kind == OPTION_FLAG ? no_argument : required_argument,
            .val = OPTION_BASE + n,
        };
        if (defs[n].letter != 0) {
            f->shorts[s++] = defs[n].letter;
            if (defs[n].kind != OPTION_FLAG)
                f->shorts[s++] = ':';
        }
    }
    f->longs[n] = (struct option){.name = "help", .has_arg = no_argument, .val = OPTION_HELP};
    f->longs[n + 1] = (struct option){0};
    f->shorts[s] = '\0';
}

static int option_index(const struct option_def *defs, int val)
{
    if (val >= OPTION_BASE)
        return val - OPTION_BASE;
    for (int i = 0; defs[i].name != NULL; i++)
        if (defs[i].letter == val)
            return i;
    return -1;
}

/* What getopt_long could not understand, as the user wrote it. */
static int option_complain(int val, char **argv, struct err *e)
{
    if (val == ':')
        return err_set(e, ERR_USAGE, 0, "%s: needs a value", argv[optind - 1]);
    if (optopt != 0 && optopt < OPTION_HELP)
        return err_set(e, ERR_USAGE, 0, "-%c: unknown option", optopt);
    if (optopt >= OPTION_HELP)
        return err_set(e, ERR_USAGE, 0, "%s: takes no value", argv[optind - 1]);
    return err_set(e, ERR_USAGE, 0, "%s: unknown option", argv[optind - 1]);
}

static void option_note(const struct option_flat *flat, void *base, const char *name)
{
    if (flat->given_offset == SIZE_MAX)
        return;
    struct option_given *g = (struct option_given *)((char *)base + flat->given_offset);
    g->names[g->n++] = name;
}

bool option_was_given(const struct option_given *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++)
        if (strcmp(g->names[i], name) == 0)
            return true;
    return false;
}

static int option_set_flag(bool *at, const char *text, struct err *e)
{
    *at = strcmp(text, "on") == 0;
    return *at || strcmp(text, "off") == 0
               ? 0
               : err_set(e, ERR_USAGE, 0, "'%s' is neither on nor off", text);
}

int option_set(const struct option_def *table, void *base, const char *name, const char *text,
               struct err *e)
{
    struct option_flat flat;
    option_flatten(table, &flat);
    for (const struct option_def *d = flat.at; d->name != NULL; d++) {
        if (strcmp(d->name, name) != 0)
            continue;
        int rc = d->kind == OPTION_FLAG
                     ? option_set_flag((bool *)((char *)base + d->offset), text, e)
                     : option_store(d, base, text, e);
        return rc < 0 ? err_wrap(e, "%s", name) : 0;
    }
    return err_set(e, ERR_USAGE, 0, "'%s' is no option", name);
}

int option_parse(const struct option_def *table, void *base, int argc, char **argv, bool *help,
                 struct err *e)
{
    struct option_forms forms;
    struct option_flat flat;
    const struct option_def *defs = flat.at;
    bool seen[OPTION_MAX] = {false};
    option_flatten(table, &flat);
    option_forms(defs, &forms);

    opterr = 0;
    optind = 0; /* glibc: start anew */
    int val;
    while ((val = getopt_long(argc, argv, forms.shorts, forms.longs, NULL)) != -1) {
        if (val == OPTION_HELP || val == 'h') {
            *help = true;
            return argc;
        }
        int i = val == ':' || val == '?' ? -1 : option_index(defs, val);
        if (i < 0)
            return option_complain(val, argv, e);
        if (seen[i] && defs[i].kind != OPTION_LIST)
            return err_set(e, ERR_USAGE, 0, "--%s: given twice", defs[i].name);
        if (!seen[i])
            option_note(&flat, base, defs[i].name);
        seen[i] = true;
        if (option_store(&defs[i], base, optarg, e) < 0)
            return err_wrap(e, "--%s", defs[i].name);
    }
    return optind;
}

/* Breaks `text` between words, so that each line ends by OPTION_WIDTH. */
static void option_wrap(const char *text, FILE *to)
{
    int column = OPTION_HELP_COLUMN;
    while (*text != '\0') {
        int len = (int)strcspn(text, " ");
        if (column + 1 + len > OPTION_WIDTH) {
            fprintf(to, "\n%*s", OPTION_HELP_COLUMN, "");
            column = OPTION_HELP_COLUMN;
        } else if (column > OPTION_HELP_COLUMN) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", len, text);
        column += len;
        text += len;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

void option_usage(const struct option_def *table, FILE *to)
{
    struct option_flat flat;
    option_flatten(table, &flat);
    for (const struct option_def *defs = flat.at; defs->name != NULL; defs++) {
        char left[64];
        char letter[8] = "    ";
        if (defs->letter != 0)
            snprintf(letter, sizeof letter, "-%c, ", defs->letter);
        int n = snprintf(left, sizeof left, "  %s--%s%s%s", letter, defs->name,
                         defs->arg != NULL ? "=" : "", defs->arg != NULL ? defs->arg : "");
        fputs(left, to);
        if (n >= OPTION_HELP_COLUMN - 1)
            fprintf(to, "\n%*s", OPTION_HELP_COLUMN, "");
        else
            fprintf(to, "%*s", OPTION_HELP_COLUMN - n, "");
        option_wrap(defs->help, to);
    }
}

/* In roff a hyphen that is typed, not read, is written \-. */
static void option_roff(const char *text, FILE *to)
{
    for (; *text != '\0'; text++) {
        if (*text == '-')
            fputc('\\', to);
        fputc(*text, to);
    }
}

void option_man(const struct option_def *table, FILE *to)
{
    struct option_flat flat;
    option_flatten(table, &flat);
    for (const struct option_def *defs = flat.at; defs->name != NULL; defs++) {
        fputs(".TP\n\\fB", to);
        if (defs->letter != 0)
            fprintf(to, "\\-%c\\fR, \\fB", defs->letter);
        fputs("\\-\\-", to);
        option_roff(defs->name, to);
        fputs("\\fR", to);
        if (defs->arg != NULL)
            fprintf(to, "=\\fI%s\\fR", defs->arg);
        fputc('\n', to);
        option_roff(defs->help, to);
        fputc('\n', to);
    }
}
