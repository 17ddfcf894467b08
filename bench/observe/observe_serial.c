/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Sockets, ptys and FIFOs wake the loop themselves. For a log file inotify does: against polling
 * every 0.3 ms it stamps a heartbeat 6 µs late instead of 170 µs at the median, for the same CPU
 * time. Where it cannot (another host's file system, no watches left), the observer's tick
 * still reads the file, every 2 ms. Each chunk is stamped once, as it is read.
 *
 * All paths are one guest. The first heartbeat makes it a heartbeat guest: from then on only
 * heartbeats are signs of life. The bytes of the line in which we came in were taken as signs
 * before that was known, and are forgotten again.
 *
 * A migration cuts the guest's output anywhere. The line that the source began stays in its path's
 * buffer; when a path ends a line that is no heartbeat, it may be the rest of such a line: if both
 * together are the heartbeat that is due, it is one. For this the order between the paths matters,
 * which epoll does not keep: so at each wake-up the path that spoke last is read to its end before
 * the others, because the guest leaves one side before it says anything on the next.
 *
 * The sequence of heartbeats shows what was lost. The last 1024 numbers are remembered, to know a
 * duplicate from a late one, which then is not lost after all. A banner, or a number from further
 * back, means that the guest was booted anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "bench/guest/heartbeat.h"
#include "bench/observe/guest_clock.h"
#include "bench/observe/heartbeat.h"
#include "bench/observe/observe.h"
#include "core/clock.h"
#include "core/log.h"

enum {
    SERIAL_LINE_MAX = 128,
    SERIAL_CHUNK = 4096,
    SERIAL_BATCH = 16,                             /* chunks per wake-up */
    SERIAL_UNDECIDED_MAX = 2 * HEARTBEAT_LINE_MAX, /* a cut beat and a whole one */
    SEQUENCE_WINDOW = 1024,
};

struct serial_path {
    struct observe_serial *serial;
    char *name;
    int spec;
    int fd;        /* -1: has ended */
    int notify_fd; /* a log file's inotify, or -1 */
    bool is_file;
    off_t offset;
    struct loop_fd *watch;
    char line[SERIAL_LINE_MAX]; /* the unfinished one */
    size_t line_n;
    bool line_overlong;
};

struct observe_serial {
    struct observe_group group;
    struct loop *loop;
    struct observer_beats *record; /* NULL: nobody wants them */
    struct serial_path *paths;
    size_t paths_n;
    size_t last; /* the path that spoke last */

    struct guest_clock clock;
    bool beats;          /* a heartbeat was seen */
    uint64_t bytes;      /* until then */
    bool sequence_known; /* since the boot that we know of */
    uint32_t next_seq;
    uint64_t seen[SEQUENCE_WINDOW / 64];
};

static void sequence_set(struct observe_serial *s, uint32_t seq, bool seen)
{
    uint64_t bit = UINT64_C(1) << (seq % 64), *word = &s->seen[seq % SEQUENCE_WINDOW / 64];
    *word = seen ? *word | bit : *word & ~bit;
}

static bool sequence_seen(const struct observe_serial *s, uint32_t seq)
{
    return s->seen[seq % SEQUENCE_WINDOW / 64] >> (seq % 64) & 1;
}

static void sequence_start(struct observe_serial *s, uint32_t seq)
{
    memset(s->seen, 0, sizeof s->seen);
    sequence_set(s, seq, true);
    s->next_seq = seq + 1;
    s->sequence_known = true;
}

/* Steps over the `lost` numbers before `seq`. */
static void sequence_advance(struct observe_serial *s, uint32_t seq, uint32_t lost)
{
    s->group.result.lost += lost;
    if (lost >= SEQUENCE_WINDOW) {
        sequence_start(s, seq);
        return;
    }
    for (uint32_t missing = s->next_seq; missing != seq; missing++)
        sequence_set(s, missing, false);
    sequence_set(s, seq, true);
    s->next_seq = seq + 1;
}

/* Counts a heartbeat in; false if it is the copy of one. */
static bool sequence_take(struct observe_serial *s, uint32_t seq)
{
    struct observer_result *r = &s->group.result;
    int32_t ahead = (int32_t)(seq - s->next_seq);
    if (!s->sequence_known) {
        sequence_start(s, seq);
    } else if (ahead >= 0) {
        sequence_advance(s, seq, (uint32_t)ahead);
    } else if (ahead < -SEQUENCE_WINDOW) {
        r->restarts++;
        sequence_start(s, seq);
    } else if (sequence_seen(s, seq)) {
        r->duplicates++;
        return false;
    } else {
        r->reordered++;
        if (r->lost > 0) /* it may also be from before we came */
            r->lost--;
        sequence_set(s, seq, true);
    }
    return true;
}

/* What there is no memory for is left out: the silences are counted elsewhere. */
static void serial_write_down(const struct serial_path *p, const struct heartbeat *beat,
                              int64_t now_ns)
{
    struct observer_beats *to = p->serial->record;
    if (to->n == to->room) {
        size_t room = to->room > 0 ? 2 * to->room : 1 << 14;
        struct observer_beat *at = realloc(to->at, room * sizeof *at);
        if (at == NULL)
            return;
        to->at = at;
        to->room = room;
    }
    to->at[to->n++] = (struct observer_beat){now_ns, beat->seq, beat->work, p->spec};
}

static void serial_take_beat(struct serial_path *p, const struct heartbeat *beat, int64_t now_ns)
{
    struct observe_serial *s = p->serial;
    if (!s->beats && s->bytes <= SERIAL_UNDECIDED_MAX)
        silence_init(&s->group.silence, s->group.silence.mark_ns);
    s->beats = true;
    if (s->record != NULL)
        serial_write_down(p, beat, now_ns);
    if (sequence_take(s, beat->seq))
        observe_group_sign(&s->group, now_ns, now_ns, p->spec);
}

/* Whether the line of `p` is the rest of one that another path could not finish. */
static bool serial_join(struct serial_path *p, struct heartbeat *beat)
{
    struct observe_serial *s = p->serial;
    for (size_t i = 0; i < s->paths_n; i++) {
        struct serial_path *head = &s->paths[i];
        if (head == p || head->line_n == 0 || head->line_overlong ||
            head->line_n + p->line_n >= SERIAL_LINE_MAX)
            continue;
        char joined[SERIAL_LINE_MAX];
        memcpy(joined, head->line, head->line_n);
        memcpy(joined + head->line_n, p->line, p->line_n + 1);
        if (heartbeat_parse(joined, beat) < 0 || !s->sequence_known ||
            beat->seq - s->next_seq >= SEQUENCE_WINDOW)
            continue;
        head->line_n = 0;
        return true;
    }
    return false;
}

/* The line is complete, with its end and a NUL. */
static void serial_take_line(struct serial_path *p, int64_t now_ns)
{
    static const char banner[] = "GODWIT-GUEST ";
    struct observe_serial *s = p->serial;
    struct heartbeat beat;
    int64_t guest_ns;
    if (heartbeat_parse_clock(p->line, &guest_ns) == 0) {
        guest_clock_add(&s->clock, guest_ns, now_ns, p->spec);
    } else if (heartbeat_parse(p->line, &beat) == 0 || serial_join(p, &beat)) {
        serial_take_beat(p, &beat, now_ns);
    } else if (strncmp(p->line, banner, strlen(banner)) == 0 && s->sequence_known) {
        s->group.result.restarts++;
        s->sequence_known = false;
        guest_clock_init(&s->clock);
    }
}

static void serial_take_chunk(struct serial_path *p, const char *bytes, size_t n, int64_t now_ns)
{
    struct observe_serial *s = p->serial;
    for (size_t i = 0; i < n; i++) {
        if (p->line_n < SERIAL_LINE_MAX - 1)
            p->line[p->line_n++] = bytes[i];
        else
            p->line_overlong = true;
        if (bytes[i] != '\n')
            continue;
        p->line[p->line_n] = '\0';
        if (!p->line_overlong)
            serial_take_line(p, now_ns);
        p->line_n = 0;
        p->line_overlong = false;
    }
    if (!s->beats) { /* also after this chunk */
        s->bytes += n;
        observe_group_sign(&s->group, now_ns, now_ns, p->spec);
    }
}

static void serial_end(struct serial_path *p)
{
    log_debug("%s: has ended", p->name);
    loop_fd_del(p->watch);
    p->watch = NULL;
    close(p->fd);
    p->fd = -1;
}

/* What is new in a log file; 0: nothing. A shorter file was emptied by whoever writes it. */
static ssize_t serial_read_file(struct serial_path *p, char *bytes)
{
    ssize_t n = pread(p->fd, bytes, SERIAL_CHUNK, p->offset);
    if (n > 0)
        p->offset += n;
    struct stat st;
    if (n == 0 && fstat(p->fd, &st) == 0 && st.st_size < p->offset)
        p->offset = 0;
    return n;
}

static void serial_read(struct serial_path *p)
{
    for (int i = 0; p->fd >= 0 && i < SERIAL_BATCH; i++) {
        char bytes[SERIAL_CHUNK];
        ssize_t n = p->is_file ? serial_read_file(p, bytes) : read(p->fd, bytes, sizeof bytes);
        if (n > 0) {
            p->serial->last = (size_t)(p - p->serial->paths);
            serial_take_chunk(p, bytes, (size_t)n, clock_now_ns());
        } else if (p->is_file || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
            return;
        } else {
            serial_end(p); /* QEMU has quit: EOF, or EIO from a pty */
        }
    }
}

static void serial_read_all(struct observe_group *g)
{
    struct observe_serial *s = (struct observe_serial *)g;
    size_t last = s->last;
    serial_read(&s->paths[last]);
    for (size_t i = 0; i < s->paths_n; i++)
        if (i != last)
            serial_read(&s->paths[i]);
}

static void serial_on_bytes(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct serial_path *p = arg;
    if (p->notify_fd >= 0) {
        char events[1024]; /* of one kind for one file: that there are any is enough */
        (void)!read(p->notify_fd, events, sizeof events);
    }
    serial_read_all(&p->serial->group);
}

static void serial_close(struct observe_group *g)
{
    struct observe_serial *s = (struct observe_serial *)g;
    for (size_t i = 0; i < s->paths_n; i++) {
        struct serial_path *p = &s->paths[i];
        loop_fd_del(p->watch);
        if (p->fd >= 0)
            close(p->fd);
        if (p->notify_fd >= 0)
            close(p->notify_fd);
        free(p->name);
    }
    free(s->paths);
    free(s);
}

static void serial_finish(struct observe_group *g)
{
    struct observe_serial *s = (struct observe_serial *)g;
    serial_read_all(g);
    g->result.clock_step_ns = guest_clock_step_ns(&s->clock);
}

static const struct observe_ops serial_ops = {serial_read_all, serial_finish, serial_close};

static int serial_connect(struct serial_path *p, const char *path, struct err *e)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof to.sun_path)
        return err_set(e, ERR_REFUSED, ENAMETOOLONG, "%s: cannot connect", p->name);
    memcpy(to.sun_path, path, strlen(path) + 1);
    p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot make a socket", p->name);
    if (connect(p->fd, (const struct sockaddr *)&to, sizeof to) < 0) {
        err_set(e, ERR_REFUSED, errno, "%s: cannot connect", p->name);
        return err_hint(e, "QEMU must listen there (server=on,wait=off), for one client at a time");
    }
    return 0;
}

