/* SPDX-License-Identifier: MIT */
#include "transport/edge/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const socklen_t PATH_OFFSET = offsetof(struct sockaddr_un, sun_path);

/* ---- taking apart ---------------------------------------------------------------------------- */

/* What follows a prefix; NULL: it does not begin with that. */
static const char *after(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static bool is_number(const char *text)
{
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* @return 0; -EINVAL: it is no number, or larger than most. */
static int parse_number(const char *text, long most, int *ret_number)
{
    errno = 0;
    long number = is_number(text) ? strtol(text, NULL, 10) : -1;
    if (number < 0 || number > most || errno != 0)
        return -EINVAL;
    *ret_number = (int)number;
    return 0;
}

static int parse_unix(const char *path, ferry__address *address)
{
    bool is_abstract = *path == '@';
    size_t length = strlen(path);
    struct sockaddr_un *local = &address->local.address.local;
    if (length == 0 || (is_abstract && length == 1))
        return -EINVAL;
    if (length >= sizeof local->sun_path)
        return -ENAMETOOLONG;
    address->kind = FERRY__ADDRESS_UNIX;
    local->sun_family = AF_UNIX;
    memcpy(local->sun_path, path, length);
    if (is_abstract)
        local->sun_path[0] = '\0';
    address->local.size = PATH_OFFSET + (socklen_t)length + !is_abstract; /* a path has its NUL */
    return 0;
}

static int parse_fd(const char *number, ferry__address *address)
{
    address->kind = FERRY__ADDRESS_FD;
    return parse_number(number, INT_MAX, &address->number);
}

static int parse_systemd(const char *text, ferry__address *address)
{
    address->kind = FERRY__ADDRESS_SYSTEMD;
    if (is_number(text))
        return parse_number(text, INT_MAX, &address->number);
    if (*text == '\0' || strchr(text, ':') != NULL)
        return -EINVAL;
    if (strlen(text) >= sizeof address->host)
        return -ENAMETOOLONG;
    (void)strcpy(address->host, text);
    return 0;
}

/* Where the host begins and ends; the port's colon follows it, or a bracket and that. */
static int find_host(const char *text, const char **ret_begin, const char **ret_end)
{
    const char *colon = strrchr(text, ':');
    if (*text == '[') {
        const char *bracket = strchr(text, ']');
        if (bracket == NULL || colon != bracket + 1)
            return -EINVAL;
        *ret_begin = text + 1;
        *ret_end = bracket;
        return 0;
    }
    if (colon == NULL || memchr(text, ':', (size_t)(colon - text)) != NULL)
        return -EINVAL; /* an IPv6 address goes in brackets */
    *ret_begin = text;
    *ret_end = colon;
    return 0;
}

/* Whether it is an IPv6 address, perhaps with its interface: fe80::1%eth0. */
static bool is_v6(const char *host)
{
    char number[INET6_ADDRSTRLEN];
    struct in6_addr ignored;
    size_t length = strcspn(host, "%");
    if (length >= sizeof number)
        return false;
    memcpy(number, host, length);
    number[length] = '\0';
    return inet_pton(AF_INET6, number, &ignored) == 1;
}

static int check_port(const char *port)
{
    static const char service[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-_+.";
    int ignored;
    if (is_number(port))
        return parse_number(port, UINT16_MAX, &ignored);
    bool is_service = *port != '\0' && *port != '-' && port[strspn(port, service)] == '\0';
    return is_service ? 0 : -EINVAL;
}

static int parse_host(const char *text, ferry__address *address)
{
    const char *begin, *end;
    int error = find_host(text, &begin, &end);
    if (error != 0)
        return error;
    size_t length = (size_t)(end - begin);
    const char *port = strrchr(end, ':') + 1;
    if (length >= sizeof address->host || strlen(port) >= sizeof address->port)
        return -ENAMETOOLONG;
    address->kind = FERRY__ADDRESS_HOST;
    memcpy(address->host, begin, length);
    (void)strcpy(address->port, port);
    if (strcmp(address->host, "*") == 0)
        address->host[0] = '\0';
    if (*text == '[' ? !is_v6(address->host) : strpbrk(address->host, " \t\n/@[]*") != NULL)
        return -EINVAL;
    return check_port(port);
}

int ferry__address_parse(const char *text, ferry__address *ret_address)
{
    const char *rest;
    ferry__address address = {0};
    int error;
    if ((rest = after(text, "unix:")) != NULL)
        error = parse_unix(rest, &address);
    else if ((rest = after(text, "fd:")) != NULL)
        error = parse_fd(rest, &address);
    else if ((rest = after(text, "systemd:")) != NULL)
        error = parse_systemd(rest, &address);
    else
        error = parse_host(text, &address);
    if (error == 0)
        *ret_address = address;
    return error;
}

/* ---- resolving ------------------------------------------------------------------------------- */

static int from_eai(int error, ferry__lookup lookup)
{
    switch (error) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
    case EAI_SERVICE:
        return lookup == FERRY__NUMERIC_ONLY ? -EAGAIN : -ENXIO;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_OVERFLOW:
        return -ENAMETOOLONG;
    case EAI_SYSTEM:
        return errno != 0 ? -errno : -EIO;
    default:
        return -EIO;
    }
}

/* Gives the next of one family, from *next on; NULL: there is none. */
static const struct addrinfo *take_next(const struct addrinfo **next, int family)
{
    while (*next != NULL && (*next)->ai_family != family)
        *next = (*next)->ai_next;
    const struct addrinfo *found = *next;
    if (found != NULL)
        *next = found->ai_next;
    return found;
}

static void add(ferry__endpoints *endpoints, const struct addrinfo *found)
{
    if (found == NULL || endpoints->count == FERRY__MOST_ENDPOINTS)
        return;
    ferry__endpoint *endpoint = &endpoints->list[endpoints->count++];
    endpoint->size = found->ai_addrlen;
    memcpy(&endpoint->address, found->ai_addr, found->ai_addrlen);
}

/* Takes one of each family in turn. @param first whose turn is first. */
static void alternate(const struct addrinfo *list, int first, ferry__endpoints *endpoints)
{
    int second = first == AF_INET6 ? AF_INET : AF_INET6;
    const struct addrinfo *next[2] = {list, list};
    while (next[0] != NULL || next[1] != NULL) {
        add(endpoints, take_next(&next[0], first));
        add(endpoints, take_next(&next[1], second));
    }
}

static int resolve_host(const ferry__address *address, bool is_to_bind, ferry__lookup lookup,
                        ferry__endpoints *endpoints)
{
    bool is_numeric = lookup == FERRY__NUMERIC_ONLY;
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags =
            (is_to_bind ? AI_PASSIVE : 0) | (is_numeric ? AI_NUMERICHOST | AI_NUMERICSERV : 0),
    };
    bool is_any = address->host[0] == '\0';
    struct addrinfo *list;
    errno = 0;
    int error = getaddrinfo(is_any ? NULL : address->host, address->port, &hints, &list);
    if (error != 0)
        return from_eai(error, lookup);
    alternate(list, is_any ? AF_INET6 : list->ai_family, endpoints);
    freeaddrinfo(list);
    return endpoints->count > 0 ? 0 : -ENXIO;
}

int ferry__address_resolve(const ferry__address *address, bool is_to_bind, ferry__lookup lookup,
                           ferry__endpoints *ret_endpoints)
{
    ret_endpoints->count = 0;
    if (address->kind == FERRY__ADDRESS_HOST)
        return resolve_host(address, is_to_bind, lookup, ret_endpoints);
    ret_endpoints->list[ret_endpoints->count++] = address->local;
    return 0;
}

/* ---- as text again --------------------------------------------------------------------------- */

static int format_v4(const struct in_addr *host, in_port_t port, char *buffer, size_t size)
{
    char text[INET_ADDRSTRLEN] = "";
    (void)inet_ntop(AF_INET, host, text, sizeof text);
    return snprintf(buffer, size, "%s:%u", text, ntohs(port));
}

static int format_v6(const struct sockaddr_in6 *v6, char *buffer, size_t size)
{
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        struct in_addr host;
        memcpy(&host, &v6->sin6_addr.s6_addr[12], sizeof host);
        return format_v4(&host, v6->sin6_port, buffer, size);
    }
    char text[INET6_ADDRSTRLEN] = "", scope[16] = "";
    (void)inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    if (v6->sin6_scope_id != 0)
        (void)snprintf(scope, sizeof scope, "%%%u", v6->sin6_scope_id);
    return snprintf(buffer, size, "[%s%s]:%u", text, scope, ntohs(v6->sin6_port));
}

