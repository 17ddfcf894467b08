/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * After a move the switches still send the guest's frames to its old place, until they see a frame of its MAC
 * from the new one. So somebody has to send one: QEMU does for it (RARP, docs/devel/migration: announce-self),
 * and a guest with a driver that is asked to (virtio-net's GUEST_ANNOUNCE) by gratuitous ARP and unsolicited
 * neighbour advertisements. All three are broadcast, so that a packet socket on any interface of the same
 * network sees them.
 *
 * A filter in the kernel lets in the three kinds of packets; which of them announce is looked at here, because
 * that compares one field with another. A packet socket sees what this machine sends, too, and each frame once
 * for its interface. It is stamped as it arrives, like an answer to ping.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/observe/observe.h"
#include "core/clock.h"

enum {
    ANNOUNCE_BATCH = 64, /* frames taken in per wake-up */
    ANNOUNCE_FRAME = 128,
    /* offsets from the frame's start: Ethernet 14; ARP (RFC 826) and RARP (RFC 903) over IPv4; ICMPv6 after
     * IPv6's 40, without extension headers (RFC 4861: there are none) */
    AT_SOURCE_MAC = 6,
    AT_TYPE = 12,
    AT_ARP = 14,
    ARP_LENGTH = 28,
    AT_ARP_SENDER_MAC = AT_ARP + 8,
    AT_ARP_SENDER = AT_ARP + 14,
    AT_ARP_TARGET = AT_ARP + 24,
    AT_NEXT_HEADER = 20,
    AT_IPV6_TO = 38,
    AT_ICMPV6 = 54,
    NEXT_ICMPV6 = 58,
    ADVERTISEMENT = 136,
};

struct observe_announce {
    struct observe_group group;
    const _Atomic int64_t *mark_ns;
    bool of_one; /* MAC */
    uint8_t mac[6];
    int fd;
    struct loop_fd *watch;
};

/* "ff:ee:…": six bytes. */
static bool announce_parse_mac(const char *text, uint8_t mac[6])
{
    unsigned b[6];
    int end = 0;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) !=
            6 ||
        text[end] != '\0')
        return false;
    for (size_t i = 0; i < 6; i++)
        mac[i] = (uint8_t)b[i];
    return true;
}

static unsigned announce_u16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

