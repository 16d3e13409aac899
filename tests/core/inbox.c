/* SPDX-License-Identifier: MIT */
/* Inboxes: the fd, the waiting, and threads that end. */
#include "core/inbox.h"

#include "core/clock.h"
#include "tests/core/owned.h"
#include "tests/promises.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <ferry/inbox.h>

static bool is_readable(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return poll(&readable, 1, 0) == 1;
}

PROMISE(inbox, fd_is_readable_exactly_while_completions_wait)
{
    int fd = ferry_inbox_get_fd();
    check(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    check_eq(ferry_inbox_get_fd(), fd);
    check(!is_readable(fd));
    unsigned runs = 0;
    for (unsigned i = 1; i <= 3; i++) {
        ferry_promise *promise = make_owned(NULL);
        check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
        check(!is_readable(fd));
        ferry__promise_settle(promise, NULL);
        ferry_promise_unref(promise);
        check(is_readable(fd));
        check_eq(ferry_inbox_run(0), 1);
        check_eq(runs, i);
        check(!is_readable(fd));
    }
}

PROMISE(inbox, fd_made_late_announces_what_already_waits)
{
    unsigned runs = 0;
    ferry_promise *promise = make_owned(NULL);
    ferry__promise_settle(promise, NULL);
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    ferry_promise_unref(promise);
    check(is_readable(ferry_inbox_get_fd()));
    check_eq(ferry_inbox_run(0), 1);
}

static void *settle_promises(void *arg)
{
    for (ferry_promise **promise = arg; *promise != NULL; promise++) {
        ferry__promise_settle(*promise, NULL);
        ferry_promise_unref(*promise);
    }
    return NULL;
}

PROMISE(inbox, run_waits_for_the_first_callback_as_long_as_asked)
{
    int64_t begin = ferry__clock_now();
    check_eq(ferry_inbox_run(0), 0);
    check_eq(ferry_inbox_run(5), 0);
    check(ferry__clock_now() - begin >= 5 * FERRY__NS_PER_MS);
    static const int64_t long_enough[] = {-1, 1000 * 1000};
    for (unsigned i = 0; i < 2; i++) {
        ferry_promise *promises[] = {make_owned(NULL), NULL};
        unsigned runs = 0;
        check_eq(ferry_promise_observe(promises[0], count_up, &runs, NULL), 0);
        pthread_t thread = start_thread(settle_promises, promises);
        check_eq(ferry_inbox_run(long_enough[i]), 1);
        check_eq(runs, 1);
        pthread_join(thread, NULL);
    }
}

/* A loop as a program's: poll the fd, run the inbox, and nothing else. */
PROMISE(inbox, event_loop_on_the_fd_misses_nothing)
{
    enum { COUNT = 5000 };
    static ferry_promise *promises[COUNT + 1];
    int fd = ferry_inbox_get_fd();
    unsigned runs = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        promises[i] = make_owned(NULL);
        check_eq(ferry_promise_observe(promises[i], count_up, &runs, NULL), 0);
    }
    AT_END(join_thread) pthread_t thread = start_thread(settle_promises, promises);
    while (runs < COUNT) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        check_eq(poll(&readable, 1, -1), 1);
        check(ferry_inbox_run(0) >= 0);
    }
}

PROMISE(inbox, edge_triggered_watch_of_the_fd_gets_an_edge_for_each_batch)
{
    AT_END(close_fd) int epoll = epoll_create1(EPOLL_CLOEXEC);
    int fd = ferry_inbox_get_fd();
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    check_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    unsigned runs = 0;
    for (unsigned i = 0; i < 3; i++) {
        ferry_promise *promise = make_owned(NULL);
        check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
        ferry__promise_settle(promise, NULL);
        ferry_promise_unref(promise);
        check_eq(epoll_wait(epoll, &event, 1, -1), 1);
        check_eq(ferry_inbox_run(0), 1);
    }
}

/* ---- threads that end ------------------------------------------------------------------------ */

static unsigned runs_of_the_dead;

static void *register_and_end(void *arg)
{
    ferry_promise *promise = arg;
    check_eq(ferry_promise_observe(promise, count_up, &runs_of_the_dead, NULL), 0);
    check_eq(ferry_promise_observe(promise, count_up, &runs_of_the_dead, NULL), 0);
    check(ferry_inbox_get_fd() >= 0);
    return NULL;
}

PROMISE(inbox, callbacks_of_a_thread_that_ended_never_run_and_the_outcome_stays)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(NULL);
    run_to_its_end(register_and_end, promise);
    unsigned long lines = lines_logged();
    promise->result.sent = 5;
    ferry__promise_settle(promise, NULL);
    check_eq(runs_of_the_dead, 0);
    check_eq(lines_logged() - lines, 2); /* the log hook is told, once a callback */
    ferry_result result;
    check_eq(ferry_promise_await(promise, 0, &result), 0);
    check_eq(result.sent, 5);
}

static void *settle_for_itself_and_end(void *arg)
{
    check_eq(ferry_promise_observe(arg, count_up, &runs_of_the_dead, NULL), 0);
    ferry__promise_settle(arg, NULL);
    return NULL;
}

