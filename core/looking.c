/* SPDX-License-Identifier: Apache-2.0 */
#include "core/looking.h"

#include <pthread.h>
#include <string.h>

#include "core/text.h"

static pthread_mutex_t looking_lock = PTHREAD_MUTEX_INITIALIZER;
static char looking_path[LOOKING_TEXT_MAX];

void looking_at(const char *path)
{
    pthread_mutex_lock(&looking_lock);
    text_fit(looking_path, sizeof looking_path, path);
    pthread_mutex_unlock(&looking_lock);
}

void looking_text(char text[LOOKING_TEXT_MAX])
{
    pthread_mutex_lock(&looking_lock);
    memcpy(text, looking_path, LOOKING_TEXT_MAX);
    pthread_mutex_unlock(&looking_lock);
}
