/* SPDX-License-Identifier: Apache-2.0 */
#include "core/relocate/part_name.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/cleanup.h"
#include "core/owner.h"

static const char *const suffixes[] = {
    [PART_NAME_DATA] = ".godwit-part",
    [PART_NAME_JOURNAL] = ".godwit-journal",
    [PART_NAME_DIRECTORY] = ".godwit-directory",
};

/*
 * Room for the middle, between the dot and the longest suffix with an owner. A middle that was cut has exactly
 * that length, and one that was not is shorter: so they can't be equal.
 */
enum {
    MIDDLE_BYTES = 255 - 1 - 17 - OWNER_TEXT_MAX,
    HASH_BYTES = 1 + 16, /* "-" and XXH3-64 in hexadecimal */
    KEPT_BYTES = MIDDLE_BYTES - HASH_BYTES,
};

/* Where to cut `base` before `limit`, so that no UTF-8 character is left in pieces: some servers
 * refuse such a name. */
static int part_name_cut(const char *base, int limit)
{
    for (int n = limit; n > limit - 4; n--)
        if (((unsigned char)base[n] & 0xc0) != 0x80)
            return n;
    return limit; /* not UTF-8 */
}

char *part_name_new(const char *name, enum part_name_use use)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash != NULL ? slash + 1 : name;
    int dir_bytes = (int)(base - name);
    size_t base_bytes = strlen(base);
    assert(base_bytes > 0);

    char *out = NULL;
    int n;
    if (base_bytes < MIDDLE_BYTES) {
        n = asprintf(&out, "%.*s.%s%s", dir_bytes, name, base, suffixes[use]);
    } else {
        int kept = part_name_cut(base, KEPT_BYTES);
        n = asprintf(&out, "%.*s.%.*s%.*s-%016" PRIx64 "%s", dir_bytes, name, kept, base,
                     KEPT_BYTES - kept, "----", (uint64_t)XXH3_64bits(base, base_bytes),
                     suffixes[use]);
    }
    return n < 0 ? NULL : out;
}

char *part_name_owned(const char *name, enum part_name_use use, const char *owner)
{
    CLEANUP_FREE char *plain = part_name_new(name, use);
    char *out = NULL;
    return plain == NULL || asprintf(&out, "%s-%s", plain, owner) < 0 ? NULL : out;
}

const char *part_name_owner(const char *name, const char *plain)
{
    size_t len = strlen(plain);
    return strncmp(name, plain, len) == 0 && name[len] == '-' ? name + len + 1 : NULL;
}

/* What the owner is made of (core/owner.h). */
static bool part_name_has_owner(const char *text)
{
    return *text == '\0' || (*text == '-' && text[1] != '\0' &&
                             text[1 + strspn(text + 1, "0123456789abcdef-")] == '\0');
}

bool part_name_is(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash != NULL ? slash + 1 : name;
    if (base[0] != '.')
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        const char *at = NULL;
        for (const char *next = base; (next = strstr(next, suffixes[i])) != NULL; next++)
            at = next;
        if (at != NULL && at > base + 1 && part_name_has_owner(at + strlen(suffixes[i])))
            return true;
    }
    return false;
}
