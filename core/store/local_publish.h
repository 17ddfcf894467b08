/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_STORE_LOCAL_PUBLISH_H
#define CORE_STORE_LOCAL_PUBLISH_H

#include "core/store/store.h"

/* publish() of the local store, see core/store/store.h. */
int local_publish(struct store_file *file, const char *final, const struct store_attr *attr,
                  const struct store_attr *replaces, struct err *e);

#endif
