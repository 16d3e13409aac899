/* SPDX-License-Identifier: MIT */
/*
 * A binding: a listening socket, made or inherited, and what is to be put back when it is closed:
 * the path of a unix socket, the flags of an inherited one. A listener has several where its name
 * has several addresses, since whoever looks that up may try any of them.
 */
#ifndef FERRY_TRANSPORT_BINDING_H
#define FERRY_TRANSPORT_BINDING_H

#include "transport/address.h"
#include "transport/sink.h"

#include <ferry/listen.h>

typedef struct ferry__binding {
    int fd;
    bool is_inherited;
    int original_flags;       /* of an inherited one: O_NONBLOCK as it was, put back at the end */
    ferry__socket_sort sort;  /* of what it accepts */
    ferry__endpoint endpoint; /* where it listens */
    bool has_path;            /* a path was made, and is to be removed */
    dev_t path_device;        /* which file that is: another one of that name is not ours */
    ino_t path_inode;
} ferry__binding;

/* One for each address that a name stands for. */
typedef struct ferry__bindings {
    unsigned count;
    ferry__binding list[FERRY__MOST_ENDPOINTS];
} ferry__bindings;

/*
 * Gives listening sockets at an address: at all that it stands for and this host has, all at the
 * same port. Blocks while names are looked up.
 * @param ret_phase where it failed. @return 0, or the errnos of ferry_listen in its phases.
 */
int ferry__bindings_open(const ferry__address *address, const ferry_listen_options *options,
                         ferry__bindings *ret_bindings, ferry_phase *ret_phase);

/* Then either takes an inherited fd for good, or leaves everything as it was. */
void ferry__bindings_commit(ferry__bindings *bindings);
void ferry__bindings_revert(ferry__bindings *bindings);

/* Closes them, and removes their paths. @return 0, or what close(2) said. */
int ferry__bindings_close(ferry__bindings *bindings);

#endif
