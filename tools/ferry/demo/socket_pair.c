/* SPDX-License-Identifier: MIT */
#include "socket_pair.h"

#include <err.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* Checks the result of a system call. */
static int demand(int result)
{
    if (result < 0)
        err(EXIT_FAILURE, "cannot connect to myself");
    return result;
}

static void open_tcp(int *ret_near, int *ret_far)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *any = (struct sockaddr *)&address;
    socklen_t size = sizeof address;
    int listening = demand(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    (void)demand(bind(listening, any, size));
    (void)demand(listen(listening, 1));
    (void)demand(getsockname(listening, any, &size));
    *ret_near = demand(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    (void)demand(connect(*ret_near, any, size));
    *ret_far = demand(accept4(listening, NULL, NULL, SOCK_CLOEXEC));
    (void)close(listening);
}

void socket_pair_open(socket_pair_kind kind, int *ret_near, int *ret_far)
{
    int pair[2];
    if (kind == SOCKET_PAIR_TCP) {
        open_tcp(ret_near, ret_far);
        return;
    }
    (void)demand(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    *ret_near = pair[0];
    *ret_far = pair[1];
}
