/* SPDX-License-Identifier: MIT */
#include "sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int sockets_listen(socket_route route, int backlog)
{
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    bool is_tcp = route == ROUTE_TCP;
    int fd = socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const struct sockaddr *address = is_tcp ? (struct sockaddr *)&inet : (struct sockaddr *)&local;
    if (bind(fd, address, is_tcp ? sizeof inet : sizeof local.sun_family) == 0 &&
        listen(fd, backlog) == 0)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

int sockets_connect(int listener, int flags)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        return -errno;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)&address, size) == 0 || errno == EINPROGRESS)
        return fd;
    int error = -errno;
    (void)close(fd);
    return error;
}

int sockets_address(int listener, char *ret_text, size_t size)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        return -errno;
    (void)snprintf(ret_text, size, "127.0.0.1:%d", ntohs(address.sin_port));
    return 0;
}

static int connect_and_accept(int listener, int ret_ends[2])
{
    ret_ends[0] = sockets_connect(listener, 0);
    if (ret_ends[0] < 0)
        return ret_ends[0];
    ret_ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (ret_ends[1] >= 0)
        return 0;
    int error = -errno;
    (void)close(ret_ends[0]);
    return error;
}

int sockets_pair(socket_route route, int ret_ends[2])
{
    if (route == ROUTE_UNIX)
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_ends) == 0 ? 0 : -errno;
    int listener = sockets_listen(route, 1);
    if (listener < 0)
        return listener;
    int error = connect_and_accept(listener, ret_ends);
    (void)close(listener);
    return error;
}
