/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * The lines that a built-in guest writes on its serial port, and the writer
 * of the one that matters, shared by the bare-metal guest (freestanding), the
 * Linux guest and the host's parser (bench/observe/heartbeat.c).
 *
 * Grammar (lines end in "\n"; a "\r" before it is tolerated by the parser):
 *
 *     banner    = "GODWIT-GUEST " kind " 1 period_us=" dec " working_set=" dec
 *                 " rate=" dec *( " " key "=" value )
 *     kind      = "bare" / "linux"
 *     beat      = "H " hex8 " " hex8 [ " " hex8 ]
 *     clock     = "CLOCK " hex8 " " hex8
 *     corrupt   = "CORRUPT page=" hex8 " want=" hex8 " got=" hex8 " total=" hex8
 *     error     = "ERROR " text
 *     hex8      = 8 lower-case hexadecimal digits
 *
 * Once per boot comes the banner: the format's version (1), the heartbeat's
 * period in µs, the working set in bytes and the dirty rate in bytes per second.
 *
 * A beat carries
 *   1. its sequence number: 0 is the first after boot, each next one is one
 *      more, modulo 2^32. A guest that could not write a line (nobody reads the
 *      port and its FIFO stays full) still counts it, so a gap in the sequence is
 *      a beat that was not delivered. A guest that was late does not catch up:
 *      it goes on one period after the late beat, so a pause is one long
 *      interval and never a burst;
 *   2. the work done: pages of the working set dirtied since boot, modulo 2^32.
 *      It stays 0 until the whole working set was written once;
 *   3. on the Linux guest, the highest record known to be on the disk, modulo
 *      2^32, and 0 before the first (see bench/guest/record.h).
 *
 * The fields have a fixed width so that a lost byte cannot go unnoticed: such a
 * line has another length and is no beat. A line that had to be given up in its
 * middle is ended by the "\n" that opens the guest's next one.
 *
 * An observer should know two things about QEMU. A migration may cut a line in two, its head on
 * the source's port and its tail on the destination's: read both as one stream of
 * bytes, in that order. And a port on a UNIX socket holds some 270 bytes, since QEMU
 * sends one at a time: a reader that is 15 ms late makes the bare-metal guest drop beats
 * (the Linux guest queues some 140). A port on a file never does.
 *
 * "clock" is what the Linux guest takes for the time, in µs since 1970 (the higher half first), after each
 * HEARTBEAT_CLOCK_EACH-th beat: what it gains or loses against ours when it changes sides is the step of its clock.
 *
 * "corrupt" means that the guest found a word in its memory that it did not write.
 * "error" means that the guest cannot do (part of) its work, and says why.
 */
#ifndef GODWIT_BENCH_GUEST_HEARTBEAT_H
#define GODWIT_BENCH_GUEST_HEARTBEAT_H

#include <stdint.h>

#define HEARTBEAT_FORMAT_VERSION 1
#define HEARTBEAT_CLOCK_EACH 16

/* Longest beat including its "\n", and no NUL. */
#define HEARTBEAT_LINE_MAX 29

/* Write VALUE as 8 lower-case hexadecimal digits at P; return the end. */
static inline char *heartbeat_put_hex8(char *p, uint32_t value)
{
    for (int shift = 28; shift >= 0; shift -= 4) {
        *p++ = "0123456789abcdef"[(value >> shift) & 15];
    }
    return p;
}

/*
 * Write a beat into BUF (HEARTBEAT_LINE_MAX bytes, not NUL-terminated) and return its
 * length. RECORD is the third field, or NULL for a guest without records.
 */
static inline uint32_t heartbeat_format(char *buf, uint32_t seq, uint32_t work,
                                        const uint32_t *record)
{
    char *p = buf;

    *p++ = 'H';
    *p++ = ' ';
    p = heartbeat_put_hex8(p, seq);
    *p++ = ' ';
    p = heartbeat_put_hex8(p, work);
    if (record) {
        *p++ = ' ';
        p = heartbeat_put_hex8(p, *record);
    }
    *p++ = '\n';
    return (uint32_t)(p - buf);
}

#endif
