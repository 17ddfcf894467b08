/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user may write as a share, through the parser of URLs. Whatever comes: it is refused with a
 * reason, or gives a host, a path in its normal form and ports in their range, which mean the same
 * when they are written as a URL again.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nfs/share_url.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define REQUIRE(condition)                                                    \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "fuzz_url: line %d: %s\n", __LINE__, #condition); \
            abort();                                                          \
        }                                                                     \
    } while (0)

static void write_again(const struct share_url *url, char *text, size_t room)
{
    bool v6 = strpbrk(url->host, ":%") != NULL;
    int n =
        snprintf(text, room, "nfs://%s%s%s%s?", v6 ? "[" : "", url->host, v6 ? "]" : "", url->path);
    if (url->nfs_port != 0)
        n += snprintf(text + n, room - (size_t)n, "nfsport=%d&", url->nfs_port);
    if (url->mount_port != 0)
        snprintf(text + n, room - (size_t)n, "mountport=%d", url->mount_port);
}

static void check_again(const struct share_url *url)
{
    static char text[sizeof *url + 100];
    struct share_url again;
    struct err e = {0};
    const char *zone = strchr(url->host, '%');
    if (zone != NULL && (zone[1] == '\0' || strncmp(zone, "%25", 3) == 0 || strlen(zone) > 16))
        return; /* a strange name, or an interface that begins like an escaped '%' */
    if (zone != NULL && strchr(zone + 1, '%') != NULL)
        return;
    write_again(url, text, sizeof text);
    REQUIRE(share_url_parse(text, &again, &e) == 0);
    REQUIRE(strcmp(again.host, url->host) == 0 && strcmp(again.path, url->path) == 0);
    REQUIRE(again.nfs_port == url->nfs_port && again.mount_port == url->mount_port);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    struct share_url url;
    struct err e = {0};
    char *text = malloc(size + 1);
    REQUIRE(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (share_url_parse(text, &url, &e) < 0) {
        REQUIRE(e.class == ERR_USAGE && e.msg[0] != '\0');
    } else {
        size_t len = strlen(url.path);
        REQUIRE(url.host[0] != '\0' && url.path[0] == '/');
        REQUIRE(strstr(url.path, "//") == NULL && (len == 1 || url.path[len - 1] != '/'));
        REQUIRE(url.nfs_port >= 0 && url.nfs_port <= 65535);
        REQUIRE(url.mount_port >= 0 && url.mount_port <= 65535);
        check_again(&url);
    }
    free(text);
    return 0;
}
