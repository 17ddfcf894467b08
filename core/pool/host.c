/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pool/host.h"

#include <stdlib.h>

void pool_facts_free(struct pool_facts *facts)
{
    free(facts->definition);
    free(facts->path);
    *facts = (struct pool_facts){0};
}

void pool_volumes_free(struct pool_volume *volumes, size_t n)
{
    for (size_t i = 0; volumes != NULL && i < n; i++)
        free(volumes[i].name);
    free(volumes);
}

void pool_domains_free(struct pool_domain *domains, size_t n)
{
    for (size_t i = 0; domains != NULL && i < n; i++) {
        free(domains[i].definition);
        free(domains[i].running_as);
    }
    free(domains);
}

void domain_edit_free(struct domain_edit *edit)
{
    for (size_t i = 0; i < edit->n; i++)
        free(edit->names[i]);
    free(edit->names);
    free(edit->definition);
    *edit = (struct domain_edit){0};
}

void file_users_free(struct file_users *users)
{
    for (size_t i = 0; i < users->n; i++) {
        free(users->at[i].who);
        free(users->at[i].how);
    }
    free(users->at);
    *users = (struct file_users){0};
}
