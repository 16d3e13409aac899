/* SPDX-License-Identifier: MIT */
/*
 * The table of system calls behind ferry_faults (ferry/fault.h): &faults->calls stands wherever
 * &ferry__calls_real would. What keeps the table keeps a reference to the object.
 *
 * Several threads may call at once, a submitter and the owner for instance: each call draws its
 * numbers by one atomic increment each, so that every number is drawn once and each fault takes
 * place as often as the script says. The script is constant.
 *
 * No edge follows an EAGAIN that the script made up, since the fd was ready all along. Code that
 * waits edge-triggered must set its watch anew after each such EAGAIN, even if the same events are
 * watched for already: EPOLL_CTL_MOD tells at once what is ready. A stall leaves existing watches
 * alone, and takes the room out of them when they are set anew.
 */
#ifndef FERRY_CORE_FAULTS_H
#define FERRY_CORE_FAULTS_H

#include "core/calls.h"

#include <ferry/fault.h>
#include <stdatomic.h>

enum { FERRY__CALL_KINDS = FERRY_CALL_CONNECT + 1 };

struct ferry_faults {
    ferry__calls calls; /* first: its functions find the object by it. Constant */

    /* Any thread. */
    atomic_uint refs;
    atomic_bool is_stalled;                    /* there is no room any more */
    _Atomic(uint64_t) injected;                /* calls tampered with */
    _Atomic(uint64_t) made[FERRY__CALL_KINDS]; /* calls of each kind; of all, at FERRY_CALL_ANY */

    /* Set when it is made. */
    size_t count;         /* of the script */
    ferry_fault script[]; /* each error positive */
};

#endif
