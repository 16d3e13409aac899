/* SPDX-License-Identifier: MIT */
#include "transport/reach/binding.h"

#include "core/cancel.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_SUFFIX ".ferry-lock"

static const char *path_of(const ferry__binding *binding)
{
    return binding->endpoint.address.local.sun_path;
}

/* ---- unix paths ------------------------------------------------------------------------------ */

static bool is_path(const ferry__endpoint *endpoint)
{
    return endpoint->address.any.sa_family == AF_UNIX &&
           endpoint->address.local.sun_path[0] != '\0';
}

/*
 * Whether a path is a socket that no process has bound. A socket of another type asks: it is
 * refused if nobody is there. If somebody is, it fails without a connection that he would see.
 */
static bool is_stale(const ferry__endpoint *endpoint)
{
    struct stat status;
    if (lstat(endpoint->address.local.sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool is_refused =
        connect(fd, &endpoint->address.any, endpoint->size) < 0 && errno == ECONNREFUSED;
    (void)ferry__close(fd);
    return is_refused;
}

/* Whether an open file is still the one of that name. */
static bool is_named(int fd, const char *name)
{
    struct stat open_one, named_one;
    return fstat(fd, &open_one) == 0 && lstat(name, &named_one) == 0 &&
           open_one.st_dev == named_one.st_dev && open_one.st_ino == named_one.st_ino;
}

/*
 * Two processes that start at once may both find a path stale. The slower one must not remove what
 * the other has bound since. So a path is replaced under a lock, on a file beside it that is there
 * only meanwhile. A process that finds it locked has come too late. One that is killed in the
 * middle leaves nothing that holds anybody up. @return an fd; -1: somebody else has the lock, or no
 * file can be made here.
 */
static int lock(const char *name)
{
    int fd = open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && is_named(fd, name))
        return fd;
    if (fd >= 0)
        (void)ferry__close(fd);
    return -1;
}

static void unlock(int fd, const char *name)
{
    (void)unlink(name);
    (void)flock(fd, LOCK_UN); /* a child of the program's may have this fd for longer */
    (void)ferry__close(fd);
}

static int bind_at(int fd, const ferry__endpoint *endpoint)
{
    return bind(fd, &endpoint->address.any, endpoint->size) == 0 ? 0 : -errno;
}

static int replace(int fd, const ferry__endpoint *endpoint)
{
    const char *path = endpoint->address.local.sun_path;
    char name[sizeof endpoint->address.local.sun_path + sizeof LOCK_SUFFIX];
    (void)snprintf(name, sizeof name, "%s" LOCK_SUFFIX, path);
    int locked = lock(name), error = -EADDRINUSE;
    if (locked < 0)
        return error;
    if (is_stale(endpoint) && unlink(path) == 0)
        error = bind_at(fd, endpoint);
    unlock(locked, name);
    return error;
}

static int bind_to(int fd, const ferry__endpoint *endpoint)
{
    int error = bind_at(fd, endpoint);
    bool may_replace = error == -EADDRINUSE && is_path(endpoint) && is_stale(endpoint);
    return may_replace ? replace(fd, endpoint) : error;
}

/* Notes which file it is, and gives it its permissions: nobody can connect before listen(2). */
static int own_path(ferry__binding *binding, unsigned mode)
{
    struct stat status;
    if (lstat(path_of(binding), &status) < 0)
        return -errno;
    binding->has_path = true;
    binding->path_device = status.st_dev;
    binding->path_inode = status.st_ino;
    return mode == 0 || chmod(path_of(binding), (mode_t)mode) == 0 ? 0 : -errno;
}

/* Called before the socket is closed: until then nobody else takes the path for stale. */
static void remove_path(ferry__binding *binding)
{
    struct stat status;
    if (!binding->has_path || lstat(path_of(binding), &status) < 0)
        return;
    if (status.st_dev == binding->path_device && status.st_ino == binding->path_inode)
        (void)unlink(path_of(binding));
    binding->has_path = false;
}

static void revert(ferry__binding *binding)
{
    if (binding->is_inherited)
        return;
    remove_path(binding);
    (void)ferry__close(binding->fd);
}

/* ---- making a socket ------------------------------------------------------------------------- */

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0 ? 0 : -errno;
}

/* Accepted sockets inherit them (tcp(7)): one call does for all. */
static int set_tcp_options(int fd, const ferry_stream_options *options)
{
    int error = options->no_delay ? set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1) : 0;
    if (error == 0 && options->notsent_lowat_bytes != 0)
        error = set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
                           ferry__unsent_limit(options->notsent_lowat_bytes));
    return error;
}

