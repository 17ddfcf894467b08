/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Kept texts stand in one list that only grows, under a lock; an equal text is
 * found instead of added, so that a message repeated by a retry costs nothing. They are few (errors,
 * checks, commands) and end with the process, so that whoever holds one may copy the pointer and
 * needs no care about its life.
 */
#include "core/text.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

#define TEXT_CUT "…"
/* A word that keeps fewer bytes than this tells nothing any more. */
#define TEXT_WORD_MIN 24

struct kept {
    struct kept *next;
    char text[];
};

static struct kept *kept_first;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

/* With the lock held. */
static const char *text_find_or_add(const char *text)
{
    for (const struct kept *k = kept_first; k != NULL; k = k->next)
        if (strcmp(k->text, text) == 0)
            return k->text;
    size_t bytes = strlen(text) + 1;
    struct kept *k = malloc(sizeof *k + bytes);
    if (k == NULL)
        return "(no memory for this text)";
    memcpy(k->text, text, bytes);
    k->next = kept_first;
    kept_first = k;
    return k->text;
}

static const char *text_keep_string(const char *text)
{
    pthread_mutex_lock(&kept_lock);
    const char *kept = text_find_or_add(text);
    pthread_mutex_unlock(&kept_lock);
    return kept;
}

const char *text_keep_v(const char *fmt, va_list ap)
{
    CLEANUP_FREE char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0) {
        text = NULL;
        return "(no memory for this text)";
    }
    return text_keep_string(text);
}

const char *text_keep(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *kept = text_keep_v(fmt, ap);
    va_end(ap);
    return kept;
}

void text_one_line(char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

const char *text_keep_line_v(const char *fmt, va_list ap)
{
    CLEANUP_FREE char *text = NULL;
    if (vasprintf(&text, fmt, ap) < 0) {
        text = NULL;
        return "(no memory for this text)";
    }
    text_one_line(text);
    return text_keep_string(text);
}

const char *text_shell_word(const char *word)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "@%+=:,./_-";
    if (*word != '\0' && word[strspn(word, safe)] == '\0')
        return text_keep_string(word);

    size_t bytes = 3;
    for (const char *p = word; *p != '\0'; p++)
        bytes += *p == '\'' ? 4 : 1;
    CLEANUP_FREE char *quoted = malloc(bytes);
    if (quoted == NULL)
        return "(no memory for this text)";
    char *to = quoted;
    *to++ = '\'';
    for (const char *p = word; *p != '\0'; p++)
        if (*p == '\'')
            to = stpcpy(to, "'\\''");
        else
            *to++ = *p;
    stpcpy(to, "'");
    return text_keep_string(quoted);
}

const char *text_url_host(const char *host)
{
    return strchr(host, ':') != NULL && *host != '[' ? text_keep("[%s]", host)
                                                     : text_keep_string(host);
}

/* One conversion, `spec` behind its '%'; returns what comes behind it. */
static const char *text_command_put(FILE *to, const char *spec, va_list *ap)
{
    static const struct {
        const char *name;
        enum { WORD, UNSIGNED, INT, ULONG, ULLONG, PERCENT } is;
    } specs[] = {{"s", WORD},   {"u", UNSIGNED}, {"d", INT},
                 {"lu", ULONG}, {"llu", ULLONG}, {"%", PERCENT}};
    size_t i = 0;
    while (strncmp(spec, specs[i].name, strlen(specs[i].name)) != 0) {
        i++;
        assert(i < sizeof specs / sizeof *specs);
    }
    switch (specs[i].is) {
    case WORD: fputs(text_shell_word(va_arg(*ap, const char *)), to); break;
    case UNSIGNED: fprintf(to, "%u", va_arg(*ap, unsigned)); break;
    case INT: fprintf(to, "%d", va_arg(*ap, int)); break;
    case ULONG: fprintf(to, "%lu", va_arg(*ap, unsigned long)); break;
    case ULLONG: fprintf(to, "%llu", va_arg(*ap, unsigned long long)); break;
    case PERCENT: fputc('%', to); break;
    }
    return spec + strlen(specs[i].name);
}

const char *text_command_v(const char *fmt, va_list ap)
{
    CLEANUP_FREE char *text = NULL;
    size_t size;
    va_list args;
    FILE *to = open_memstream(&text, &size);
    if (to == NULL)
        return "(no memory for this text)";
    va_copy(args, ap);
    while (*fmt != '\0')
        if (*fmt == '%')
            fmt = text_command_put(to, fmt + 1, &args);
        else
            fputc(*fmt++, to);
    va_end(args);
    if (fclose(to) != 0)
        return "(no memory for this text)";
    text_one_line(text);
    return text_keep_string(text);
}

