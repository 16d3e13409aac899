/* SPDX-License-Identifier: MIT */
/*
 * Addresses: as text, taken apart, as the kernel has them, and as text again.
 *
 *   HOST:PORT  [V6]:PORT  :PORT  *:PORT      a host and a port, or all interfaces
 *   unix:/path  unix:@abstract               a unix socket
 *   fd:N  systemd:N  systemd:NAME            a socket that is there already
 *
 * The name of a host or a service has to be looked up. That may take as long as name servers do. So
 * there are two ways to resolve: only what needs no looking up, or all.
 */
#ifndef FERRY_TRANSPORT_EDGE_ADDRESS_H
#define FERRY_TRANSPORT_EDGE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An address as the kernel has it. */
typedef struct ferry__endpoint {
    socklen_t size; /* 0: none */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } address;
} ferry__endpoint;

enum { FERRY__MOST_ENDPOINTS = 16 }; /* as many as are worth trying */

/* What a name stands for, in the order of trying. */
typedef struct ferry__endpoints {
    unsigned count;
    ferry__endpoint list[FERRY__MOST_ENDPOINTS];
} ferry__endpoints;

typedef enum ferry__address_kind {
    FERRY__ADDRESS_HOST,
    FERRY__ADDRESS_UNIX,
    FERRY__ADDRESS_FD,
    FERRY__ADDRESS_SYSTEMD
} ferry__address_kind;

/* An address, taken apart. */
typedef struct ferry__address {
    ferry__address_kind kind;
    char host[256]; /* empty: all interfaces. FERRY__ADDRESS_SYSTEMD: the socket's name, or empty */
    char port[32];  /* a number or a service's name */
    int number;     /* of the fd, or of the systemd socket where it has no name here */
    ferry__endpoint local; /* FERRY__ADDRESS_UNIX */
} ferry__address;

/* Takes text apart. @return 0; -EINVAL; -ENAMETOOLONG: a path, host or name that is too long. */
int ferry__address_parse(const char *text, ferry__address *ret_address);

/* Writes it as it was before it was taken apart. Size and result as those of snprintf(3). */
int ferry__address_format(const ferry__address *address, char *buffer, size_t size);

/* Where to look for what a name stands for. */
typedef enum ferry__lookup {
    FERRY__NUMERIC_ONLY, /* nowhere; -EAGAIN if it is no number. Never blocks */
    FERRY__EVERYWHERE    /* where getaddrinfo(3) looks. Blocks */
} ferry__lookup;

/*
 * Gives what to connect to (families alternating, RFC 8305), or to bind (IPv6 first where it is all
 * interfaces). Hosts and unix sockets only.
 * @return 0, or a negative errno as <ferry/error.h> has them for phase resolve.
 */
int ferry__address_resolve(const ferry__address *address, bool is_to_bind, ferry__lookup lookup,
                           ferry__endpoints *ret_endpoints);

/* Writes an address as text. Size and result as those of snprintf(3). */
int ferry__endpoint_format(const ferry__endpoint *endpoint, char *buffer, size_t size);

/* The fd that the service manager has passed under this number or name (sd_listen_fds(3)).
 * @return it; -ENXIO: there is none. */
int ferry__address_find_passed(const ferry__address *address);

/* ---- peers ---- */

/* A peer's address, in little memory: there may be many streams. */
typedef struct ferry__peer {
    uint8_t size; /* 0: it has none */
    union {
        struct sockaddr any;
        struct sockaddr_in6 v6;
        unsigned char bytes[sizeof(struct sockaddr_in6)];
    } address;
} ferry__peer;

/* Keeps an address. If a unix one is too long to keep, it keeps only that it is one. */
void ferry__peer_set(ferry__peer *peer, const ferry__endpoint *endpoint);

/* Asks a socket for its peer's address. */
void ferry__peer_ask(ferry__peer *peer, int fd);

/* Writes it as text. Size and result as those of snprintf(3); -ENOTCONN: it has none. */
int ferry__peer_format(const ferry__peer *peer, char *buffer, size_t size);

#endif
