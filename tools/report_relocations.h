/* SPDX-License-Identifier: Apache-2.0 */
/* The section of `godwit bench report` about a result of `godwit bench relocate --json`. */
#ifndef TOOLS_REPORT_RELOCATIONS_H
#define TOOLS_REPORT_RELOCATIONS_H

#include "tools/page.h"

/* ERR_REFUSED: the file is something else. */
int report_relocations(const char *path, struct page *p, struct err *e);

#endif
