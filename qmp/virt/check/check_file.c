/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * That two hosts have a file of the same name proves nothing, and neither do equal sizes: copies
 * have them. So a marker is made: an empty volume with a random name of 64 bits, through the one
 * libvirt, in the directory that the file is in; and it is looked for through the other. If it is
 * there, both paths are one directory. Then it is removed.
 *
 * libvirt sees files through storage pools. Where the directory is no pool's, one is made for the
 * moment: transient, of type "dir", which touches no file, and is gone when it is destroyed. Both
 * is said in the finding.
 *
 * A marker that is not seen is no proof of the opposite where an NFS client may show a directory as
 * it was some seconds ago; it is looked for several times.
 */
#include <inttypes.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "qmp/virt/check/check_run.h"

enum { FILE_LOOKS = 8, FILE_LOOK_PAUSE_MS = 400, FILE_MARKER_BYTES = 4096 };

struct file_side {
    const struct check_side *side;
    virStoragePoolPtr pool; /* of the directory */
    virStorageVolPtr volume;
    bool ours;     /* the pool was made for this */
    char why[300]; /* it has no volume: what libvirt says */
};

static void file_why(struct file_side *s)
{
    const virError *error = virGetLastError();
    snprintf(s->why, sizeof s->why, "%.*s",
             error != NULL && error->message != NULL ? (int)strcspn(error->message, "\n") : 1,
             error != NULL && error->message != NULL ? error->message : "?");
}

static uint64_t file_random(void)
{
    uint64_t n = 0;
    if (getrandom(&n, sizeof n, 0) != sizeof n)
        n = (uint64_t)clock_now_ns();
    return n;
}

/* A transient pool over the directory. */
static void file_make_pool(struct file_side *s, const char *dir)
{
    char name[64];
    snprintf(name, sizeof name, "godwit-check-%016" PRIx64, file_random());
    CLEANUP_XML xmlDocPtr doc = xmlNewDoc(BAD_CAST "1.0");
    xmlNodePtr pool = xmlNewNode(NULL, BAD_CAST "pool");
    xmlDocSetRootElement(doc, pool);
    xmlNewProp(pool, BAD_CAST "type", BAD_CAST "dir");
    xmlNewTextChild(pool, NULL, BAD_CAST "name", BAD_CAST name);
    xmlNodePtr target = xmlNewChild(pool, NULL, BAD_CAST "target", NULL);
    xmlNewTextChild(target, NULL, BAD_CAST "path", BAD_CAST dir);
    CLEANUP_FREE char *text = xml_text(doc);
    s->pool = virStoragePoolCreateXML(s->side->conn, text, 0);
    s->ours = s->pool != NULL;
    if (s->pool == NULL)
        file_why(s);
}

/* The file in a pool, which is made if need be and `thorough`; else as libvirt knows it already. */
static void file_find(struct file_side *s, const char *path, bool thorough)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        snprintf(s->why, sizeof s->why, "'%s' is not an absolute path", path);
        return;
    }
    snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    s->pool = virStoragePoolLookupByTargetPath(s->side->conn, dir);
    if (s->pool == NULL && thorough)
        file_make_pool(s, dir);
    else if (s->pool == NULL)
        file_why(s);
    if (s->pool == NULL)
        return;
    if (thorough && !s->ours && virStoragePoolRefresh(s->pool, 0) < 0) {
        file_why(s);
        return;
    }
    s->volume = virStorageVolLookupByName(s->pool, slash + 1);
    if (s->volume == NULL)
        file_why(s);
}

static void file_forget(struct file_side *s)
{
    if (s->volume != NULL)
        virStorageVolFree(s->volume);
    if (s->pool != NULL && s->ours)
        virStoragePoolDestroy(s->pool); /* transient: with that it is gone */
    if (s->pool != NULL)
        virStoragePoolFree(s->pool);
}

/* ---- the marker ---- */

static virStorageVolPtr file_make_marker(struct file_side *s, char *name, size_t room)
{
    char xml[300];
    snprintf(name, room, ".godwit-check-%016" PRIx64, file_random());
    snprintf(xml, sizeof xml,
             "<volume><name>%s</name><capacity>%d</capacity><allocation>0</allocation>"
             "<target><format type='raw'/></target></volume>",
             name, FILE_MARKER_BYTES);
    virStorageVolPtr marker = virStorageVolCreateXML(s->pool, xml, 0);
    if (marker == NULL)
        file_why(s);
    return marker;
}

static bool file_sees(struct file_side *s, const char *name)
{
    for (int i = 0; i < FILE_LOOKS; i++) {
        if (i > 0)
            poll(NULL, 0, FILE_LOOK_PAUSE_MS);
        if (virStoragePoolRefresh(s->pool, 0) < 0)
            continue;
        virStorageVolPtr seen = virStorageVolLookupByName(s->pool, name);
        if (seen != NULL) {
            virStorageVolFree(seen);
            return true;
        }
    }
    return false;
}

