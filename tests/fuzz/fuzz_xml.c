/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Definitions of domains and pools, through what reads and edits them. An input is the XML.
 *
 * What is edited is XML again, and edited once more it stays as it is: network disks are of no pool.
 */
#include <errno.h>

#include "qmp/virt/incoming.h"
#include "qmp/virt/pool/domain_edit.h"
#include "tests/fuzz/fuzz.h"

static char *name_in_pool(void *arg, const char *path)
{
    (void)arg;
    return strncmp(path, "/p/", 3) == 0 ? strdup(path + 3) : NULL;
}

/* Each is based on one whose name is shorter, down to those that are not there. */
static int image_in_pool(void *arg, const char *name, bool qcow2, struct domain_image *i,
                         struct err *e)
{
    (void)arg;
    *i = (struct domain_image){0};
    if (strlen(name) > 200 || strcmp(name, "absent") == 0)
        return err_set(e, ERR_REFUSED, ENOENT, "%s", name);
    if (qcow2 && name[0] != '\0' && name[1] != '\0') {
        i->backing = strdup(name + 1);
        i->format = name[1] == 'q' ? strdup("qcow2") : NULL;
    }
    return 0;
}

static int below_in_pool(void *arg, const char *name, const char *format, struct domain_image *i,
                         struct err *e)
{
    return image_in_pool(arg, name, format == NULL || strcmp(format, "qcow2") == 0, i, e);
}

static void edit(const char *xml, const struct domain_move *m)
{
    struct err e = {0}, again = {0};
    struct domain_edit first, second;
    int rc = domain_edit_make(xml, "domain g", m, &first, &e);
    fuzz_check_err(rc == 0, &e);
    if (rc == 0 && first.definition != NULL && m->host != NULL) {
        rc = domain_edit_make(first.definition, "domain g", m, &second, &again);
        fuzz_check_err(rc == 0, &again);
        REQUIRE(again.class != ERR_PROTO);
        REQUIRE(rc < 0 || second.definition == NULL ||
                strcmp(first.definition, second.definition) == 0);
        domain_edit_free(&second);
    }
    domain_edit_free(&first);
}

static void look(const char *xml, const struct domain_move *m)
{
    struct err uses = {0}, path = {0}, target = {0}, incoming = {0}, check = {0};
    fuzz_check_err(domain_edit_uses(xml, "g", m, &uses) >= 0, &uses);
    fuzz_check_err(domain_edit_uses_path(xml, "g", m, &path) >= 0, &path);
    char *text = pool_edit_target(xml, "/mnt", &target);
    fuzz_check_err(text != NULL, &target);
    free(text);
    text = virt_incoming_xml(xml, "g", "id", &incoming);
    fuzz_check_err(text != NULL, &incoming);
    free(text);
    fuzz_check_err(virt_incoming_check(xml, &check) == 0, &check);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct domain_move to_files = {.pool = "p",
                                         .directory = "/m",
                                         .name = name_in_pool,
                                         .image = image_in_pool,
                                         .below = below_in_pool};
    const struct domain_move to_nfs = {
        .pool = "p", .host = "h", .export = "/e", .name = name_in_pool, .image = image_in_pool};
    char *xml = fuzz_text(data, size);
    edit(xml, &to_files);
    edit(xml, &to_nfs);
    look(xml, &to_files);
    free(xml);
    return 0;
}
