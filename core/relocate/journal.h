/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of a copy: which chunks of the image are durable in its part, so that a later run
 * goes on from there. This is its format; the engine reads and writes the file.
 *
 * A header, and one record a chunk, each written in place and by itself. A record never crosses a
 * multiple of 512 bytes, and to write one nothing else need be read: workers write theirs at the
 * same time. The header is durable before the first record is written, and a record is written only
 * after the commit that covers its chunk.
 *
 * Integers are little endian; texts are filled up with NUL.
 *
 *   header
 *     0    8  magic, "godwitJ\n"
 *     8    4  version: 2
 *    12    4  compat: bits for what a reader must know; none is defined
 *    16    8  size of the image in bytes
 *    24    4  bytes in a chunk; the last one may be shorter
 *    28    4  state: bits, see enum journal_state
 *    32    8  source: inode
 *    40    8  source: modification time, ns since 1970; 0 of a block device
 *    48    8  source: status change time, likewise
 *    56    8  part: inode (NFS: file id); 0: it was not made yet
 *    64   16  run id, random
 *    80    8  when the run was begun, ns since 1970
 *    88    8  writer: start time of its process, in clock ticks since boot
 *    96    4  writer: process id
 *   100    4  writer: PID namespace, its inode; 0: not known
 *   104   16  writer: boot id of its host
 *   120   64  writer: host name
 *   184  272  source: its URL or path, the end of it if it is longer
 *   456    8  part: generation (core/store/store.h); 0: the store has none
 *   464    8  writer: a hash of its host's machine id; 0: not known
 *   472   24  0
 *   496   16  XXH3-128 of all before, in canonical order
 *
 *   record of chunk i, at 512 + 64 i; 64 bytes of zeros: not durable
 *     0    1  state: 1, durable
 *     1    1  1: something of it was written, and proven under the verifier; 0: it is nothing but zeros
 *     2    2  0
 *     4    4  bytes of data in the chunk; the rest are holes
 *     8   16  XXH3-128 of the data in the chunk, without its holes, in canonical order
 *    24    8  the write verifier that it was proven durable under
 *    32   24  0
 *    56    8  XXH3-64 of all before, the run id, and i as 8 bytes
 *
 * In every later version the magic, version and compat, and the checksum of the first 512 bytes,
 * will be where they are.
 *
 * What binds it to the source is what a write to a file changes (size, times), what replacing the
 * file changes (inode), and where it is. Device numbers are left out: they change when a host or a
 * server boots. A block device has no times that would tell of a write: a resumed copy of one is
 * only right if nothing wrote to it in between, and nothing here can know.
 *
 * All errors are ERR_REFUSED, say why, and hint at --restart; the caller adds the journal's name.
 */
#ifndef CORE_RELOCATE_JOURNAL_H
#define CORE_RELOCATE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "core/owner.h"
#include "core/store/store.h"

enum {
    JOURNAL_HEADER_BYTES = 512,
    JOURNAL_RECORD_BYTES = 64,
    JOURNAL_RUN_ID_BYTES = 16,
    JOURNAL_DIGEST_BYTES = 16,
    JOURNAL_SOURCE_BYTES = 272,
};

enum journal_state {
    /* All of the part is durable, and what was asked for was proven of it: it may have its name. */
    JOURNAL_WHOLE = 1 << 0,
    /* It is being read back; until that has ended well no record is to be relied on. */
    JOURNAL_DOUBT = 1 << 1,
};

struct journal_header {
    uint64_t size_bytes;
    uint32_t chunk_bytes;
    uint64_t source_inode;
    int64_t source_mtime_ns, source_ctime_ns;
    char source[JOURNAL_SOURCE_BYTES + 1];
    uint64_t part_inode, part_generation;
    uint32_t state;
    uint8_t run_id[JOURNAL_RUN_ID_BYTES];
    int64_t begun_ns;

    struct owner writer;
};

struct journal_record {
    uint32_t data_bytes;
    uint8_t digest[JOURNAL_DIGEST_BYTES];
    bool written;
    uint8_t verifier[STORE_VERIFIER_BYTES];
};

uint64_t journal_chunks(uint64_t size_bytes, uint32_t chunk_bytes);
uint64_t journal_size(uint64_t chunks); /* of the file, in bytes */
uint64_t journal_record_offset(uint64_t chunk);

/*
 * The header of a run that begins now, in this process: `place` and `name` are those of the source,
 * `attr` is what it is, `part` is the part, or NULL before it is made, and the chunks are larger than
 * 0. Can fail (ERR_IO) where the kernel does not tell who we are.
 */
int journal_begin(struct journal_header *h, const char *place, const char *name,
                  const struct store_attr *attr, const struct store_attr *part,
                  uint32_t chunk_bytes, struct err *e);

void journal_encode_header(uint8_t out[JOURNAL_HEADER_BYTES], const struct journal_header *h);

/*
 * `len` bytes from the beginning of the file, 512 unless the file is shorter. 1 and *h; 0 when it
 * was never written (it is empty, or all zeros: the run ended before its first chunk); -1: it is
 * no journal, torn, or of a newer godwit.
 */
int journal_decode_header(const uint8_t *in, size_t len, struct journal_header *h, struct err *e);

/*
 * Whether the run of journal `found` can be continued by one that would begin as `now`. Then `now`
 * takes the run id and time of `found`, and is to be written in its place. -1 says what differs.
 */
int journal_continue(const struct journal_header *found, struct journal_header *now, struct err *e);

/* Whether both are of the same source, and it was changed in between. */
bool journal_source_changed(const struct journal_header *found, const struct journal_header *now);

void journal_encode_record(uint8_t out[JOURNAL_RECORD_BYTES],
                           const uint8_t run_id[JOURNAL_RUN_ID_BYTES], uint64_t chunk,
                           const struct journal_record *r);

/* 1: durable, and *r; 0: not durable; -1: torn, or of another run or another chunk. */
int journal_decode_record(const uint8_t in[JOURNAL_RECORD_BYTES],
                          const uint8_t run_id[JOURNAL_RUN_ID_BYTES], uint64_t chunk,
                          struct journal_record *r, struct err *e);

#endif