static int format_local(const struct sockaddr_un *local, socklen_t size, char *buffer,
                        size_t buffer_size)
{
    int length = size > PATH_OFFSET ? (int)(size - PATH_OFFSET) : 0;
    if (length > 0 && local->sun_path[0] == '\0')
        return snprintf(buffer, buffer_size, "unix:@%.*s", length - 1, local->sun_path + 1);
    return snprintf(buffer, buffer_size, "unix:%.*s", length, local->sun_path);
}

int ferry__endpoint_format(const ferry__endpoint *endpoint, char *buffer, size_t size)
{
    switch (endpoint->address.any.sa_family) {
    case AF_INET:
        return format_v4(&endpoint->address.v4.sin_addr, endpoint->address.v4.sin_port, buffer,
                         size);
    case AF_INET6:
        return format_v6(&endpoint->address.v6, buffer, size);
    case AF_UNIX:
        return format_local(&endpoint->address.local, endpoint->size, buffer, size);
    default:
        return snprintf(buffer, size, "family %d", endpoint->address.any.sa_family);
    }
}

int ferry__address_format(const ferry__address *address, char *buffer, size_t size)
{
    switch (address->kind) {
    case FERRY__ADDRESS_HOST:
        return snprintf(buffer, size, strchr(address->host, ':') != NULL ? "[%s]:%s" : "%s:%s",
                        address->host, address->port);
    case FERRY__ADDRESS_UNIX:
        return ferry__endpoint_format(&address->local, buffer, size);
    case FERRY__ADDRESS_FD:
        return snprintf(buffer, size, "fd:%d", address->number);
    case FERRY__ADDRESS_SYSTEMD:
        break;
    }
    if (address->host[0] != '\0')
        return snprintf(buffer, size, "systemd:%s", address->host);
    return snprintf(buffer, size, "systemd:%d", address->number);
}

