/* SPDX-License-Identifier: MIT */
/* Where to connect or to listen, as the user writes it: HOST:PORT, [V6]:PORT or unix:/path. */
#ifndef TOOLS_FERRY_ADDRESS_H
#define TOOLS_FERRY_ADDRESS_H

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
    const char *text;        /* as the user wrote it */
    bool is_unix;            /* else host and port count */
    struct sockaddr_un path; /* where is_unix */
    char host[NI_MAXHOST];   /* without brackets */
    char port[NI_MAXSERV];   /* a number or a service's name */
};

/*
 * Takes text apart; looks nothing up. Borrows: text, for the life of the address.
 * @return NULL, or what is wrong with it.
 */
const char *address_parse(const char *text, struct address *ret_address);

/*
 * Looks up an address that is not a unix path.
 * @param is_passive to listen on, as opposed to connect to. Gives: a list, to be freed with
 * freeaddrinfo.
 * @return whether it could; if not it has said why on stderr.
 */
bool address_resolve(const struct address *address, bool is_passive, struct addrinfo **ret_list);

/*
 * Connects, trying every address that the name has.
 * @return a socket; -1: it has said why on stderr.
 */
int address_connect(const struct address *address);

#endif