static int make_socket(const ferry__endpoint *endpoint, const ferry_listen_options *options)
{
    int family = endpoint->address.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int error = 0;
    if (family != AF_UNIX)
        error = set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (error == 0 && family == AF_INET6)
        error = set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->only_v6);
    if (error == 0 && family != AF_UNIX && options->stream != NULL)
        error = set_tcp_options(fd, options->stream);
    if (error == 0)
        return fd;
    (void)ferry__close(fd);
    return error;
}

/* The address as it turned out: with the port that was free. */
static int find_out(ferry__binding *binding)
{
    binding->endpoint.size = sizeof binding->endpoint.address;
    if (getsockname(binding->fd, &binding->endpoint.address.any, &binding->endpoint.size) < 0)
        return -errno;
    return ferry__socket_sort_of(binding->fd, &binding->sort);
}

static int bind_and_listen(ferry__binding *binding, const ferry__endpoint *endpoint,
                           const ferry_listen_options *options, ferry_phase *ret_phase)
{
    *ret_phase = FERRY_PHASE_BIND;
    int error = bind_to(binding->fd, endpoint);
    if (error == 0)
        error = find_out(binding);
    if (error == 0 && is_path(endpoint))
        error = own_path(binding, options->unix_mode);
    if (error != 0)
        return error;
    *ret_phase = FERRY_PHASE_LISTEN;
    int backlog = options->backlog == 0 ? SOMAXCONN : (int)options->backlog;
    return listen(binding->fd, backlog) == 0 ? 0 : -errno;
}

static int open_one(const ferry__endpoint *endpoint, const ferry_listen_options *options,
                    ferry__binding *ret_binding, ferry_phase *ret_phase)
{
    *ret_phase = FERRY_PHASE_SOCKET;
    ferry__binding binding = {.fd = make_socket(endpoint, options)};
    if (binding.fd < 0)
        return binding.fd;
    int error = bind_and_listen(&binding, endpoint, options, ret_phase);
    if (error != 0)
        revert(&binding);
    else
        *ret_binding = binding;
    return error;
}

/* Whether this host merely has no such address: then the next one may do. */
static bool is_not_here(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL || error == -EPROTONOSUPPORT;
}

static in_port_t *port_of(ferry__endpoint *endpoint)
{
    return endpoint->address.any.sa_family == AF_INET6 ? &endpoint->address.v6.sin6_port
                                                       : &endpoint->address.v4.sin_port;
}

/* Opens sockets at all endpoints, or at none. */
static int open_all(const ferry__endpoints *endpoints, const ferry_listen_options *options,
                    ferry__bindings *ret_bindings, ferry_phase *ret_phase)
{
    ferry__bindings bindings = {0};
    int error = 0, absence = -EAFNOSUPPORT;
    for (unsigned i = 0; i < endpoints->count && error == 0; i++) {
        ferry__endpoint endpoint = endpoints->list[i];
        if (bindings.count > 0)
            *port_of(&endpoint) = *port_of(&bindings.list[0].endpoint);
        error = open_one(&endpoint, options, &bindings.list[bindings.count], ret_phase);
        bindings.count += error == 0;
        if (is_not_here(error)) {
            absence = error;
            error = 0;
        }
    }
    if (error == 0 && bindings.count == 0)
        error = absence;
    if (error != 0)
        ferry__bindings_revert(&bindings);
    else
        *ret_bindings = bindings;
    return error;
}

/* A port that is free at the first address may be taken at the next. */
static int open_at_one_port(ferry__endpoints *endpoints, const ferry_listen_options *options,
                            ferry__bindings *ret_bindings, ferry_phase *ret_phase)
{
    unsigned tries = 100; /* if more than that are taken, nearly all are */
    bool is_any_port = endpoints->count > 1 && *port_of(&endpoints->list[0]) == 0;
    int error;
    do
        error = open_all(endpoints, options, ret_bindings, ret_phase);
    while (error == -EADDRINUSE && is_any_port && tries-- > 0);
    return error;
}

/* One socket does for all interfaces, of the first family that is there: IPv6 serves both. */
static int open_everywhere(const ferry__endpoints *endpoints, const ferry_listen_options *options,
                           ferry__bindings *ret_bindings, ferry_phase *ret_phase)
{
    int error = -EAFNOSUPPORT;
    for (unsigned i = 0; i < endpoints->count && is_not_here(error); i++) {
        const ferry__endpoint *endpoint = &endpoints->list[i];
        if (!options->only_v6 || endpoint->address.any.sa_family == AF_INET6)
            error = open_one(endpoint, options, &ret_bindings->list[0], ret_phase);
    }
    ret_bindings->count = error == 0;
    return error;
}