bool observe_announce_know(const uint8_t *frame, size_t n, struct observer_announce *a)
{
    static const uint8_t all_nodes[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    if (n < AT_ARP)
        return false;
    unsigned type = announce_u16(frame + AT_TYPE);
    memcpy(a->mac, frame + AT_SOURCE_MAC, sizeof a->mac);
    if (type == ETH_P_RARP) {
        a->kind = OBSERVER_RARP;
        return n >= AT_ARP + ARP_LENGTH;
    }
    if (type == ETH_P_ARP) {
        a->kind = OBSERVER_GRATUITOUS_ARP;
        return n >= AT_ARP + ARP_LENGTH &&
               memcmp(frame + AT_ARP_SENDER, frame + AT_ARP_TARGET, 4) == 0;
    }
    a->kind = OBSERVER_UNSOLICITED_NA;
    return type == ETH_P_IPV6 && n > AT_ICMPV6 && frame[AT_NEXT_HEADER] == NEXT_ICMPV6 &&
           frame[AT_ICMPV6] == ADVERTISEMENT && memcmp(frame + AT_IPV6_TO, all_nodes, 16) == 0;
}

static void announce_take(struct observe_announce *o, const struct observer_announce *a)
{
    struct observer_result *r = &o->group.result;
    if (a->at_ns <= atomic_load_explicit(o->mark_ns, memory_order_acquire))
        return; /* before the mark nobody has moved; without one nothing is known */
    r->announced_count++;
    if (r->announced_n < OBSERVER_ANNOUNCES)
        r->announced[r->announced_n++] = *a;
}

static void announce_receive(struct observe_group *g)
{
    struct observe_announce *o = (struct observe_announce *)g;
    for (int i = 0; i < ANNOUNCE_BATCH; i++) {
        uint8_t frame[ANNOUNCE_FRAME];
        _Alignas(struct cmsghdr) char control[128];
        struct iovec iov = {frame, sizeof frame};
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
        ssize_t n = recvmsg(o->fd, &msg, MSG_DONTWAIT);
        if (n < 0 && errno != EINTR)
            return; /* nothing more; or the interface is down, which it is there to see */
        struct observer_announce a = {0};
        if (n <= 0 || !observe_announce_know(frame, (size_t)n, &a) ||
            (o->of_one && memcmp(a.mac, o->mac, sizeof a.mac) != 0))
            continue;
        a.at_ns = observe_arrival_ns(&msg, 0, clock_now_ns());
        announce_take(o, &a);
    }
}

static void announce_on_frame(void *arg, uint32_t epoll_events)
{
    (void)epoll_events;
    announce_receive(arg);
}

static void announce_close(struct observe_group *g)
{
    struct observe_announce *o = (struct observe_announce *)g;
    loop_fd_del(o->watch);
    if (o->fd >= 0)
        close(o->fd);
    free(o);
}

static const struct observe_ops announce_ops = {NULL, announce_receive, announce_close};

/* Of all that comes by, ARP, RARP and ICMPv6's neighbour advertisements: a busy bridge has millions of others. */
static int announce_filter(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, AT_TYPE),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_RARP, 6, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_ARP, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 5),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT_NEXT_HEADER),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NEXT_ICMPV6, 0, 3),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, AT_ICMPV6),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ADVERTISEMENT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, ANNOUNCE_FRAME),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* The filter comes before the interface, so that nothing else is ever queued. */
static int announce_socket(struct observe_announce *o, const char *name, struct err *e)
{
    const int on = 1;
    unsigned index = if_nametoindex(name);
    if (index == 0) {
        err_set(e, ERR_REFUSED, errno, "announce:%s: there is no such interface", name);
        return err_hint(
            e, "name one of this machine's in the guest's network, such as its bridge: ip link");
    }
    o->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (o->fd < 0) {
        err_set(e, ERR_REFUSED, errno, "announce:%s: cannot open a packet socket", name);
        return err_hint(e, "run as root or with CAP_NET_RAW");
    }
    const struct sockaddr_ll to = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)index};
    const struct packet_mreq all = {.mr_ifindex = (int)index, .mr_type = PACKET_MR_ALLMULTI};
    setsockopt(o->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(o->fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all);
    if (announce_filter(o->fd) < 0 || bind(o->fd, (const struct sockaddr *)&to, sizeof to) < 0)
        return err_set(e, ERR_REFUSED, errno, "announce:%s: cannot listen on it", name);
    return 0;
}

/* "IFNAME[@MAC]", into `name`. */
static int announce_parse(struct observe_announce *o, const char *text, char name[IF_NAMESIZE],
                          struct err *e)
{
    const char *at = strrchr(text, '@');
    size_t len = at != NULL ? (size_t)(at - text) : strlen(text);
    if (len == 0 || len >= IF_NAMESIZE)
        return err_set(e, ERR_USAGE, 0, "announce:%s: that is no interface's name", text);
    memcpy(name, text, len);
    name[len] = '\0';
    o->of_one = at != NULL;
    if (at != NULL && !announce_parse_mac(at + 1, o->mac))
        return err_set(e, ERR_USAGE, 0,
                       "announce:%s: '%s' is no MAC address like 52:54:00:12:34:56", name, at + 1);
    return 0;
}

int observe_announce_check(const char *text, struct err *e)
{
    struct observe_announce ignored;
    char name[IF_NAMESIZE];
    return announce_parse(&ignored, text, name, e);
}

struct observe_group *observe_announce_open(const char *text, const struct observe_context *c,
                                            struct err *e)
{
    char name[IF_NAMESIZE];
    struct observe_announce *o = calloc(1, sizeof *o);
    if (o == NULL) {
        err_set(e, ERR_IO, ENOMEM, "announce:%s: cannot be observed", text);
        return NULL;
    }
    observe_group_init(&o->group, &announce_ops, OBSERVER_ANNOUNCE, c);
    snprintf(o->group.result.what, sizeof o->group.result.what, "announce:%s", text);
    o->mark_ns = c->mark_ns;
    o->fd = -1;
    if (announce_parse(o, text, name, e) == 0 && announce_socket(o, name, e) == 0)
        o->watch = loop_fd_add(c->loop, o->fd, EPOLLIN, announce_on_frame, o, e);
    if (o->watch == NULL) {
        announce_close(&o->group);
        return NULL;
    }
    return &o->group;
}
