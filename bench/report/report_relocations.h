/* SPDX-License-Identifier: Apache-2.0 */
/* The section of `godwit bench report` about a result of `godwit bench relocate --json`. */
#ifndef BENCH_REPORT_REPORT_RELOCATIONS_H
#define BENCH_REPORT_REPORT_RELOCATIONS_H

#include "bench/report/page.h"

/* ERR_REFUSED: the file is something else. */
int report_relocations(const char *path, struct page *p, struct err *e);

#endif