/* The watch comes before the size is taken, so that nothing falls between the two. */
static int serial_tail(struct serial_path *p, const char *path, struct err *e)
{
    p->is_file = true;
    p->notify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (p->notify_fd < 0 || inotify_add_watch(p->notify_fd, path, IN_MODIFY) < 0)
        log_debug("%s: no inotify (%s), so it is read every 2 ms", p->name, strerror(errno));
    struct stat st;
    if (fstat(p->fd, &st) < 0)
        return err_set(e, ERR_IO, errno, "%s: cannot examine it", p->name);
    p->offset = st.st_size;
    return 0;
}

/* A terminal would echo to the guest what the guest says. */
static int serial_make_raw(struct serial_path *p, struct err *e)
{
    struct termios t;
    if (tcgetattr(p->fd, &t) < 0) /* a device that is none fails here: ENOTTY */
        return err_set(e, ERR_REFUSED, errno, "%s: cannot be used as a terminal", p->name);
    cfmakeraw(&t);
    if (tcsetattr(p->fd, TCSANOW, &t) < 0)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot be set up", p->name);
    return 0;
}

static int serial_open_path(struct serial_path *p, const char *path, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot examine it", p->name);
    if (S_ISSOCK(st.st_mode))
        return serial_connect(p, path, e);
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode)) {
        err_set(e, ERR_REFUSED, 0, "%s: is not a file, socket, pty or FIFO", p->name);
        return err_hint(e, "give what QEMU's -serial or the domain's <serial> names");
    }
    /* A FIFO is opened for writing too: else it ends each time that its writer closes it. */
    int mode = S_ISFIFO(st.st_mode) ? O_RDWR : O_RDONLY;
    p->fd = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (p->fd < 0)
        return err_set(e, ERR_REFUSED, errno, "%s: cannot open it", p->name);
    if (S_ISREG(st.st_mode))
        return serial_tail(p, path, e);
    return S_ISCHR(st.st_mode) ? serial_make_raw(p, e) : 0;
}

