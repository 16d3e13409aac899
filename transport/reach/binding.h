/* SPDX-License-Identifier: MIT */
/*
 * A binding: a listening socket, made or inherited; accepting from it; and the path of a unix
 * socket, which is removed when it is closed. A listener has a binding for each address of its
 * name, since a client may try any of them.
 *
 * An inherited socket may be shared with other processes, and with other listeners of this one: its
 * O_NONBLOCK is theirs, too. The flag has to be set, since accept4(2) has no flag of its own for
 * that. Another may have cleared it since. Putting it back at the end would have the others block.
 * So it is set before each call, and stays set. A call could still block if the flag is cleared in
 * between. So it is made only after poll(2) has seen a connection, and never by two acceptors of
 * one binding at once.
 */
#ifndef FERRY_TRANSPORT_REACH_BINDING_H
#define FERRY_TRANSPORT_REACH_BINDING_H

#include "transport/edge/address.h"
#include "transport/edge/link.h"

#include <ferry/listen.h>
#include <pthread.h>

typedef struct ferry__binding {
    int fd;
    bool is_inherited;
    pthread_mutex_t accepting; /* if it is inherited: held from poll(2) to accept4(2) */
    ferry__socket_sort sort;   /* of what it accepts */
    ferry__endpoint endpoint;  /* where it listens */
    bool has_path;             /* a path was made, and is to be removed */
    dev_t path_device;         /* which file that is: another one of that name is not ours */
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

/* One of the two follows: it takes an inherited fd for good, or leaves everything as it was. */
void ferry__bindings_commit(ferry__bindings *bindings);
void ferry__bindings_revert(ferry__bindings *bindings);

/* Any acceptor's thread, until it is closed. As accept4(2), but never blocks: -1 and EAGAIN. */
int ferry__binding_accept(ferry__binding *binding, ferry__calls *calls, ferry__endpoint *ret_peer);

/* Closes them, and removes their paths. @return 0, or what close(2) said. */
int ferry__bindings_close(ferry__bindings *bindings);

#endif