static bool is_same(const ferry__endpoint *one, const ferry__endpoint *other)
{
    return one->size == other->size && memcmp(&one->address, &other->address, one->size) == 0;
}

/* /etc/hosts may well name one twice. */
static void drop_repeated(ferry__endpoints *endpoints)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < endpoints->count; i++) {
        unsigned same = 0;
        while (same < kept && !is_same(&endpoints->list[same], &endpoints->list[i]))
            same++;
        if (same == kept)
            endpoints->list[kept++] = endpoints->list[i];
    }
    endpoints->count = kept;
}

static int open_by_address(const ferry__address *address, const ferry_listen_options *options,
                           ferry__bindings *ret_bindings, ferry_phase *ret_phase)
{
    ferry__endpoints endpoints = {0};
    *ret_phase = FERRY_PHASE_RESOLVE;
    int error = ferry__address_resolve(address, true, FERRY__EVERYWHERE, &endpoints);
    if (error != 0)
        return error;
    if (address->kind == FERRY__ADDRESS_HOST && address->host[0] == '\0')
        return open_everywhere(&endpoints, options, ret_bindings, ret_phase);
    drop_repeated(&endpoints);
    return open_at_one_port(&endpoints, options, ret_bindings, ret_phase);
}

/* ---- inheriting one -------------------------------------------------------------------------- */

static int inherit(int fd, ferry__binding *ret_binding)
{
    int listens = 0;
    socklen_t size = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
        return -errno;
    ferry__binding binding = {.fd = fd, .is_inherited = true};
    int error = find_out(&binding);
    if (error != 0)
        return error;
    if (!listens)
        return -EINVAL;
    binding.sort.may_linger = true; /* those that share it may set that at any time */
    *ret_binding = binding;
    return 0;
}

int ferry__bindings_open(const ferry__address *address, const ferry_listen_options *options,
                         ferry__bindings *ret_bindings, ferry_phase *ret_phase)
{
    if (address->kind == FERRY__ADDRESS_HOST || address->kind == FERRY__ADDRESS_UNIX)
        return open_by_address(address, options, ret_bindings, ret_phase);
    *ret_phase = FERRY_PHASE_SOCKET;
    int fd =
        address->kind == FERRY__ADDRESS_FD ? address->number : ferry__address_find_passed(address);
    int error = fd < 0 ? fd : inherit(fd, &ret_bindings->list[0]);
    ret_bindings->count = error == 0;
    return error;
}

/* ---- accepting ------------------------------------------------------------------------------- */

static bool has_waiting(int fd)
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    return poll(&waiting, 1, 0) > 0;
}

static void make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK) == 0)
        (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int ferry__binding_accept(ferry__binding *binding, ferry__calls *calls, ferry__endpoint *ret_peer)
{
    ret_peer->size = sizeof ret_peer->address;
    if (!binding->is_inherited)
        return calls->accept(calls, binding->fd, &ret_peer->address.any, &ret_peer->size);
    int fd = -1, error = EAGAIN;
    (void)pthread_mutex_lock(&binding->accepting);
    if (has_waiting(binding->fd)) {
        make_nonblocking(binding->fd);
        fd = calls->accept(calls, binding->fd, &ret_peer->address.any, &ret_peer->size);
        error = errno;
    }
    (void)pthread_mutex_unlock(&binding->accepting);
    errno = error;
    return fd;
}

/* ---- ending ---------------------------------------------------------------------------------- */

static int close_one(ferry__binding *binding)
{
    remove_path(binding);
    if (binding->is_inherited)
        (void)pthread_mutex_destroy(&binding->accepting);
    int error = ferry__close(binding->fd) == 0 || errno == EINTR ? 0 : -errno;
    binding->fd = -1;
    return error;
}

static void commit(ferry__binding *binding)
{
    if (!binding->is_inherited)
        return;
    (void)pthread_mutex_init(&binding->accepting, NULL);
    (void)fcntl(binding->fd, F_SETFD, FD_CLOEXEC);
}

void ferry__bindings_commit(ferry__bindings *bindings)
{
    for (unsigned i = 0; i < bindings->count; i++)
        commit(&bindings->list[i]);
}

void ferry__bindings_revert(ferry__bindings *bindings)
{
    for (unsigned i = 0; i < bindings->count; i++)
        revert(&bindings->list[i]);
}

int ferry__bindings_close(ferry__bindings *bindings)
{
    int error = 0;
    for (unsigned i = 0; i < bindings->count; i++) {
        int one = close_one(&bindings->list[i]);
        if (error == 0)
            error = one;
    }
    return error;
}
