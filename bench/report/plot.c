/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * gnuplot gets a script in a private directory, and leaves one file a chart there. The directory
 * and all in it go with plot_close().
 */
#include "bench/report/plot.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/child.h"
#include "core/cleanup.h"

enum { PLOT_LINE_MAX = 64 * 1024, PLOT_DIR_MAX = 256 };

struct plot {
    char dir[PLOT_DIR_MAX];
    FILE *script;
    size_t charts;
};

static int plot_find(struct err *e)
{
    static const char *const ask[] = {"gnuplot", "--version", NULL};
    char line[80];
    child_first_line(ask, line, sizeof line);
    if (strncmp(line, "gnuplot ", 8) == 0)
        return 0;
    err_set(e, ERR_REFUSED, 0, "gnuplot is not installed");
    return err_hint(e, "install gnuplot-nox");
}

struct plot *plot_open(struct err *e)
{
    char script[PLOT_DIR_MAX + 16];
    const char *tmp = getenv("TMPDIR");
    if (plot_find(e) < 0)
        return NULL;
    struct plot *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot draw charts");
        return NULL;
    }
    /* the script names it in quotes */
    if (tmp == NULL || *tmp != '/' || strpbrk(tmp, "'\"`\n") != NULL)
        tmp = "/tmp";
    int n = snprintf(p->dir, sizeof p->dir, "%s/godwit-charts.XXXXXX", tmp);
    if (n >= (int)sizeof p->dir || mkdtemp(p->dir) == NULL) {
        err_set(e, ERR_IO, n >= (int)sizeof p->dir ? ENAMETOOLONG : errno,
                "%s: cannot make a directory in it", tmp);
        free(p);
        return NULL;
    }
    snprintf(script, sizeof script, "%s/script", p->dir);
    p->script = fopen(script, "we");
    if (p->script == NULL) {
        err_set(e, ERR_IO, errno, "%s: cannot make it", script);
        plot_close(p);
        return NULL;
    }
    return p;
}

void plot_close(struct plot *p)
{
    if (p == NULL)
        return;
    if (p->script != NULL)
        fclose(p->script);
    DIR *d = opendir(p->dir);
    for (struct dirent *entry; d != NULL && (entry = readdir(d)) != NULL;)
        unlinkat(dirfd(d), entry->d_name, 0); /* fails for . and .. */
    if (d != NULL)
        closedir(d);
    rmdir(p->dir);
    free(p);
}

FILE *plot_chart(struct plot *p, unsigned width, unsigned height, size_t *number)
{
    *number = p->charts++;
    fprintf(p->script,
            "reset session\nset encoding utf8\n"
            "set terminal svg size %u,%u dynamic noenhanced font 'sans-serif,12' background "
            "'#ffffff'\n"
            "set output '%s/%zu.svg'\n",
            width, height, p->dir, *number);
    return p->script;
}

void plot_text(FILE *to, const char *text)
{
    fputc('\'', to);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '\'' || c == '`' || c == '"' || c == '\\')
            fputc('.', to);
        else if (c == '@' || c == '$')
            fputc('_', to);
        else
            fputc(c < ' ' || c == 0x7f ? ' ' : c, to);
    }
    fputc('\'', to);
}

int plot_draw(struct plot *p, const volatile sig_atomic_t *cancel, struct err *e)
{
    char script[PLOT_DIR_MAX + 16];
    struct child_cost cost = {0};
    snprintf(script, sizeof script, "%s/script", p->dir);
    fputs("set output\n", p->script);
    bool whole = !ferror(p->script);
    whole = fclose(TAKE(p->script)) == 0 && whole;
    if (!whole)
        return err_set(e, ERR_IO, errno, "%s: cannot write it", script);
    const char *const argv[] = {"gnuplot", "-d", script, NULL}; /* -d: no settings of the user's */
    return p->charts > 0 ? child_run(argv, cancel, &cost, e) : 0;
}

/* What stands before <svg> belongs to a file; titles would pop up under the mouse. */
int plot_svg(const struct plot *p, size_t number, FILE *to, struct err *e)
{
    char path[PLOT_DIR_MAX + 32];
    snprintf(path, sizeof path, "%s/%zu.svg", p->dir, number);
    CLEANUP_FCLOSE FILE *from = fopen(path, "re");
    CLEANUP_FREE char *line = malloc(PLOT_LINE_MAX);
    if (from == NULL || line == NULL)
        return err_set(e, ERR_IO, errno, "gnuplot: cannot read chart %zu", number);
    bool begun = false, ended = false;
    while (fgets(line, PLOT_LINE_MAX, from) != NULL) {
        begun |= strncmp(line, "<svg", 4) == 0;
        ended |= strncmp(line, "</svg>", 6) == 0;
        if (!begun || strncmp(line, "<title>", 7) == 0 || strncmp(line, "<desc>", 6) == 0)
            continue;
        char *title = strstr(line, " ><title>");
        if (title != NULL)
            strcpy(title, ">\n");
        fputs(line, to);
    }
    if (!ended)
        return err_set(e, ERR_IO, 0, "gnuplot: chart %zu is cut short", number);
    return 0;
}
