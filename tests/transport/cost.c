/* SPDX-License-Identifier: MIT */
/* What a request with one callback costs beside the transfer: memory, and mail between threads; and
 * what a stream costs that does nothing. */
#include "core/mailbox.h"
#include "tests/promises.h"
#include "tests/support.h"

#include <stdatomic.h>

/* Every hop of whatever kind is one push to a mailbox: counted on its way (-Wl,--wrap). */
static atomic_uint hops;

void __real_ferry__mailbox_push(ferry__mailbox *mailbox, ferry__mail *mail);
void __wrap_ferry__mailbox_push(ferry__mailbox *mailbox, ferry__mail *mail);

void __wrap_ferry__mailbox_push(ferry__mailbox *mailbox, ferry__mail *mail)
{
    atomic_fetch_add(&hops, 1);
    __real_ferry__mailbox_push(mailbox, mail);
}

static void write_and_be_told(ferry_stream *stream)
{
    unsigned told = 0;
    ferry_promise *promise = submit_write(stream, "x", 1);
    check_eq(ferry_promise_then(promise, count_up, &told), 0);
    ferry_promise_unref(promise);
    while (told == 0)
        check(ferry_inbox_run(-1) > 0);
}

PROMISE_BOTH(cost, promise_with_one_callback_is_at_most_one_allocation_and_two_mailbox_hops)
{
    stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    write_and_be_told(s.stream); /* threads start, the inbox is made */
    for (unsigned i = 0; i < 20; i++) {
        unsigned long allocations = allocations_made();
        unsigned hops_before = atomic_load(&hops);
        write_and_be_told(s.stream);
        check(allocations_made() - allocations <= 1);  /* none, where a spare block was there */
        check_eq(atomic_load(&hops) - hops_before, 2); /* there, and back */
    }
    (void)stage_close_stream(&s);
    stage_end(&s);
}

PROMISE(cost, idle_stream_of_a_shared_owner_takes_a_kilobyte_at_most)
{
    enum { STREAMS = 100 };
    ferry_service *service = service_start(FERRY_SHARED);
    pair pairs[STREAMS + 1];
    ferry_stream *streams[STREAMS + 1];
    long before = 0;
    for (unsigned i = 0; i <= STREAMS; i++) {
        if (i == 1) /* the first one's owner has made its epoll set */
            before = bytes_outstanding();
        pairs[i] = unix_pair(SOCK_STREAM);
        streams[i] = stream_adopt(service, pairs[i].ours);
    }
    check(bytes_outstanding() - before <= STREAMS * 1024L);
    for (unsigned i = 0; i <= STREAMS; i++) {
        (void)close_stream(streams[i]);
        close(pairs[i].theirs);
    }
    ferry_service_destroy(service);
}
