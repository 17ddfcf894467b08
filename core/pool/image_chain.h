/* SPDX-License-Identifier: Apache-2.0 */
/* What an image of this host is based on, by what the images say. */
#ifndef CORE_POOL_IMAGE_CHAIN_H
#define CORE_POOL_IMAGE_CHAIN_H

#include <stdbool.h>

#include "core/err.h"

/* A path that an image names; `data`: it is not its base, but holds data of the image itself. False: the
 * walk ends. */
typedef bool image_chain_step(void *arg, const char *path, bool data);

/*
 * Calls `step` for each path that the image, and each image below it, names: a backing file, an
 * external data file, a part of a vmdk, by any spelling. It ends where that says false, or where nothing
 * follows: at an image that is not there, names none, or is said to be raw. ERR_IO: one that is there
 * cannot be read, or is not understood; the last step was about it, or it is the first.
 */
int image_chain_walk(const char *path, image_chain_step *step, void *arg, struct err *e);

#endif
