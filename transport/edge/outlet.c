/* SPDX-License-Identifier: MIT */
#include "transport/edge/outlet.h"

#include "core/cancel.h"
#include "core/libc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* not netinet/tcp.h: its tcp_info ends before bytes_acked */
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    UNKNOWN = -1,  /* ferry__outlet.unread */
    TCP_CLOSED = 7 /* tcpi_state; only netinet/tcp.h names it, as TCP_CLOSE */
};

/* ---- the fd itself --------------------------------------------------------------------------- */

static int get_option(int fd, int name)
{
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

ferry__outlet_kind ferry__outlet_kind_of_socket(int family, bool is_tcp)
{
    if (family == AF_UNIX)
        return FERRY__OUTLET_UNIX;
    return is_tcp ? FERRY__OUTLET_TCP : FERRY__OUTLET_OTHER;
}

ferry__outlet_kind ferry__outlet_kind_of(int fd)
{
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode))
        return FERRY__OUTLET_PIPE;
    return ferry__outlet_kind_of_socket(get_option(fd, SO_DOMAIN),
                                        get_option(fd, SO_PROTOCOL) == IPPROTO_TCP);
}

/* Asks for a number of bytes; what does not know the question has no queue. */
static int64_t count_bytes(int fd, ferry__ioctl_request question)
{
    int count = 0;
    if (ioctl(fd, question, &count) == 0)
        return count;
    return errno == ENOTTY || errno == EINVAL || errno == EOPNOTSUPP ? 0 : -errno;
}

int64_t ferry__outlet_unacked(int fd, ferry__outlet_kind kind)
{
    /* At the writing end of a pipe FIONREAD tells what the reading end has before it. SIOCOUTQ is
     * TIOCOUTQ, too: it suits terminals as well as sockets. */
    return count_bytes(fd, kind == FERRY__OUTLET_PIPE ? FIONREAD : SIOCOUTQ);
}

int64_t ferry__outlet_unsent(int fd, ferry__outlet_kind kind)
{
    if (kind == FERRY__OUTLET_TCP)
        return count_bytes(fd, SIOCOUTQNSD);
    return ferry__outlet_unacked(fd, kind);
}

static uint32_t read_number(const char *path, uint32_t otherwise)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return otherwise;
    ssize_t size = read(fd, text, sizeof text - 1);
    (void)ferry__close(fd);
    return size > 0 ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

uint32_t ferry__outlet_unsent_limit(int fd)
{
    static atomic_uint of_system; /* 0: not asked for yet */
    uint32_t limit = 0;
    socklen_t size = sizeof limit;
    if (getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &limit, &size) == 0 && limit != 0)
        return limit;
    limit = atomic_load_explicit(&of_system, memory_order_relaxed);
    if (limit != 0)
        return limit;
    limit = read_number("/proc/sys/net/ipv4/tcp_notsent_lowat", UINT32_MAX);
    atomic_store_explicit(&of_system, limit, memory_order_relaxed);
    return limit;
}

/* What an older kernel does not tell stays 0, and so never differs. */
static struct tcp_info get_tcp_info(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    (void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size);
    return info;
}

ferry__outlet ferry__outlet_look(int fd, ferry__outlet_kind kind)
{
    ferry__outlet look = {.unacked = ferry__outlet_unacked(fd, kind), .unread = UNKNOWN};
    look.unsent = look.unacked;
    if (kind == FERRY__OUTLET_PIPE)
        look.unread = look.unacked;
    if (kind != FERRY__OUTLET_TCP)
        return look;
    struct tcp_info info = get_tcp_info(fd);
    look.unsent = ferry__outlet_unsent(fd, kind);
    look.acked = info.tcpi_bytes_acked;
    look.window_edge = info.tcpi_bytes_acked + info.tcpi_snd_wnd;
    return look;
}

bool ferry__outlet_is_gone(int fd, ferry__outlet_kind kind)
{
    return kind == FERRY__OUTLET_TCP && get_tcp_info(fd).tcpi_state == TCP_CLOSED;
}

bool ferry__outlet_has_moved(const ferry__outlet *before, const ferry__outlet *now)
{
    if (before->unread >= 0 && now->unread >= 0 && before->unread != now->unread)
        return true;
    return before->unacked != now->unacked || before->unsent != now->unsent ||
           before->acked != now->acked || before->window_edge != now->window_edge;
}

/* ---- the peer's socket, by sock_diag(7) ------------------------------------------------------ */

typedef union answer {
    struct nlmsghdr header;
    char bytes[1024]; /* one socket's: under 200 bytes, as nothing optional is asked for */
} answer;

typedef struct unix_question {
    struct nlmsghdr header;
    struct unix_diag_req body;
} unix_question;

typedef struct tcp_question {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
} tcp_question;

static struct nlmsghdr question_header(size_t size)
{
    return (struct nlmsghdr){
        .nlmsg_len = (__u32)size, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST};
}

/* Asks for one socket. The kernel answers within send(2), so the answer is there or never comes.
 * @return the answer's body, of body_size at least, or NULL: no such socket, or it was refused. */
