/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * The page is collected in memory, because gnuplot draws all charts at once at the end. Where one
 * belongs is remembered by its offset in the text; page_write() puts them there.
 */
#include "bench/report/page.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/text.h"

struct page {
    FILE *body; /* into text */
    char *text;
    size_t len;
    struct plot *plot;
    size_t *chart_at; /* offset of chart number i */
    size_t charts, room;
    bool starved; /* of memory */
};

/* Dark on white; wide tables scroll; nothing is cut on paper. */
static const char style[] =
    "body{font:15px/1.45 sans-serif;color:#1a1a1a;background:#fff;max-width:1240px;"
    "margin:0 auto;padding:16px}\n"
    "h1{font-size:24px;margin:0 0 4px}h2{font-size:19px;margin:36px 0 6px;"
    "border-bottom:1px solid #bbb;padding-bottom:3px}h3{font-size:15px;margin:20px 0 4px}\n"
    "table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;"
    "margin:8px 0}\n"
    "th{background:#f0f0f0;text-align:right;vertical-align:bottom;font-weight:600}\n"
    "th,td{padding:2px 8px;white-space:nowrap}td{text-align:right}\n"
    "th.t,td.t{text-align:left}tr.group td{text-align:left;background:#fafafa;font-weight:600;"
    "padding-top:8px}tr.first td,tr.group td{border-top:1px solid #bbb}\n"
    "td.faster{color:#00602b;font-weight:600}td.slower{color:#a3001e;font-weight:600}\n"
    ".note{color:#444;font-size:13px;max-width:900px;margin:4px 0}.wide{overflow-x:auto}\n"
    ".charts{display:flex;flex-wrap:wrap;gap:8px}.charts figure{margin:0;flex:none}\n"
    "figure{margin:8px 0}svg{max-width:100%;height:auto;display:block}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:8px 0;"
    "font-size:14px}dt{color:#555}dd{margin:0;overflow-wrap:anywhere}\n"
    "details{margin:3px 0;border:1px solid #ddd;border-radius:4px;padding:3px 8px}"
    "summary{cursor:pointer;font-size:14px}details details{border:0;padding:0}\n"
    "@media print{body{max-width:none;padding:0;font-size:11px}table{font-size:9px}"
    ".wide{overflow:visible}th,td{padding:1px 4px}figure,tr{break-inside:avoid}"
    "h2,h3{break-after:avoid}}\n";

struct page *page_open(const char *title, struct err *e)
{
    struct page *p = calloc(1, sizeof *p);
    if (p != NULL)
        p->body = open_memstream(&p->text, &p->len);
    if (p == NULL || p->body == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot make a page");
        page_close(p);
        return NULL;
    }
    p->plot = plot_open(e);
    if (p->plot == NULL) {
        page_close(p);
        return NULL;
    }
    fputs("<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n", p->body);
    page_element(p, "title", "%s", title);
    fprintf(p->body, "<style>\n%s</style>\n</head>\n<body>\n", style);
    page_element(p, "h1", "%s", title);
    return p;
}

void page_close(struct page *p)
{
    if (p == NULL)
        return;
    plot_close(p->plot);
    if (p->body != NULL)
        fclose(p->body);
    free(p->text);
    free(p->chart_at);
    free(p);
}

/* ---- text ---- */

void page_begin(struct page *p, const char *tag)
{
    fprintf(p->body, "<%s>", tag);
}

void page_end(struct page *p, const char *tag)
{
    fprintf(p->body, "</%s>\n", tag);
}

void page_element(struct page *p, const char *tag, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    page_begin(p, tag);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    text_put_escaped(p->body, text);
    fprintf(p->body, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

void page_table(struct page *p, const char *columns)
{
    char names[512];
    snprintf(names, sizeof names, "%s", columns);
    char *rest = names;
    page_begin(p, "table");
    page_begin(p, "thead");
    page_begin(p, "tr");
    for (char *name; (name = strsep(&rest, "|")) != NULL;)
        page_element(p, *name == '<' ? "th class=t" : "th", "%s", *name == '<' ? name + 1 : name);
    page_end(p, "tr");
    page_end(p, "thead");
}

/* ---- charts ---- */

FILE *page_chart(struct page *p, unsigned width, unsigned height)
{
    size_t number;
    FILE *to = plot_chart(p->plot, width, height, &number);
    if (number >= p->room) {
        size_t room = p->room > 0 ? 2 * p->room : 64;
        size_t *more = realloc(p->chart_at, room * sizeof *more);
        p->starved |= more == NULL;
        if (more == NULL)
            return to; /* page_write() reports it */
        p->chart_at = more;
        p->room = room;
    }
    fprintf(p->body, "<figure style=\"width:%upx;max-width:100%%\">", width);
    fflush(p->body);
    p->chart_at[number] = p->len;
    p->charts = number + 1;
    page_end(p, "figure");
    return to;
}

int page_write(struct page *p, const volatile sig_atomic_t *cancel, FILE *to, struct err *e)
{
    fputs("</body>\n</html>\n", p->body);
    if (fflush(p->body) != 0 || p->starved)
        return err_set(e, ERR_IO, ENOMEM, "cannot make a page");
    if (plot_draw(p->plot, cancel, e) < 0)
        return -1;
    size_t from = 0;
    for (size_t i = 0; i < p->charts; i++) {
        fwrite(p->text + from, 1, p->chart_at[i] - from, to);
        from = p->chart_at[i];
        if (plot_svg(p->plot, i, to, e) < 0)
            return -1;
    }
    fwrite(p->text + from, 1, p->len - from, to);
    if (fflush(to) != 0 || ferror(to))
        return err_set(e, ERR_IO, errno, "cannot write the page");
    return 0;
}
