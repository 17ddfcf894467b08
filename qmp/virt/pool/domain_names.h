/* SPDX-License-Identifier: Apache-2.0 */
/* What a domain's XML names in a pool. */
#ifndef QMP_VIRT_POOL_DOMAIN_NAMES_H
#define QMP_VIRT_POOL_DOMAIN_NAMES_H

#include "qmp/virt/pool/domain_edit.h"
#include "qmp/virt/xml.h"

/*
 * The first attribute or text that names something in the pool, by any spelling (path_text.h); NULL:
 * none does. Disks of type 'volume' do so without a path, and are not seen. Labels are left out: they
 * may look like paths, but nobody opens them on this host.
 */
xmlNodePtr domain_names_first(const struct domain_move *m, xmlDocPtr doc);

#endif