static const void *ask(int diag, const struct nlmsghdr *question, size_t body_size,
                       answer *ret_answer)
{
    if (send(diag, question, question->nlmsg_len, MSG_DONTWAIT) < 0)
        return NULL;
    ssize_t size = recv(diag, ret_answer, sizeof *ret_answer, MSG_DONTWAIT);
    if (size < 0 || !NLMSG_OK(&ret_answer->header, (size_t)size))
        return NULL;
    if (ret_answer->header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        ret_answer->header.nlmsg_len < NLMSG_SPACE(body_size))
        return NULL;
    return NLMSG_DATA(&ret_answer->header);
}

/* Asks for one attribute of a unix socket. @return whether there is such a socket and it has it. */
static bool ask_unix(int diag, uint32_t inode, uint32_t show, unsigned short type, void *ret_value,
                     size_t size)
{
    unix_question question = {.header = question_header(sizeof question),
                              .body = {.sdiag_family = AF_UNIX,
                                       .udiag_states = ~0u,
                                       .udiag_ino = inode,
                                       .udiag_show = show,
                                       .udiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}};
    answer reply;
    const struct unix_diag_msg *body = ask(diag, &question.header, sizeof *body, &reply);
    if (body == NULL)
        return false;
    size_t rest = reply.header.nlmsg_len - NLMSG_SPACE(sizeof *body);
    const struct rtattr *attribute = (const struct rtattr *)(body + 1);
    for (; RTA_OK(attribute, rest); attribute = RTA_NEXT(attribute, rest)) {
        if (attribute->rta_type != type || RTA_PAYLOAD(attribute) < size)
            continue;
        memcpy(ret_value, RTA_DATA(attribute), size);
        return true;
    }
    return false;
}

/* @return the inode of the peer's socket; 0: not known. */
static uint32_t unix_peer(int diag, int fd)
{
    struct stat own;
    uint32_t peer = 0;
    if (fstat(fd, &own) == 0)
        (void)ask_unix(diag, (uint32_t)own.st_ino, UDIAG_SHOW_PEER, UNIX_DIAG_PEER, &peer,
                       sizeof peer);
    return peer;
}

static int64_t unread_by_unix_peer(int diag, uint32_t peer)
{
    struct unix_diag_rqlen queues;
    if (peer != 0 &&
        ask_unix(diag, peer, UDIAG_SHOW_RQLEN, UNIX_DIAG_RQLEN, &queues, sizeof queues))
        return queues.udiag_rqueue;
    return UNKNOWN;
}

/* An end of a TCP connection, as sock_diag wants it. */
typedef struct endpoint {
    __u8 family;
    __be16 port;
    __be32 address[4]; /* IPv4: the first alone */
    __u32 interface;   /* of a link-local address; else 0 */
} endpoint;

typedef int get_name(int fd, struct sockaddr *restrict name, socklen_t *restrict size);

static bool get_endpoint(int fd, get_name *get, endpoint *ret_end)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name;
    socklen_t size = sizeof name;
    if (get(fd, &name.any, &size) < 0)
        return false;
    *ret_end = (endpoint){.family = (__u8)name.any.sa_family};
    if (name.any.sa_family == AF_INET) {
        ret_end->port = name.v4.sin_port;
        ret_end->address[0] = name.v4.sin_addr.s_addr;
    } else if (name.any.sa_family == AF_INET6) {
        ret_end->port = name.v6.sin6_port;
        memcpy(ret_end->address, &name.v6.sin6_addr, sizeof ret_end->address);
        ret_end->interface = name.v6.sin6_scope_id;
    }
    return true;
}

/* The peer's socket is the one whose own address is our peer's. An IPv6 socket that speaks IPv4
 * needs no care: the kernel takes mapped addresses, and looks for what they stand for. */
static int64_t unread_by_tcp_peer(int diag, int fd)
{
    endpoint own, peer;
    if (!get_endpoint(fd, getsockname, &own) || !get_endpoint(fd, getpeername, &peer))
        return UNKNOWN;
    tcp_question question = {
        .header = question_header(sizeof question),
        .body = {.sdiag_family = own.family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = ~0u,
                 .id = {.idiag_sport = peer.port,
                        .idiag_dport = own.port,
                        .idiag_if = own.interface,
                        .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}}};
    memcpy(question.body.id.idiag_src, peer.address, sizeof peer.address);
    memcpy(question.body.id.idiag_dst, own.address, sizeof own.address);
    answer reply;
    const struct inet_diag_msg *body = ask(diag, &question.header, sizeof *body, &reply);
    /* Where there is no such socket the kernel offers one that listens on that port, which has no
     * peer, and whose "unread" is a count of connections. */
    if (body == NULL || body->id.idiag_dport != own.port)
        return UNKNOWN;
    return body->idiag_rqueue;
}

ferry__outlet ferry__outlet_look_closely(int fd, ferry__outlet_kind kind, uint32_t peer)
{
    ferry__outlet look = ferry__outlet_look(fd, kind);
    if (kind != FERRY__OUTLET_UNIX && kind != FERRY__OUTLET_TCP)
        return look;
    int diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (diag < 0)
        return look;
    if (kind == FERRY__OUTLET_UNIX) {
        look.peer = peer != 0 ? peer : unix_peer(diag, fd);
        look.unread = unread_by_unix_peer(diag, look.peer);
    } else {
        look.unread = unread_by_tcp_peer(diag, fd);
    }
    (void)ferry__close(diag);
    return look;
}
