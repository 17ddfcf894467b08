/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Charts as SVG, drawn by gnuplot. All charts of a page go into one script, so that it is started
 * once:
 *
 *     p = plot_open(&e);
 *     FILE *to = plot_chart(p, 600, 300, &number);  writes gnuplot's language to it
 *     …
 *     plot_draw(p, cancel, &e);
 *     plot_svg(p, number, page, &e);
 *
 * Data are datablocks in the script ("$d1 << EOD"). Text that is not ours must go through
 * plot_text(): gnuplot runs commands that it finds in strings.
 */
#ifndef BENCH_REPORT_PLOT_H
#define BENCH_REPORT_PLOT_H

#include <signal.h>
#include <stdio.h>

#include "core/err.h"

struct plot;

/* ERR_REFUSED: gnuplot is not installed. */
struct plot *plot_open(struct err *e);
void plot_close(struct plot *p); /* also NULL */

/* Begins another chart of that size in pixels, all settings as they are by default, and ends the
 * one before. */
FILE *plot_chart(struct plot *p, unsigned width, unsigned height, size_t *number);

/* A string for gnuplot, in its quotes. What it could take for more than text is replaced. */
void plot_text(FILE *to, const char *text);

/* Draws them all. ERR_IO: gnuplot failed; what it said is in the message. */
int plot_draw(struct plot *p, const volatile sig_atomic_t *cancel, struct err *e);

/* One that was drawn, as an <svg> element to be put into a page. */
int plot_svg(const struct plot *p, size_t number, FILE *to, struct err *e);

#endif
