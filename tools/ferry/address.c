/* SPDX-License-Identifier: MIT */
#include "address.h"

#include <err.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- parsing --------------------------------------------------------------------------------- */

static const char *parse_path(const char *path, struct address *ret_address)
{
    struct sockaddr_un *un = &ret_address->path;
    if (*path == '\0')
        return "no path after unix:";
    if (strlen(path) >= sizeof un->sun_path)
        return "the path is too long for a unix socket";
    ret_address->is_unix = true;
    un->sun_family = AF_UNIX;
    (void)strcpy(un->sun_path, path);
    return NULL;
}

/* Where the port's colon must stand, and the host between begin and end. */
static const char *find_host(const char *text, const char **ret_begin, const char **ret_end)
{
    if (*text == '[') {
        const char *bracket = strchr(text, ']');
        if (bracket == NULL || bracket[1] != ':')
            return "it should read [V6]:PORT";
        *ret_begin = text + 1;
        *ret_end = bracket;
        return NULL;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return "it should read HOST:PORT, [V6]:PORT or unix:/path";
    if (memchr(text, ':', (size_t)(colon - text)) != NULL)
        return "an IPv6 address goes in brackets: [V6]:PORT";
    *ret_begin = text;
    *ret_end = colon;
    return NULL;
}

static const char *parse_host(const char *text, struct address *ret_address)
{
    const char *begin, *end;
    const char *wrong = find_host(text, &begin, &end);
    if (wrong != NULL)
        return wrong;
    const char *port = strrchr(end, ':') + 1;
    size_t length = (size_t)(end - begin);
    if (length == 0 || length >= sizeof ret_address->host)
        return "no host before the port";
    if (*port == '\0' || strlen(port) >= sizeof ret_address->port)
        return "no port after the host";
    memcpy(ret_address->host, begin, length);
    (void)strcpy(ret_address->port, port);
    return NULL;
}

const char *address_parse(const char *text, struct address *ret_address)
{
    static const char unix_prefix[] = "unix:";
    const size_t prefix = sizeof unix_prefix - 1;
    memset(ret_address, 0, sizeof *ret_address);
    ret_address->text = text;
    if (strncmp(text, unix_prefix, prefix) == 0)
        return parse_path(text + prefix, ret_address);
    return parse_host(text, ret_address);
}

/* ---- connecting ------------------------------------------------------------------------------ */

bool address_resolve(const struct address *address, bool is_passive, struct addrinfo **ret_list)
{
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = is_passive ? AI_PASSIVE : 0,
    };
    int error = getaddrinfo(address->host, address->port, &hints, ret_list);
    if (error != 0)
        warnx("%s: %s", address->text, error == EAI_SYSTEM ? strerror(errno) : gai_strerror(error));
    return error == 0;
}

/* @return a socket, or -1 and errno. */
static int try_connect(const struct sockaddr *target, socklen_t size)
{
    int fd = socket(target->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, target, size) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

int address_connect(const struct address *address)
{
    int fd = -1;
    if (address->is_unix) {
        fd = try_connect((const struct sockaddr *)&address->path, sizeof address->path);
    } else {
        struct addrinfo *list;
        if (!address_resolve(address, false, &list))
            return -1;
        for (const struct addrinfo *one = list; fd < 0 && one != NULL; one = one->ai_next)
            fd = try_connect(one->ai_addr, one->ai_addrlen);
        int error = errno;
        freeaddrinfo(list);
        errno = error;
    }
    if (fd < 0)
        warn("cannot connect to %s", address->text);
    return fd;
}
