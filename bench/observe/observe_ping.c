/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * An echo request goes out with each expiry of a timerfd; if the thread overslept several, one is
 * sent, because a burst would tell nothing more. A request carries a random cookie and a 64-bit
 * number, so that the 16-bit sequence of ICMP may wrap and other pings do not matter. A ring
 * remembers the last 8192 requests; one that leaves it without an answer is lost.
 *
 * An answer is stamped by the kernel as it arrives (SO_TIMESTAMPNS): observe_arrival_ns().
 *
 * A ping socket needs no privilege where net.ipv4.ping_group_range allows it, and hands over only
 * our answers; else a raw socket does, with a filter. The guest not being reachable (no ARP answer,
 * host unreachable, queue full) is what the observer is there to see: no error ends it.
 */
#include <errno.h>
#include <linux/icmp.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bench/observe/observe.h"
#include "core/clock.h"

enum {
    PING_RING = 8192,
    PING_BATCH = 64, /* answers taken in per wake-up, so that a flood cannot hold the thread */
};
#define PING_PATIENCE_NS (100 * NS_PER_MS)

/* An echo request or answer; the first eight bytes are ICMP's, in network order. */
struct ping_packet {
    uint8_t type, code;
    uint16_t checksum, id, seq;
    uint64_t cookie, number;
};

struct ping_request {
    int64_t sent_ns;
    bool answered;
};

struct observe_ping {
    struct observe_group group;
    int spec;
    struct loop *loop;
    int fd, timer_fd;
    struct loop_fd *watch, *timer_watch;
    bool raw_ipv4; /* answers come with their IP header */
    uint8_t request_type, reply_type;
    uint64_t cookie;
    uint64_t next; /* number of the next request */
    uint64_t newest_answered;
    struct ping_request ring[PING_RING];
};

/* RFC 1071. The kernel fills it in for all but raw IPv4; there it does no harm. */
static uint16_t ping_checksum(const struct ping_packet *packet)
{
    uint16_t words[sizeof *packet / 2];
    memcpy(words, packet, sizeof words);
    uint32_t sum = 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        sum += words[i];
    sum = (sum >> 16) + (sum & 0xffff);
    sum += sum >> 16;
    return (uint16_t)~sum;
}

