/* SPDX-License-Identifier: MIT */
#include "transport/edge/diag.h"

#include "core/cancel.h"
#include "core/libc.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { UNKNOWN = -1 }; /* bytes that are unread */

int ferry__diag_open(void)
{
    return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
}

/* ---- one socket ------------------------------------------------------------------------------ */

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

/* Whether an answer is about a socket, and as long as that says. */
static bool is_about_socket(const struct nlmsghdr *header, size_t body_size)
{
    return header->nlmsg_type == SOCK_DIAG_BY_FAMILY && header->nlmsg_len >= NLMSG_SPACE(body_size);
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
    return is_about_socket(&ret_answer->header, body_size) ? NLMSG_DATA(&ret_answer->header) : NULL;
}

/* ---- unix sockets ---------------------------------------------------------------------------- */

/* @param inode 0: all of them. */
static unix_question ask_for_unix(uint32_t inode)
{
    return (unix_question){.header = question_header(sizeof(unix_question)),
                           .body = {.sdiag_family = AF_UNIX,
                                    .udiag_states = ~0u,
                                    .udiag_ino = inode,
                                    .udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN,
                                    .udiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}};
}

static void read_attribute(const struct rtattr *attribute, ferry__survey_entry *entry)
{
    struct unix_diag_rqlen queues;
    if (attribute->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(attribute) >= sizeof entry->peer) {
        memcpy(&entry->peer, RTA_DATA(attribute), sizeof entry->peer);
    } else if (attribute->rta_type == UNIX_DIAG_RQLEN && RTA_PAYLOAD(attribute) >= sizeof queues) {
        memcpy(&queues, RTA_DATA(attribute), sizeof queues);
        entry->unread = queues.udiag_rqueue;
    }
}

/* @param body in a whole answer: its attributes follow. */
static ferry__survey_entry read_unix(const struct nlmsghdr *header,
                                     const struct unix_diag_msg *body)
{
    ferry__survey_entry entry = {.inode = body->udiag_ino, .unread = UNKNOWN};
    size_t rest = header->nlmsg_len - NLMSG_SPACE(sizeof *body);
    const struct rtattr *attribute = (const struct rtattr *)(body + 1);
    for (; RTA_OK(attribute, rest); attribute = RTA_NEXT(attribute, rest))
        read_attribute(attribute, &entry);
    return entry;
}

bool ferry__diag_find_unix(int diag, uint32_t inode, ferry__survey_entry *ret_entry)
{
    unix_question question = ask_for_unix(inode);
    answer reply;
    const struct unix_diag_msg *body = ask(diag, &question.header, sizeof *body, &reply);
    if (body == NULL)
        return false;
    *ret_entry = read_unix(&reply.header, body);
    return true;
}

/* ---- all of them at once --------------------------------------------------------------------- */

static void close_diag(ferry__survey *survey)
{
    if (survey->diag >= 0)
        (void)ferry__close(survey->diag);
    survey->diag = -1;
}

void ferry__survey_drop(ferry__survey *survey)
{
    close_diag(survey);
    survey->began_at = 0;
    ferry__bytes_take(&survey->entries, ferry__bytes_count(&survey->entries));
}

void ferry__survey_begin(ferry__survey *survey, int64_t now)
{
    ferry__survey_drop(survey);
    survey->began_at = now;
    survey->diag = ferry__diag_open();
    unix_question question = ask_for_unix(0);
    question.header.nlmsg_flags |= NLM_F_DUMP;
    if (survey->diag >= 0 && send(survey->diag, &question, sizeof question, MSG_DONTWAIT) < 0)
        close_diag(survey);
}

/* Takes the answers that are in memory. @return whether more follow. */
static bool take_answers(ferry__survey *survey, const struct nlmsghdr *header, size_t size)
{
    for (; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
        const struct unix_diag_msg *body = NLMSG_DATA(header);
        if (!is_about_socket(header, sizeof *body))
            return false; /* the end, or a refusal */
        ferry__survey_entry entry = read_unix(header, body);
        if (ferry__bytes_append(&survey->entries, &entry, sizeof entry) != 0)
            return false; /* those that are missing are asked for one by one */
    }
    return true;
}

static ferry__survey_entry *entries(const ferry__survey *survey)
{
    return (ferry__survey_entry *)(void *)ferry__bytes_first(&survey->entries);
}

static size_t count_entries(const ferry__survey *survey)
{
    return ferry__bytes_count(&survey->entries) / sizeof(ferry__survey_entry);
}

static int compare_inodes(const void *one, const void *other)
{
    uint32_t a = ((const ferry__survey_entry *)one)->inode;
    uint32_t b = ((const ferry__survey_entry *)other)->inode;
    return (a > b) - (a < b);
}

bool ferry__survey_go_on(ferry__survey *survey, void *memory, size_t size)
{
    if (survey->diag < 0)
        return true;
    /* The kernel makes each portion while the one before it is taken. */
    ssize_t count = memory != NULL ? recv(survey->diag, memory, size, MSG_DONTWAIT) : -1;
    if (count > 0 && take_answers(survey, memory, (size_t)count))
        return false;
    close_diag(survey);
    if (count_entries(survey) > 0)
        qsort(entries(survey), count_entries(survey), sizeof(ferry__survey_entry), compare_inodes);
    return true;
}

bool ferry__survey_find(const ferry__survey *survey, uint32_t inode, ferry__survey_entry *ret_entry)
{
    const ferry__survey_entry wanted = {.inode = inode};
    size_t count = survey->diag < 0 ? count_entries(survey) : 0; /* not before it is complete */
    const ferry__survey_entry *entry =
        count > 0 ? bsearch(&wanted, entries(survey), count, sizeof wanted, compare_inodes) : NULL;
    if (entry == NULL)
        return false;
    *ret_entry = *entry;
    return true;
}

/* ---- TCP ------------------------------------------------------------------------------------- */

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
int64_t ferry__diag_unread_by_tcp_peer(int diag, int fd)
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