PROMISE(inbox, callbacks_waiting_when_their_thread_ends_are_released)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(NULL);
    run_to_its_end(settle_for_itself_and_end, promise);
    check_eq(runs_of_the_dead, 0);
}

static void *register_on_all(void *arg)
{
    for (ferry_promise **promise = arg; *promise != NULL; promise++)
        check_eq(ferry_promise_observe(*promise, count_up, &runs_of_the_dead, NULL), 0);
    return NULL;
}

PROMISE(inbox, thread_may_end_while_its_completions_are_being_posted)
{
    enum { COUNT = 200 };
    for (unsigned round = 0; round < 50; round++) {
        ferry_promise *promises[COUNT + 1] = {0};
        for (unsigned i = 0; i < COUNT; i++)
            promises[i] = make_owned(NULL);
        pthread_t registrant = start_thread(register_on_all, promises);
        for (unsigned i = 0; i < COUNT; i++)
            ferry_promise_ref(promises[i]);
        pthread_t settler = start_thread(settle_promises, promises);
        pthread_join(settler, NULL);
        pthread_join(registrant, NULL);
        for (unsigned i = 0; i < COUNT; i++)
            ferry_promise_unref(promises[i]);
    }
    check_eq(runs_of_the_dead, 0);
}

/* Gives back what this thread's inbox is the home of, and what another's is. */
static void *swap_promises(void *arg)
{
    ferry_promise **promises = arg;
    for (unsigned i = 0; i < 2; i++)
        drop(promises[i]);
    for (unsigned i = 2; i < 6; i++)
        promises[i] = make();
    drop(promises[2]);
    return NULL;
}

PROMISE(inbox, that_of_a_thread_that_ended_goes_with_the_last_promise_it_is_the_home_of)
{
    ferry_promise *promises[6];
    promises[0] = make(); /* and the inbox of this thread */
    long outstanding = allocations_outstanding() - 1;
    promises[1] = make();
    run_to_its_end(swap_promises, promises);
    check_eq(allocations_outstanding(), outstanding + 4); /* three, and the inbox */
    for (unsigned i = 3; i < 6; i++)
        drop(promises[i]);
    check_eq(allocations_outstanding(), outstanding);
    check_eq(ferry_inbox_run(0), 0); /* that of this thread stays */
}

static void *end_in_a_callback(void *arg)
{
    check_eq(ferry_promise_observe(arg, end_thread, NULL, NULL), 0);
    check_eq(ferry_promise_observe(arg, count_up, &runs_of_the_dead, NULL), 0);
    check_eq(ferry_inbox_run(-1), 0);
    return NULL;
}

PROMISE(inbox, thread_that_ends_in_a_callback_loses_its_other_callbacks_and_nothing_else)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(NULL);
    ferry__promise_settle(promise, NULL);
    run_to_its_end(end_in_a_callback, promise);
    check_eq(runs_of_the_dead, 0);
}

/* ---- what cannot be made --------------------------------------------------------------------- */

static void *use_without_memory(void *arg)
{
    ferry_promise *promise = arg, *made;
    static const ferry_chain chain;
    for (unsigned call = 0; call < 7; call++) {
        fail_allocation(1); /* the inbox: this thread has none yet */
        check_eq(call == 0   ? ferry_inbox_run(0)
                 : call == 1 ? ferry_inbox_get_fd()
                 : call == 2 ? ferry_promise_observe(promise, count_up, NULL, NULL)
                 : call == 3 ? ferry_promise_on_cancel(promise, count_up, NULL, NULL)
                 : call == 4 ? ferry_promise_create(&made)
                 : call == 5 ? ferry_promise_after(0, &made)
                             : ferry_promise_chain(promise, &chain, &made),
                 -ENOMEM);
    }
    allow_allocations();
    check_eq(ferry_inbox_run(0), 0); /* with memory again */
    return NULL;
}

PROMISE(inbox, that_there_is_no_memory_for_is_enomem_from_every_call_that_needs_it)
{
    AT_END(drop_promise) ferry_promise *promise = make_owned(NULL);
    run_to_its_end(use_without_memory, promise);
    ferry__promise_settle(promise, NULL);
}

PROMISE(inbox, fd_that_cannot_be_made_is_emfile_and_is_made_later)
{
    struct rlimit few, many;
    unsigned runs = 0;
    check_eq(ferry_inbox_run(0), 0);
    check_eq(getrlimit(RLIMIT_NOFILE, &many), 0);
    int lowest_free = dup(0);
    close(lowest_free);
    for (rlim_t more = 0; more < 3; more++) { /* it is three fds */
        few = (struct rlimit){.rlim_cur = (rlim_t)lowest_free + more, .rlim_max = many.rlim_max};
        check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        check_eq(ferry_inbox_get_fd(), -EMFILE);
    }
    check_eq(setrlimit(RLIMIT_NOFILE, &many), 0);
    ferry_promise *promise = make_owned(NULL);
    check_eq(ferry_promise_observe(promise, count_up, &runs, NULL), 0);
    ferry__promise_settle(promise, NULL);
    ferry_promise_unref(promise);
    check(is_readable(ferry_inbox_get_fd())); /* what came meanwhile included */
    check_eq(ferry_inbox_run(0), 1);
}
