/* SPDX-License-Identifier: MIT */
#include "listener.h"

#include "interrupt.h"

#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* @return a listening socket, or -1 and errno. */
static int try_listen(const struct sockaddr *target, socklen_t size)
{
    const int on = 1;
    int fd = socket(target->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (target->sa_family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, target, size) == 0 && listen(fd, 1) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

/*
 * Whether path is a socket that no process has bound. Asked with a socket of another kind: that is
 * refused where nobody is, and where somebody is it fails without a connection that he would see.
 * Leaves errno alone.
 */
static bool is_stale(const struct sockaddr_un *path)
{
    int error = errno;
    struct stat status;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool result = fd >= 0 && lstat(path->sun_path, &status) == 0 && S_ISSOCK(status.st_mode) &&
                  connect(fd, (const struct sockaddr *)path, sizeof *path) < 0 &&
                  errno == ECONNREFUSED;
    if (fd >= 0)
        (void)close(fd);
    errno = error;
    return result;
}

static int listen_on_path(const struct sockaddr_un *path)
{
    const struct sockaddr *target = (const struct sockaddr *)path;
    int fd = try_listen(target, sizeof *path);
    if (fd < 0 && errno == EADDRINUSE && is_stale(path) && unlink(path->sun_path) == 0)
        fd = try_listen(target, sizeof *path);
    return fd;
}

static void announce(const struct listener *listener)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (listener->address->is_unix ||
        getsockname(listener->fd, (struct sockaddr *)&bound, &size) != 0 ||
        getnameinfo((struct sockaddr *)&bound, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        (void)fprintf(stderr, "listening on %s\n", listener->address->text);
    else
        (void)fprintf(
            stderr, bound.ss_family == AF_INET6 ? "listening on [%s]:%s\n" : "listening on %s:%s\n",
            host, port);
}

bool listener_open(const struct address *address, struct listener *ret_listener)
{
    int fd = -1;
    if (address->is_unix) {
        fd = listen_on_path(&address->path);
    } else {
        struct addrinfo *list;
        if (!address_resolve(address, true, &list))
            return false;
        for (const struct addrinfo *one = list; fd < 0 && one != NULL; one = one->ai_next)
            fd = try_listen(one->ai_addr, one->ai_addrlen);
        int error = errno;
        freeaddrinfo(list);
        errno = error;
    }
    if (fd < 0) {
        warn("cannot listen on %s", address->text);
        return false;
    }
    *ret_listener = (struct listener){.address = address, .fd = fd};
    announce(ret_listener);
    return true;
}

int listener_accept(const struct listener *listener)
{
    enum { TICK_MS = 100 }; /* a signal that came just before poll is noticed after this */
    struct pollfd waiting = {.fd = listener->fd, .events = POLLIN};
    while (interrupt_signal() == 0) {
        if (poll(&waiting, 1, TICK_MS) <= 0)
            continue;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            return fd;
        if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
            warn("cannot accept a connection on %s", listener->address->text);
            return -1;
        }
    }
    warnx("interrupted before anybody connected");
    return -1;
}

void listener_close(const struct listener *listener)
{
    if (listener->address->is_unix)
        (void)unlink(listener->address->path.sun_path);
    (void)close(listener->fd);
}