static int serial_add(struct observe_serial *s, const char *path, int spec, struct err *e)
{
    struct serial_path *p = &s->paths[s->paths_n++];
    *p = (struct serial_path){.serial = s, .spec = spec, .fd = -1, .notify_fd = -1};
    size_t size = strlen("serial:") + strlen(path) + 1;
    p->name = malloc(size);
    if (p->name == NULL)
        return err_set(e, ERR_IO, ENOMEM, "cannot observe a serial port");
    snprintf(p->name, size, "serial:%s", path);
    if (serial_open_path(p, path, e) < 0)
        return -1;

    int fd = p->is_file ? p->notify_fd : p->fd;
    if (fd >= 0) {
        p->watch = loop_fd_add(s->loop, fd, EPOLLIN, serial_on_bytes, p, e);
        if (p->watch == NULL)
            return -1;
    }
    char *what = s->group.result.what;
    size_t used = strlen(what);
    snprintf(what + used, OBSERVER_WHAT_MAX - used, "%s%s", used > 0 ? " + " : "", p->name);
    return 0;
}

struct observe_group *observe_serial_open(const char *const *paths, const int *specs, size_t n,
                                          const struct observe_context *c, struct err *e)
{
    struct observe_serial *s = calloc(1, sizeof *s);
    if (s == NULL) {
        err_set(e, ERR_IO, ENOMEM, "cannot observe a serial port");
        return NULL;
    }
    observe_group_init(&s->group, &serial_ops, OBSERVER_SERIAL, c);
    s->loop = c->loop;
    s->record = c->beats;
    guest_clock_init(&s->clock);
    s->paths = calloc(n, sizeof *s->paths);
    if (s->paths == NULL)
        err_set(e, ERR_IO, ENOMEM, "cannot observe a serial port");
    for (size_t i = 0; s->paths != NULL && i < n; i++)
        if (serial_add(s, paths[i], specs[i], e) < 0)
            break;
    if (e->class != ERR_NONE) {
        serial_close(&s->group);
        return NULL;
    }
    return &s->group;
}
