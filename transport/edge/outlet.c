/* SPDX-License-Identifier: MIT */
#include "transport/edge/outlet.h"

#include "core/cancel.h"
#include "core/libc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* not netinet/tcp.h: its tcp_info ends before bytes_acked */
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
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

/* ---- the peer's socket ----------------------------------------------------------------------- */

/* Looks for a unix socket. @return whether there is such a one. */
typedef bool find_unix(const void *where, uint32_t inode, ferry__survey_entry *ret_entry);

static bool in_survey(const void *survey, uint32_t inode, ferry__survey_entry *ret_entry)
{
    return ferry__survey_find(survey, inode, ret_entry);
}

static bool in_kernel(const void *diag, uint32_t inode, ferry__survey_entry *ret_entry)
{
    return ferry__diag_find_unix(*(const int *)diag, inode, ret_entry);
}

/* @return whether the peer was found. What was learned of it before stays. */
static bool add_unix_peer(ferry__outlet *look, int fd, find_unix *find, const void *where)
{
    ferry__survey_entry entry;
    struct stat own;
    if (look->peer == 0 && fstat(fd, &own) == 0 && find(where, (uint32_t)own.st_ino, &entry))
        look->peer = entry.peer;
    if (look->peer == 0 || !find(where, look->peer, &entry))
        return false;
    look->unread = entry.unread;
    return true;
}

ferry__outlet ferry__outlet_look_closely(int fd, ferry__outlet_kind kind, uint32_t peer,
                                         const ferry__survey *survey)
{
    ferry__outlet look = ferry__outlet_look(fd, kind);
    if (kind != FERRY__OUTLET_UNIX && kind != FERRY__OUTLET_TCP)
        return look;
    look.peer = kind == FERRY__OUTLET_UNIX ? peer : 0;
    if (kind == FERRY__OUTLET_UNIX && survey != NULL && add_unix_peer(&look, fd, in_survey, survey))
        return look;
    int diag = ferry__diag_open();
    if (diag < 0)
        return look;
    if (kind == FERRY__OUTLET_UNIX)
        (void)add_unix_peer(&look, fd, in_kernel, &diag);
    else
        look.unread = ferry__diag_unread_by_tcp_peer(diag, fd);
    (void)ferry__close(diag);
    return look;
}
