/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of images, through the plan of a relocation, which reads them and follows what they
 * name. An input is a byte that says how they are asked for, one that says where the second begins, in
 * units of 32 bytes, and two images: "vm/top", which is named, and "vm/base", which is beside it.
 *
 * Whatever comes, a plan is made, or refused once and with a reason; and nothing is touched.
 */
#include "core/relocate/relocate.h"
#include "tests/core/relocate/memory_store.h"
#include "tests/fuzz/fuzz.h"

enum { ALIGN_BYTES = 512, PARTS = 32 };

static void put(struct memory_server *s, const char *name, const uint8_t *bytes, size_t len)
{
    const struct store_extent all = {.len_bytes = len};
    struct memory_image *image = memory_add(s, name, len, &all, len > 0);
    if (len == 0)
        return;
    memcpy(image->cached, bytes, len);
    memcpy(image->durable, bytes, len);
}

static void plan(struct memory_site *from, struct memory_site *to, enum image_format_ask ask,
                 bool tree)
{
    static const char *const names[] = {"vm/top", "vm"};
    const struct relocate_source source = {&from->site, names[tree], tree ? "there" : "top"};
    const struct relocate_options options = {
        .recursive = tree,
        .chunk_sums = true,
        .ring = RING_SYSCALLS,
        .format = ask,
        .workers_max = 1,
        .depth_max = 1,
        .block_bytes = 16384,
        .chunk_bytes = 65536,
        .flight_bytes = 16384,
        .fixed = true,
    };
    struct err e = {0};
    struct relocate *r = relocate_plan(&source, 1, &to->site, &options, &e);
    fuzz_check_err(r != NULL, &e);
    REQUIRE(r != NULL || e.class == ERR_REFUSED);
    relocate_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory_world world;
    struct memory_server from, to;
    if (size < 2)
        return 0;
    size_t len = size - 2, cut = (size_t)data[1] * PARTS < len ? (size_t)data[1] * PARTS : len;
    memory_world_init(&world);
    memory_server_init(&from, &world, "from:");
    memory_server_init(&to, &world, "to:");
    from.align_bytes = ALIGN_BYTES;
    to.align_bytes = 1;
    struct memory_site from_site = memory_site(&from), to_site = memory_site(&to);
    put(&from, "vm/top", data + 2, cut);
    put(&from, "vm/base", data + 2 + cut, len - cut);
    plan(&from_site, &to_site, (enum image_format_ask)(data[0] % 3), data[0] & 4);
    REQUIRE(to.written_bytes == 0 && from.open_places == 0 && to.open_places == 0);
    memory_server_free(&from);
    memory_server_free(&to);
    memory_world_free(&world);
    return 0;
}
