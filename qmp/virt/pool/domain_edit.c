/* SPDX-License-Identifier: Apache-2.0 */
#include "qmp/virt/pool/domain_edit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "qmp/virt/pool/domain_names.h"
#include "qmp/virt/pool/xml_source.h"

enum { CHAIN_MAX = 64 }; /* as core/relocate/chain.c */

struct editor {
    const struct domain_move *m;
    const char *what;
    struct xml_source *source;
    xmlDocPtr doc;
    struct domain_edit *edit;
};

static int edit_no_memory(const struct editor *ed, struct err *e)
{
    return err_set(e, ERR_IO, ENOMEM, "no memory for the XML of %s", ed->what);
}

static xmlNodePtr edit_child(xmlNodePtr node, const char *name)
{
    for (xmlNodePtr c = xmlFirstElementChild(node); c != NULL; c = xmlNextElementSibling(c))
        if (strcmp((const char *)c->name, name) == 0)
            return c;
    return NULL;
}

static bool edit_has(xmlNodePtr node, const char *attribute, const char *value)
{
    CLEANUP_FREE char *is = xml_attribute(node, attribute);
    return is != NULL && strcmp(is, value) == 0;
}

/* Takes `name`. */
static int edit_used(struct editor *ed, char *name, struct err *e)
{
    struct domain_edit *edit = ed->edit;
    char **more = name != NULL ? realloc(edit->names, (edit->n + 1) * sizeof *more) : NULL;
    if (more == NULL) {
        free(name);
        return edit_no_memory(ed, e);
    }
    edit->names = more;
    edit->names[edit->n++] = name;
    return 0;
}