static void ping_send(struct observe_ping *p)
{
    uint64_t number = p->next++;
    struct ping_request *slot = &p->ring[number % PING_RING];
    if (number >= PING_RING && !slot->answered)
        p->group.result.lost++;
    *slot = (struct ping_request){.sent_ns = clock_now_ns()};
    p->group.result.sent++;

    struct ping_packet packet = {.type = p->request_type,
                                 .id = (uint16_t)p->cookie,
                                 .seq = htons((uint16_t)number),
                                 .cookie = p->cookie,
                                 .number = number};
    packet.checksum = ping_checksum(&packet);
    /* The first try may only fetch the error of an earlier request. */
    if (send(p->fd, &packet, sizeof packet, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        (void)!send(p->fd, &packet, sizeof packet, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void ping_on_timer(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    struct observe_ping *p = arg;
    uint64_t expiries;
    if (read(p->timer_fd, &expiries, sizeof expiries) == (ssize_t)sizeof expiries)
        ping_send(p);
}

static void ping_take(struct observe_ping *p, const struct ping_packet *reply, struct msghdr *msg)
{
    struct observer_result *r = &p->group.result;
    int64_t now_ns = clock_now_ns(), sent_ns = 0;
    if (reply->number + PING_RING >= p->next) { /* else it is lost already, but life all the same */
        struct ping_request *slot = &p->ring[reply->number % PING_RING];
        if (slot->answered) {
            r->duplicates++;
            return;
        }
        slot->answered = true;
        sent_ns = slot->sent_ns;
    }
    if (reply->number < p->newest_answered)
        r->reordered++;
    else
        p->newest_answered = reply->number;
    observe_group_sign(&p->group, observe_arrival_ns(msg, sent_ns, now_ns), now_ns, p->spec);
}

/* Whether the `n` bytes are an answer to one of our requests. */
static bool ping_is_ours(const struct observe_ping *p, const uint8_t *bytes, size_t n,
                         struct ping_packet *reply)
{
    size_t header = 0;
    if (p->raw_ipv4)
        header = n > 0 ? (size_t)(bytes[0] & 15) * 4 : 0;
    if (n < header + sizeof *reply)
        return false;
    memcpy(reply, bytes + header, sizeof *reply);
    return reply->type == p->reply_type && reply->cookie == p->cookie && reply->number < p->next;
}

static void ping_receive(struct observe_ping *p)
{
    for (int i = 0; i < PING_BATCH; i++) {
        uint8_t bytes[256];
        _Alignas(struct cmsghdr) char control[128];
        struct iovec iov = {bytes, sizeof bytes};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
        ssize_t n = recvmsg(p->fd, &msg, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        struct ping_packet reply;
        if (n > 0 && ping_is_ours(p, bytes, (size_t)n, &reply))
            ping_take(p, &reply, &msg);
    }
}

static void ping_on_packet(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    ping_receive(arg);
}

static void ping_finish(struct observe_group *g)
{
    struct observe_ping *p = (struct observe_ping *)g;
    ping_receive(p);
    int64_t ended_ns = clock_now_ns();
    uint64_t first = p->next > PING_RING ? p->next - PING_RING : 0;
    for (uint64_t number = first; number < p->next; number++) {
        const struct ping_request *slot = &p->ring[number % PING_RING];
        if (!slot->answered && ended_ns - slot->sent_ns >= PING_PATIENCE_NS)
            g->result.lost++;
    }
}

static void ping_close(struct observe_group *g)
{
    struct observe_ping *p = (struct observe_ping *)g;
    loop_fd_del(p->watch);
    loop_fd_del(p->timer_watch);
    if (p->fd >= 0)
        close(p->fd);
    if (p->timer_fd >= 0)
        close(p->timer_fd);
    free(p);
}

static const struct observe_ops ping_ops = {NULL, ping_finish, ping_close};

/* A raw socket sees every ICMP packet from that address: keep all but echo replies out. */
static void ping_filter(int fd, int family)
{
    if (family == AF_INET6) {
        struct icmp6_filter filter;
        ICMP6_FILTER_SETBLOCKALL(&filter);
        ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
        setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter);
    } else {
        struct icmp_filter filter = {.data = ~(1U << ICMP_ECHOREPLY)};
        setsockopt(fd, SOL_RAW, ICMP_FILTER, &filter, sizeof filter);
    }
}

static int ping_socket(struct observe_ping *p, const char *address, int family, struct err *e)
{
    const int type = SOCK_CLOEXEC | SOCK_NONBLOCK, on = 1;
    int protocol = family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    p->fd = socket(family, SOCK_DGRAM | type, protocol);
    if (p->fd < 0) {
        p->fd = socket(family, SOCK_RAW | type, protocol);
        if (p->fd < 0) {
            err_set(e, ERR_REFUSED, errno, "ping:%s: cannot open an ICMP socket", address);
            return err_hint(e, "run as root or with CAP_NET_RAW, or put your group into "
                               "net.ipv4.ping_group_range");
        }
        ping_filter(p->fd, family);
        p->raw_ipv4 = family == AF_INET;
    }
    setsockopt(p->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    p->request_type = family == AF_INET6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
    p->reply_type = family == AF_INET6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY;
    return 0;
}

static int ping_connect(struct observe_ping *p, const char *address, struct err *e)
{
    const struct addrinfo want = {.ai_socktype = SOCK_DGRAM};
    struct addrinfo *found;
    int rc = getaddrinfo(address, NULL, &want, &found);
    if (rc == EAI_SYSTEM)
        return err_set(e, ERR_REFUSED, errno, "ping:%s: cannot resolve the address", address);
    if (rc != 0)
        return err_set(e, ERR_REFUSED, 0, "ping:%s: %s", address, gai_strerror(rc));

    rc = ping_socket(p, address, found->ai_family, e);
    if (rc == 0 && connect(p->fd, found->ai_addr, found->ai_addrlen) < 0)
        rc = err_set(e, ERR_REFUSED, errno, "ping:%s: cannot connect", address);
    freeaddrinfo(found);
    return rc;
}

static int ping_start(struct observe_ping *p, int64_t interval_ns, struct err *e)
{
    p->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (p->timer_fd < 0)
        return err_set(e, ERR_IO, errno, "ping: cannot make a timer");
    const struct timespec every = {interval_ns / NS_PER_S, interval_ns % NS_PER_S};
    const struct itimerspec spec = {.it_interval = every, .it_value = every};
    if (timerfd_settime(p->timer_fd, 0, &spec, NULL) < 0)
        return err_set(e, ERR_IO, errno, "ping: cannot start a timer");
    p->watch = loop_fd_add(p->loop, p->fd, EPOLLIN, ping_on_packet, p, e);
    if (p->watch == NULL)
        return -1;
    p->timer_watch = loop_fd_add(p->loop, p->timer_fd, EPOLLIN, ping_on_timer, p, e);
    return p->timer_watch == NULL ? -1 : 0;
}

struct observe_group *observe_ping_open(const char *address, int64_t interval_ns, int spec,
                                        const struct observe_context *c, struct err *e)
{
    struct observe_ping *p = calloc(1, sizeof *p);
    if (p == NULL) {
        err_set(e, ERR_IO, ENOMEM, "ping:%s: cannot be observed", address);
        return NULL;
    }
    observe_group_init(&p->group, &ping_ops, OBSERVER_PING, c);
    snprintf(p->group.result.what, sizeof p->group.result.what, "ping:%s", address);
    p->spec = spec;
    p->loop = c->loop;
    p->fd = p->timer_fd = -1;
    if (getrandom(&p->cookie, sizeof p->cookie, GRND_NONBLOCK) != (ssize_t)sizeof p->cookie)
        p->cookie = (uint64_t)clock_now_ns() ^ (uint64_t)getpid() << 48; /* early at boot */
    if (ping_connect(p, address, e) < 0 || ping_start(p, interval_ns, e) < 0) {
        ping_close(&p->group);
        return NULL;
    }
    return &p->group;
}
