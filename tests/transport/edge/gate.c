/* SPDX-License-Identifier: MIT */
/* The gate of a sink, one move at a time: by a table of calls, and a shutdown(2), of the test's. */
#include "transport/edge/link.h"

#include "tests/support.h"

static ferry__calls scripted_calls;
static atomic_bool in_call, may_return, has_returned;
static atomic_int owner_id;

static void wait_for(atomic_bool *flag)
{
    while (!atomic_load(flag))
        sched_yield();
}

static ssize_t blocking_sendfile(ferry__calls *, int, int, off_t *, size_t)
{
    atomic_store(&in_call, true);
    wait_for(&may_return);
    atomic_store(&has_returned, true);
    errno = EPIPE;
    return -1;
}

/* Linked with --wrap=shutdown: it lasts until the owner has come out of its call, and sleeps. */
WRAPPED(int, shutdown, (int, int))
{
    atomic_store(&may_return, true);
    wait_for(&has_returned);
    wait_until_thread_sleeps(atomic_load(&owner_id));
    return 0;
}

static void *send_once(void *arg)
{
    ferry__link *link = arg;
    int64_t offset = 0;
    atomic_store(&owner_id, gettid());
    check_eq(ferry__link_sendfile(link, -1, &offset, 1), -EPIPE);
    check_eq(ferry__link_sendfile(link, -1, &offset, 1), -ECANCELED);
    return NULL;
}

PROMISE(gate, owner_sleeps_until_who_cuts_has_left)
{
    scripted_calls = ferry__calls_real;
    scripted_calls.sendfile = blocking_sendfile;
    pair ends = unix_pair(SOCK_STREAM);
    ferry__link link;
    ferry__peer peer = {0};
    check_eq(ferry__link_init(&link, ends.ours, &scripted_calls, &peer), 0);
    pthread_t owner = start_thread(send_once, &link);
    wait_for(&in_call);
    ferry__link_cut(&link);
    check_eq(pthread_join(owner, NULL), 0);
    check_eq(ferry__link_close(&link, FERRY__RESET), 0);
    check_eq(close(ends.theirs), 0);
}
