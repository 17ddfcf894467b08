/* SPDX-License-Identifier: Apache-2.0 */
/* Whether two definitions of a domain are the same one. Pure: XML in. */
#ifndef QMP_VIRT_POOL_DEFINITION_H
#define QMP_VIRT_POOL_DEFINITION_H

#include <stdbool.h>

/*
 * Whether `xml` and `other`, as libvirt gives out persistent definitions of a domain, say the same:
 * every element, attribute and text, but for indentation, for how it is quoted, and for the order of
 * the devices. libvirt itself changes that order: what it adds to a definition (a controller for a
 * channel, say) stands last until the definition is given to it again. The order among devices of
 * one kind that have no address, or of disks, which is the order of booting, may not differ.
 */
bool virt_definition_same(const char *xml, const char *other);

#endif