/* ---- what a service manager passed ----------------------------------------------------------- */

/* The value of a variable that is a number; -1: it is not. */
static int number_in_environment(const char *name)
{
    const char *value = getenv(name);
    int number;
    return value != NULL && parse_number(value, INT_MAX, &number) == 0 ? number : -1;
}

/* Which of the names between colons it is; -1: none. */
static int find_name(const char *names, const char *wanted)
{
    size_t length = strlen(wanted);
    for (int index = 0; names != NULL; index++) {
        if (strncmp(names, wanted, length) == 0 && (names[length] == ':' || names[length] == '\0'))
            return index;
        const char *colon = strchr(names, ':');
        names = colon != NULL ? colon + 1 : NULL;
    }
    return -1;
}

int ferry__address_find_passed(const ferry__address *address)
{
    enum { FIRST_FD = 3 }; /* SD_LISTEN_FDS_START */
    if (number_in_environment("LISTEN_PID") != getpid())
        return -ENXIO;
    int count = number_in_environment("LISTEN_FDS");
    int index = address->host[0] == '\0' ? address->number
                                         : find_name(getenv("LISTEN_FDNAMES"), address->host);
    return index >= 0 && index < count ? FIRST_FD + index : -ENXIO;
}

/* ---- peers ----------------------------------------------------------------------------------- */

void ferry__peer_set(ferry__peer *peer, const ferry__endpoint *endpoint)
{
    size_t size = endpoint->size;
    if (size > sizeof peer->address) /* of a unix socket: only they are as long */
        size = PATH_OFFSET;
    memcpy(&peer->address, &endpoint->address, size);
    peer->size = (uint8_t)size;
}

void ferry__peer_ask(ferry__peer *peer, int fd)
{
    ferry__endpoint endpoint = {.size = sizeof endpoint.address};
    if (getpeername(fd, &endpoint.address.any, &endpoint.size) == 0)
        ferry__peer_set(peer, &endpoint);
}

int ferry__peer_format(const ferry__peer *peer, char *buffer, size_t size)
{
    if (peer->size == 0)
        return -ENOTCONN;
    ferry__endpoint endpoint = {.size = peer->size};
    memcpy(&endpoint.address, &peer->address, peer->size);
    return ferry__endpoint_format(&endpoint, buffer, size);
}
