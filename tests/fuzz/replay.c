/* SPDX-License-Identifier: Apache-2.0 */
/* Gives a fuzz target the inputs of a corpus, once, with any compiler: DIR... or FILE... */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "core/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *path)
{
    perror(path);
    exit(2);
}

/* From memory of exactly that length: to read past it is seen by ASan. */
static void replay_file(const char *path)
{
    struct stat st;
    CLEANUP_FCLOSE FILE *f = fopen(path, "rb");
    if (f == NULL || fstat(fileno(f), &st) < 0)
        die(path);
    size_t len = (size_t)st.st_size;
    CLEANUP_FREE uint8_t *bytes = malloc(len > 0 ? len : 1);
    if (bytes == NULL || fread(bytes, 1, len, f) != len)
        die(path);
    fprintf(stderr, "%s\n", path); /* the last one is the one that crashed */
    LLVMFuzzerTestOneInput(bytes, len);
}

static int replay_directory(const char *path)
{
    int n = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        die(path);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char file[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        replay_file(file);
        n++;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
            n += replay_directory(argv[i]);
        } else {
            replay_file(argv[i]);
            n++;
        }
    }
    printf("%d inputs\n", n);
    return n > 0 ? 0 : 2; /* a corpus that is not there proves nothing */
}