const char *text_command(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const char *kept = text_command_v(fmt, ap);
    va_end(ap);
    return kept;
}

/* ---- fitting ---- */

static bool utf8_continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Takes bytes out of the middle of text[start, start + len), TEXT_CUT instead, so that at least
 * `excess` bytes are saved but the word keeps `min`; returns the bytes that it saved. */
static size_t text_cut_middle(char *text, size_t start, size_t len, size_t excess, size_t min)
{
    const size_t mark = sizeof TEXT_CUT - 1;
    size_t take = excess + mark < len - min ? excess + mark : len - min;
    size_t from = start + (len - take) / 3, to = from + take;
    while (from > start && utf8_continues(text[from]))
        from--;
    while (to < start + len && utf8_continues(text[to]))
        to++;
    if (to - from <= mark)
        return 0;
    memcpy(text + from, TEXT_CUT, mark);
    memmove(text + from + mark, text + to, strlen(text + to) + 1);
    return to - from - mark;
}

static size_t text_longest_word(const char *text, size_t *len)
{
    size_t start = 0;
    *len = 0;
    for (const char *p = text; *p != '\0';) {
        p += strspn(p, " ");
        size_t n = strcspn(p, " ");
        if (n > *len) {
            start = (size_t)(p - text);
            *len = n;
        }
        p += n;
    }
    return start;
}

void text_fit(char *to, size_t room, const char *text)
{
    size_t bytes = strlen(text);
    if (bytes < room) {
        memcpy(to, text, bytes + 1);
        return;
    }
    CLEANUP_FREE char *whole = strdup(text);
    if (whole == NULL) { /* the end of the text says more than its beginning */
        snprintf(to, room, "%s", text + bytes - room + 1);
        return;
    }
    while (bytes >= room) {
        size_t len, start = text_longest_word(whole, &len);
        size_t saved = len > TEXT_WORD_MIN
                           ? text_cut_middle(whole, start, len, bytes - room + 1, TEXT_WORD_MIN)
                           : 0;
        if (saved == 0)
            saved = text_cut_middle(whole, 0, bytes, bytes - room + 1, 0);
        if (saved == 0)
            break;
        bytes -= saved;
    }
    snprintf(to, room, "%s", whole);
}

/* ---- what a program said ---- */

struct text_line {
    const char *at;
    int len;
};

/* A frame of '@', a warning that goes before the reason, what is said of a step: no reason. */
static bool text_line_is_noise(const struct text_line *l)
{
    static const char *const begins[] = {"Warning:", "** ", "debug1:", "debug2:", "debug3:", "@"};
    int letters = 0;
    for (int i = 0; i < l->len; i++)
        letters += l->at[i] >= 'A' && l->at[i] <= 'z';
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (strncmp(l->at, begins[i], strlen(begins[i])) == 0)
            return true;
    return letters < 3;
}

static bool text_line_has(const struct text_line *l, const char *words)
{
    return l->len > 0 && memmem(l->at, (size_t)l->len, words, strlen(words)) != NULL;
}

/* The next line, trimmed; false: there is none. */
static bool text_next_line(const char **from, struct text_line *l)
{
    *from += strspn(*from, "\r\n \t");
    l->at = *from;
    l->len = (int)strcspn(*from, "\r\n");
    *from += l->len;
    while (l->len > 0 && (l->at[l->len - 1] == ' ' || l->at[l->len - 1] == '\t'))
        l->len--;
    return l->len > 0;
}

const char *text_why(const char *said)
{
    struct text_line line, last = {"", 0}, key = {"", 0}, file = {"", 0};
    while (text_next_line(&said, &line)) {
        if (text_line_is_noise(&line))
            continue;
        last = line;
        /* "Host key for b has changed and …", "No ED25519 host key is known for b and …" */
        if (text_line_has(&line, "Host key for") || text_line_has(&line, "host key is known for"))
            key = line;
        if (text_line_has(&line, "Offending "))
            file = line;
    }
    if (key.len == 0)
        return text_keep("%.*s", last.len, last.at);
    return text_keep("%.*s%s%.*s%s%.*s", key.len, key.at, file.len > 0 ? " (" : "", file.len,
                     file.at, file.len > 0 ? "): " : ": ", last.len, last.at);
}

void text_put_escaped(FILE *to, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '\'': fputs("&apos;", to); break;
        case '"': fputs("&quot;", to); break;
        default: fputc(*text, to);
        }
}