static char *edit_join(const char *directory, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

/* ---- the files of <os> ---- */

static int edit_local(struct editor *ed, const char *path, const char *element, char **to,
                      struct err *e)
{
    CLEANUP_FREE char *name = ed->m->name(ed->m->arg, path);
    *to = NULL;
    if (name == NULL || *name == '\0')
        return 0;
    if (ed->m->directory == NULL) {
        err_set(e, ERR_REFUSED, 0, "%s: <%s> names %s, which has to be a file of this host",
                ed->what, element, path);
        return err_hint(e, "mount the share, and say where with --mount");
    }
    *to = edit_join(ed->m->directory, name);
    return *to != NULL ? edit_used(ed, TAKE(name), e) : edit_no_memory(ed, e);
}

static int edit_os(struct editor *ed, struct err *e)
{
    CLEANUP_NODES struct xml_nodes texts = xml_select(
        ed->doc, NULL,
        "/domain/os/kernel|/domain/os/initrd|/domain/os/dtb|/domain/os/loader|/domain/os/nvram");
    for (size_t i = 0; i < texts.n; i++) {
        xmlNodePtr node = texts.at[i], source = edit_child(node, "source");
        CLEANUP_FREE char *text = source != NULL ? xml_attribute(source, "file")
                                                 : xml_value(ed->doc, node, "./text()");
        CLEANUP_FREE char *to = NULL;
        if (text == NULL)
            continue;
        if (edit_local(ed, text, (const char *)node->name, &to, e) < 0)
            return -1;
        if (to != NULL && source != NULL)
            xml_source_set(source, "file", to);
        else if (to != NULL)
            xml_source_set_text(node, to);
    }
    return 0;
}

/* ---- disks ---- */

/* What it is to its user, "disk" if nothing else is said; NULL: no memory. */
static char *edit_device(xmlNodePtr disk)
{
    char *device = xml_attribute(disk, "device");
    return device != NULL ? device : strdup("disk");
}

/* The format that a <disk> or a <backingStore> gives its image; NULL: none is said. */
static char *edit_format(xmlNodePtr holder)
{
    xmlNodePtr said = edit_child(holder, "driver");
    if (said == NULL)
        said = edit_child(holder, "format");
    return said != NULL ? xml_attribute(said, "type") : NULL;
}

static bool edit_is_one_of(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

/* The first element in `node` that no <source> of an NFS disk may have. */
static xmlNodePtr edit_child_but(xmlNodePtr node)
{
    static const char *const fine[] = {"encryption", "slices"};
    for (xmlNodePtr c = xmlFirstElementChild(node); c != NULL; c = xmlNextElementSibling(c))
        if (!edit_is_one_of((const char *)c->name, fine, sizeof fine / sizeof *fine))
            return c;
    return NULL;
}

/*
 * Source: libvirt, conf/domain_validate.c (lun, auth), qemu/qemu_validate.c (transient), conf/schemas/
 * domaincommon.rng (diskSourceNetworkProtocolNFS), each tried. The formats are those that libvirt
 * refuses there, or that may name further files, which QEMU does not find from an image without a path.
 */
static int edit_check_network(const struct editor *ed, xmlNodePtr holder, xmlNodePtr source,
                              const char *name, struct err *e)
{
    static const char *const formats[] = {"cow",   "dir",  "fat", "iso",
                                          "ploop", "qcow", "qed", "vmdk"};
    CLEANUP_FREE char *device = edit_device(holder), *format = edit_format(holder);
    xmlNodePtr odd = edit_child_but(source);
    const char *hint =
        "change that in the domain first; or leave it a file: --target=file, with --mount";
    if (device == NULL)
        return edit_no_memory(ed, e);
    if (edit_child(holder, "transient") != NULL)
        err_set(e, ERR_REFUSED, 0, "%s: %s is a transient disk, which cannot be a network disk",
                ed->what, name);
    else if (strcmp(device, "lun") == 0)
        err_set(e, ERR_REFUSED, 0, "%s: %s is a disk of device='lun', which cannot be on NFS",
                ed->what, name);
    else if (edit_child(holder, "auth") != NULL)
        err_set(e, ERR_REFUSED, 0, "%s: %s has an <auth>, which a disk on NFS cannot have",
                ed->what, name);
    else if (odd != NULL)
        err_set(e, ERR_REFUSED, 0,
                "%s: %s has a <%s> in its <source>, which a disk on NFS cannot have", ed->what,
                name, (const char *)odd->name);
    else if (format != NULL && edit_is_one_of(format, formats, sizeof formats / sizeof *formats))
        err_set(e, ERR_REFUSED, 0,
                "%s: %s is of format %s, which godwit does not turn into a network disk", ed->what,
                name, format);
    else
        return 0;
    return err_hint(e, "%s", hint);
}

/* <source> of a network disk: protocol and name, host, identity. */
static int edit_network(struct editor *ed, xmlNodePtr source, const char *name, bool qcow2,
                        struct domain_image *image, struct err *e)
{
    static const char *const local[] = {"file",    "dev",  "pool",         "volume",
                                        "fdgroup", "mode", "startupPolicy"};
    char uid[16], gid[16];
    CLEANUP_FREE char *path = edit_join(ed->m->export[1] == '\0' ? "" : ed->m->export, name);
    if (path == NULL)
        return edit_no_memory(ed, e);
    if (ed->m->image(ed->m->arg, name, qcow2, image, e) < 0)
        return err_wrap(e, "%s", ed->what);
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        xml_source_unset(source, local[i]);
    xml_source_set(source, "protocol", "nfs");
    xml_source_set(source, "name", path);
    xmlNodePtr host = xml_source_add(source, NULL, "host");
    xml_source_set(host, "name", ed->m->host);
    xmlNodePtr identity = xml_source_add(source, host, "identity");
    snprintf(uid, sizeof uid, "+%" PRIu32, image->uid);
    snprintf(gid, sizeof gid, "+%" PRIu32, image->gid);
    xml_source_set(identity, "user", uid);
    xml_source_set(identity, "group", gid);
    return 0;
}

static void edit_image_free(struct domain_image *image)
{
    free(image->backing);
    free(image->format);
    *image = (struct domain_image){0};
}

/*
 * The chain below a network disk, which the images themselves name. It is written down, since
 * libvirt cannot look into images on a share, and since QEMU makes no relative names out of an NFS
 * URL with a user in it. Takes what `image` holds.
 */
static int edit_add_chain(struct editor *ed, xmlNodePtr holder, struct domain_image *image,
                          struct err *e)
{
    xmlNodePtr after = edit_child(holder, "source");
    int rc = 0;
    for (unsigned depth = 0; rc == 0; depth++) {
        CLEANUP_FREE char *backing = TAKE(image->backing);
        CLEANUP_FREE char *format = TAKE(image->format);
        xmlNodePtr store = xml_source_add(holder, after, "backingStore");
        if (backing == NULL)
            break;
        if (depth == CHAIN_MAX)
            return err_set(e, ERR_REFUSED, 0, "%s: a backing chain is a loop or too long",
                           ed->what);
        bool qcow2 = format != NULL && strcmp(format, "qcow2") == 0;
        xml_source_set(store, "type", "network");
        xmlNodePtr tag = xml_source_add(store, NULL, "format");
        xml_source_set(tag, "type", format != NULL ? format : "raw");
        after = xml_source_add(store, tag, "source");
        rc = edit_network(ed, after, backing, qcow2, image, e);
        holder = store;
    }
    return rc;
}

static bool edit_is_qcow2(xmlNodePtr holder)
{
    CLEANUP_FREE char *format = edit_format(holder);
    return format != NULL && strcmp(format, "qcow2") == 0;
}

/* The volumes of a directory have the names of its files. */
static bool edit_is_volume(const char *name)
{
    return *name != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

/* The image that a <disk> or a <backingStore> itself is: *name gets it, or NULL: none of ours. */
static int edit_find(struct editor *ed, xmlNodePtr holder, xmlNodePtr source, char **name,
                     struct err *e)
{
    CLEANUP_FREE char *type = xml_attribute(holder, "type");
    *name = NULL;
    if (type == NULL || source == NULL)
        return 0;
    if (strcmp(type, "volume") == 0) {
        if (!edit_has(source, "pool", ed->m->pool))
            return 0;
        *name = xml_attribute(source, "volume");
        if (*name == NULL)
            return edit_no_memory(ed, e);
        return edit_is_volume(*name)
                   ? 0
                   : err_set(e, ERR_REFUSED, 0, "%s: '%s' is not the name of a volume", ed->what,
                             *name);
    }
    CLEANUP_FREE char *path = strcmp(type, "file") == 0    ? xml_attribute(source, "file")
                              : strcmp(type, "block") == 0 ? xml_attribute(source, "dev")
                                                           : NULL;
    CLEANUP_FREE char *found = path != NULL ? ed->m->name(ed->m->arg, path) : NULL;
    if (found != NULL && *found != '\0')
        *name = TAKE(found);
    return 0;
}

static int edit_move_file(struct editor *ed, xmlNodePtr holder, xmlNodePtr source, const char *name,
                          struct err *e)
{
    if (edit_has(holder, "type", "volume")) /* it follows the pool */
        return 0;
    CLEANUP_FREE char *path = edit_join(ed->m->directory, name);
    if (path == NULL)
        return edit_no_memory(ed, e);
    xml_source_set(holder, "type", "file");
    xml_source_unset(source, "dev");
    xml_source_set(source, "file", path);
    return 0;
}

static int edit_look_outside(struct editor *ed, xmlNodePtr holder, xmlNodePtr source, struct err *e)
{
    CLEANUP_FREE char *file = source != NULL ? xml_attribute(source, "file") : NULL;
    CLEANUP_FREE char *dev = source != NULL ? xml_attribute(source, "dev") : NULL;
    const char *path = file != NULL ? file : dev;
    if (path == NULL || ed->m->outside == NULL || !edit_is_qcow2(holder))
        return 0;
    return ed->m->outside(ed->m->arg, path, e) < 0 ? err_wrap(e, "%s", ed->what) : 0;
}

/* The images in the pool that image `name` is based on, as they say themselves. */
static int edit_below(struct editor *ed, xmlNodePtr holder, const char *name, struct err *e)
{
    CLEANUP_FREE char *at = strdup(name), *format = edit_format(holder);
    if (format == NULL)
        format = strdup("raw"); /* libvirt's own reading */
    for (unsigned depth = 0; ed->m->below != NULL && depth < CHAIN_MAX; depth++) {
        struct domain_image i = {0};
        if (at == NULL)
            return edit_no_memory(ed, e);
        if (ed->m->below(ed->m->arg, at, format, &i, e) < 0)
            return err_wrap(e, "%s", ed->what);
        free(at);
        free(format);
        at = i.backing;
        format = i.format;
        if (at == NULL)
            return 0;
        if (edit_used(ed, strdup(at), e) < 0)
            return -1;
    }
    return 0;
}

/* A removable medium that is not there: *edited, as the header says. Else nothing is done. */
static int edit_absent(struct editor *ed, xmlNodePtr holder, xmlNodePtr source, const char *name,
                       bool *edited, struct err *e)
{
    static const char *const removable[] = {"cdrom", "floppy"};
    static const char *const medium[] = {"file", "dev", "pool", "volume", "mode"};
    CLEANUP_FREE char *device = edit_device(holder);
    struct domain_image image;
    struct err absent = {0};
    *edited = false;
    if (device == NULL)
        return edit_no_memory(ed, e);
    if (!edit_is_one_of(device, removable, sizeof removable / sizeof *removable) ||
        ed->m->image(ed->m->arg, name, false, &image, &absent) == 0 || absent.sys != ENOENT)
        return 0;
    *edited = true;
    if (ed->m->directory != NULL)
        return edit_move_file(ed, holder, source, name, e);
    xml_source_set(holder, "type", "file");
    for (size_t i = 0; i < sizeof medium / sizeof *medium; i++)
        xml_source_unset(source, medium[i]);
    return 0;
}

static int edit_to_network(struct editor *ed, xmlNodePtr holder, xmlNodePtr source,
                           const char *name, struct err *e)
{
    bool follow = edit_child(holder, "backingStore") == NULL && edit_is_qcow2(holder), absent;
    struct domain_image image = {0};
    if (edit_absent(ed, holder, source, name, &absent, e) < 0)
        return -1;
    if (absent)
        return 0;
    if (edit_check_network(ed, holder, source, name, e) < 0)
        return -1;
    xml_source_set(holder, "type", "network");
    int rc = edit_network(ed, source, name, follow, &image, e);
    if (rc == 0 && image.backing != NULL)
        rc = edit_add_chain(ed, holder, &image, e);
    edit_image_free(&image);
    return rc;
}

/* *ours: the image itself, not only what it is based on. */
static int edit_image(struct editor *ed, xmlNodePtr holder, bool *ours, struct err *e)
{
    xmlNodePtr source = edit_child(holder, "source"), store = edit_child(holder, "backingStore");
    CLEANUP_FREE char *name = NULL;
    if (edit_find(ed, holder, source, &name, e) < 0)
        return -1;
    *ours = name != NULL;
    int rc = 0;
    if (name != NULL)
        rc = edit_below(ed, holder, name, e) < 0 ? -1
             : ed->m->host == NULL               ? edit_move_file(ed, holder, source, name, e)
                                                 : edit_to_network(ed, holder, source, name, e);
    else if (store == NULL)
        rc = edit_look_outside(ed, holder, source, e);
    if (rc == 0 && name != NULL)
        rc = edit_used(ed, TAKE(name), e);
    bool below;
    return rc == 0 && store != NULL ? edit_image(ed, store, &below, e) : rc;
}

static void edit_cache(xmlNodePtr disk)
{
    xmlNodePtr driver = edit_child(disk, "driver");
    if (edit_child(disk, "readonly") != NULL || edit_child(disk, "shareable") != NULL ||
        edit_has(disk, "device", "cdrom"))
        return;
    if (driver == NULL) {
        driver = xml_source_add(disk, NULL, "driver");
        xml_source_set(driver, "name", "qemu");
    }
    if (!edit_has(driver, "cache", "none") && !edit_has(driver, "cache", "directsync"))
        xml_source_set(driver, "cache", "none");
}

static int edit_disks(struct editor *ed, struct err *e)
{
    CLEANUP_NODES struct xml_nodes disks = xml_select(ed->doc, NULL, "/domain/devices/disk");
    for (size_t i = 0; i < disks.n; i++) {
        bool ours;
        if (edit_image(ed, disks.at[i], &ours, e) < 0)
            return -1;
        if (ours)
            edit_cache(disks.at[i]);
    }
    return 0;
}

/* ---- what else names files of the pool ---- */

static int edit_check_rest(const struct editor *ed, struct err *e)
{
    xmlNodePtr node = domain_names_first(ed->m, ed->doc);
    if (node == NULL)
        return 0;
    xmlChar *text = xmlNodeGetContent(node);
    err_set(e, ERR_REFUSED, 0, "%s: <%s> names %s in the pool, which is not a disk", ed->what,
            (const char *)node->parent->name, text != NULL ? (const char *)text : "");
    xmlFree(text);
    return err_hint(e, "godwit does not know how to move that: change it in the domain first");
}

/* ---- the whole ---- */

int domain_edit_make(const char *xml, const char *what, const struct domain_move *m,
                     struct domain_edit *edit, struct err *e)
{
    *edit = (struct domain_edit){0};
    CLEANUP_XML_SOURCE struct xml_source *source = xml_source_parse(xml, what, e);
    if (source == NULL)
        return -1;
    struct editor ed = {m, what, source, xml_source_doc(source), edit};
    if (edit_disks(&ed, e) < 0 || edit_os(&ed, e) < 0 || edit_check_rest(&ed, e) < 0)
        goto fail;
    if (edit->n == 0)
        return 0;
    edit->definition = xml_source_text(source);
    if (edit->definition != NULL)
        return 0;
    edit_no_memory(&ed, e);
fail:
    domain_edit_free(edit);
    return -1;
}

char *pool_edit_target(const char *xml, const char *path, struct err *e)
{
    CLEANUP_XML_SOURCE struct xml_source *source = xml_source_parse(xml, "the pool's XML", e);
    if (source == NULL)
        return NULL;
    xmlNodePtr node = xml_first(xml_source_doc(source), NULL, "/pool/target/path");
    if (node == NULL) {
        err_set(e, ERR_PROTO, 0, "the pool's XML: there is no target path in it");
        return NULL;
    }
    xml_source_set_text(node, path);
    char *text = xml_source_text(source);
    if (text == NULL)
        err_set(e, ERR_IO, ENOMEM, "no memory for the pool's XML");
    return text;
}
