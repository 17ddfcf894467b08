/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTML page that stands alone: its style and its charts are in it, and it loads nothing. All
 * text is escaped here.
 */
#ifndef BENCH_REPORT_PAGE_H
#define BENCH_REPORT_PAGE_H

#include <signal.h>
#include <stdio.h>

#include "bench/report/plot.h"
#include "core/err.h"

struct page;

/* ERR_REFUSED: gnuplot is not installed. */
struct page *page_open(const char *title, struct err *e);
void page_close(struct page *p); /* also NULL */

/* Draws the charts, and writes it all. */
int page_write(struct page *p, const volatile sig_atomic_t *cancel, FILE *to, struct err *e);

/* The tag's text is ours: "p", "h2", "p class=note". */
void page_begin(struct page *p, const char *tag);
void page_end(struct page *p, const char *tag); /* without attributes */
/* A whole element with nothing but text in it. */
void page_element(struct page *p, const char *tag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* <table>, with a head of column names that a '|' separates, up to page_end(p, "table"). A name with
 * '<' before it is of a column of text, which is "td class=t". */
void page_table(struct page *p, const char *columns);

/* A chart to be drawn: the script is written to what is returned (bench/report/plot.h). */
FILE *page_chart(struct page *p, unsigned width, unsigned height);

#endif