/* 1: one directory; 0: the marker is not seen; -1: it could not be made, from->why says why. */
static int file_one_directory(struct file_side *from, struct file_side *to, struct check_list *l)
{
    char name[64];
    virStorageVolPtr marker = file_make_marker(from, name, sizeof name);
    if (marker == NULL)
        return -1;
    bool seen = file_sees(to, name);
    if (virStorageVolDelete(marker, 0) < 0) {
        CLEANUP_FREE char *path = virStorageVolGetPath(marker);
        check_list_add(l, CHECK_WARN, "marker", "%s could not be removed on %s",
                       path != NULL ? path : name, from->side->name);
        check_list_fix(l, "rm -f %s", path != NULL ? path : name);
    }
    virStorageVolFree(marker);
    if (!to->ours)
        virStoragePoolRefresh(to->pool, 0); /* which has it in its list of volumes */
    return seen;
}

/* ---- what they show of the file ---- */

struct file_facts {
    unsigned long long capacity_bytes;
    char *changed; /* ctime, as libvirt gives it, to the nanosecond; may be NULL */
};

static bool file_look(struct file_side *s, struct file_facts *f)
{
    virStorageVolInfo info;
    struct err e = {0};
    CLEANUP_FREE char *text = virStorageVolGetXMLDesc(s->volume, 0);
    if (text == NULL || virStorageVolGetInfo(s->volume, &info) < 0) {
        file_why(s);
        return false;
    }
    CLEANUP_XML xmlDocPtr doc = xml_parse(text, "a volume", &e);
    f->capacity_bytes = info.capacity;
    f->changed = doc != NULL ? xml_value(doc, NULL, "/volume/target/timestamps/ctime") : NULL;
    return true;
}

/* No marker answered: size and time of change are evidence, but no proof. */
static void file_compare(struct check_run *r, const char *what, const char *path, bool readonly,
                         struct file_side *from, struct file_side *to, const char *because)
{
    struct file_facts a = {0}, b = {0};
    if (!file_look(from, &a) || !file_look(to, &b)) {
        check_list_add(r->l, CHECK_SKIPPED, what, "%s: %s%s", path, from->why, to->why);
    } else if (a.capacity_bytes != b.capacity_bytes) {
        check_list_add(r->l, CHECK_REFUSE, what,
                       "%s is a different file on %s: %llu bytes, not %llu", path, to->side->name,
                       b.capacity_bytes, a.capacity_bytes);
        check_list_fix(r->l, "godwit relocate %s nfs://SERVER/EXPORT/", path);
    } else if (readonly) {
        check_list_add(r->l, CHECK_OK, what,
                       "%s is on %s, of the same size (the guest only reads it)", path,
                       to->side->name);
    } else if (a.changed != NULL && b.changed != NULL && strcmp(a.changed, b.changed) == 0) {
        check_list_add(r->l, CHECK_WARN, what,
                       "%s has the same size and change time on both hosts; that it is one file "
                       "is likely but not proven: %s",
                       path, because);
    } else {
        check_list_add(r->l, CHECK_WARN, what,
                       "%s matches only by name and size; that it is one file is not "
                       "proven: %s",
                       path, because);
    }
    free(a.changed);
    free(b.changed);
}

static void file_prove(struct check_run *r, const char *what, const char *path,
                       struct file_side *from, struct file_side *to)
{
    char because[400];
    int one = file_one_directory(from, to, r->l);
    if (one > 0) {
        check_list_add(
            r->l, CHECK_OK, what,
            "%s is one file on both hosts: a marker made next to it through %s's libvirt "
            "was seen through %s's, and removed%s",
            path, from->side->name, to->side->name,
            from->ours || to->ours ? " (in a temporary pool)" : "");
    } else if (one == 0) {
        check_list_add(
            r->l, CHECK_REFUSE, what,
            "%s is a different file on %s: a marker made next to it on %s was not visible "
            "there",
            path, to->side->name, from->side->name);
        check_list_fix(r->l, "godwit relocate %s nfs://SERVER/EXPORT/", path);
    } else {
        snprintf(because, sizeof because, "no marker could be made: %s", from->why);
        file_compare(r, what, path, false, from, to, because);
    }
}

void check_file(struct check_run *r, const char *what, const char *path, bool readonly)
{
    bool thorough = !r->o->quick;
    struct file_side from = {.side = &r->from}, to = {.side = &r->to};
    file_find(&from, path, thorough);
    file_find(&to, path, thorough);
    if (from.volume == NULL) {
        check_list_add(r->l, thorough ? CHECK_SKIPPED : CHECK_WARN, what,
                       "%s: godwit did not check whether it is one file on both hosts: %s", path,
                       from.why);
    } else if (to.volume == NULL && thorough) {
        check_list_add(r->l, CHECK_REFUSE, what, "%s is not on %s: %s", path, to.side->name,
                       to.why);
        check_list_fix(r->l, "godwit relocate %s nfs://SERVER/EXPORT/", path);
    } else if (to.volume == NULL) {
        check_list_add(r->l, CHECK_WARN, what, "%s: libvirt on %s knows no such volume", path,
                       to.side->name);
    } else if (thorough && !readonly) {
        file_prove(r, what, path, &from, &to);
    } else {
        file_compare(r, what, path, readonly, &from, &to, "a quick check makes no marker");
    }
    file_forget(&to);
    file_forget(&from);
}
