/* SPDX-License-Identifier: MIT */
/*
 * No acceptor sleeps while a connection waits and an owner has nothing to do.
 *
 * Linked with --wrap=ferry__timers_set: acceptors' timers never fire here. So whatever would be put
 * right by looking again after a while waits for ever, and its test does not end.
 */
#include "tests/support.h"
#include "transport/reach/listener.h"
#include "transport/service/service.h"

/* ---- what the tests share -------------------------------------------------------------------- */

static _Atomic(ferry_listener *) timeless; /* whose acceptors' timers never fire */

static bool is_acceptors(const ferry__timer *timer)
{
    const ferry_listener *listener = atomic_load(&timeless);
    for (unsigned i = 0;
         listener != NULL && i < listener->service->owner_count * listener->bindings.count; i++) {
        if (timer == &listener->acceptors[i].timer)
            return true;
    }
    return false;
}

WRAPPED(void, ferry__timers_set, (ferry__timers * timers, ferry__timer *timer, int64_t deadline))
{
    /* Far away, and not never: that is how it looks when it is not set. */
    __real_ferry__timers_set(timers, timer, is_acceptors(timer) ? INT64_MAX / 2 : deadline);
}

static void greet(ferry_listener *, ferry_stream *stream, void *)
{
    check_eq(ferry_stream_write(stream, "hello", 5, NULL, NULL), 0);
}

static ferry_listener *open_door(ferry_service *service, ferry_listen_options options)
{
    ferry_listener *listener;
    if (options.on_stream == NULL)
        options.on_stream = greet;
    options.on_owner = true;
    check_eq(ferry_listen(service, "127.0.0.1:0", &options, &listener), 0);
    atomic_store(&timeless, listener);
    return listener;
}

/* No acceptor sets a timer once its service is gone. */
static void shut_door(ferry_service *service, ferry_listener *listener)
{
    ferry_service_destroy(service);
    atomic_store(&timeless, NULL);
    ferry_listener_unref(listener);
}

/* @return the visitor's end. */
static int come(const ferry_listener *listener)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const ferry__endpoint *to = &listener->bindings.list[0].endpoint;
    check_eq(connect(fd, &to->address.any, to->size), 0);
    return fd;
}

static void hear_greeting(int fd)
{
    char got[5];
    check_eq(recv(fd, got, sizeof got, MSG_WAITALL), 5);
}

/* Comes, is greeted and goes. */
static void visit(const ferry_listener *listener)
{
    AT_END(close_fd) int fd = come(listener);
    hear_greeting(fd);
}

/* ---- tests ----------------------------------------------------------------------------------- */

PROMISE(accepting, who_left_one_connection_takes_the_next_that_is_left_to_it)
{
    ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listener *listener = open_door(service, (ferry_listen_options){0});
    unsigned given[2] = {0, 0};
    for (unsigned i = 0; i < 20; i++) {
        /* Now the one owner seems to have far more to do, now the other. */
        unsigned more = i == 0 ? 50 : 100;
        atomic_fetch_add(&service->owners[i % 2]->holds, more);
        given[i % 2] += more;
        visit(listener);
    }
    for (unsigned i = 0; i < 2; i++)
        atomic_fetch_sub(&service->owners[i]->holds, given[i]);
    shut_door(service, listener);
}

/* Adopts a stream that is read from: its owner sleeps in its epoll set, whatever its acceptor does.
 */
static stage stay(ferry_service *service)
{
    stage s = stage_in(service, unix_pair(SOCK_STREAM));
    const ferry_reader takes = {.on_read = take_all, .on_owner = true};
    check_eq(ferry_stream_set_reader(s.stream, &takes), 0);
    return s;
}

/* Its peer hangs up first. */
static void leave(stage *s)
{
    stage_hang_up(s);
    stage_close(s);
}

/* The kernel may wake that one owner for each of these connections, and no other. */
static void visit_while_one_has_more(ferry_service *service, ferry__owner *one)
{
    ferry_listener *listener = open_door(service, (ferry_listen_options){0});
    wait_until_asleep();
    atomic_fetch_add(&one->holds, 50);
    for (unsigned i = 0; i < 20; i++) {
        visit(listener);
        wait_until_asleep(); /* who left a connection does not look again and again */
    }
    atomic_fetch_sub(&one->holds, 50);
    ferry_promise *closed;
    check_eq(ferry_listener_close(listener, &closed), 0);
    check_outcome(closed, .error = 0);
    atomic_store(&timeless, NULL);
    ferry_listener_unref(listener);
}

PROMISE(accepting, who_has_more_to_do_keeps_no_connection_from_the_other)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(leave) stage one = stay(service), other = stay(service);
    check(one.stream->owner != other.stream->owner);
    visit_while_one_has_more(service, one.stream->owner);
    visit_while_one_has_more(service, other.stream->owner);
}

static _Atomic(ferry_stream *) kept;

static void greet_and_keep(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    atomic_store(&kept, ferry_stream_ref(stream)); /* before anybody hears of it */
    greet(listener, stream, arg);
}

PROMISE(accepting, owners_sleep_while_a_connection_waits_for_room)
{
    ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    const ferry_listen_options options = {.on_stream = greet_and_keep, .limit_streams = 1};
    ferry_listener *listener = open_door(service, options);
    stage one = stay(service), other = stay(service);
    visit(listener);
    AT_END(close_fd) int next = come(listener);
    wait_until_asleep();
    check_eq(close_stream(atomic_load(&kept)).error, 0);
    hear_greeting(next);
    check_eq(close_stream(atomic_load(&kept)).error, 0);
    leave(&one);
    leave(&other);
    shut_door(service, listener);
}

static void *visit_again_and_again(void *listener)
{
    for (unsigned i = 0; i < 300; i++)
        visit(listener);
    return NULL;
}

static void be_visited(ferry_placement placement, unsigned limit_streams)
{
    enum { VISITORS = 12 };
    ferry_service *service = service_start(placement);
    const ferry_listen_options options = {.limit_streams = limit_streams};
    ferry_listener *listener = open_door(service, options);
    pthread_t crowd[VISITORS];
    start_threads(crowd, VISITORS, visit_again_and_again, listener);
    join_threads(crowd, VISITORS);
    shut_door(service, listener);
}

PROMISE_BOTH(accepting, short_connections_many_at_a_time_are_all_served)
{
    be_visited(placement, 0);
}

PROMISE_BOTH(accepting, short_connections_within_a_limit_are_all_served)
{
    be_visited(placement, 7);
}

static atomic_bool is_held, may_go_on;

static void hold_up(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    greet(listener, stream, arg);
    if (atomic_exchange(&is_held, true))
        return;
    while (!atomic_load(&may_go_on))
        (void)sched_yield();
}

static void *visit_once(void *listener)
{
    visit(listener);
    return NULL;
}

PROMISE(accepting, nothing_is_left_to_an_owner_that_is_in_a_callback)
{
    ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listener *listener = open_door(service, (ferry_listen_options){.on_stream = hold_up});
    pthread_t first = start_thread(visit_once, listener);
    while (!atomic_load(&is_held))
        (void)sched_yield();
    /* The other one seems to have far more to do than the one that is held up, whichever that
     * is. */
    const void *subject = ferry__activity_look(&service->owners[0]->activity).subject;
    ferry__owner *free_one = service->owners[subject == NULL ? 0 : 1];
    atomic_fetch_add(&free_one->holds, 50);
    for (unsigned i = 0; i < 20; i++)
        visit(listener);
    atomic_fetch_sub(&free_one->holds, 50);
    atomic_store(&may_go_on, true);
    join_thread(&first);
    shut_door(service, listener);
}

/* ---- a crowd beside others that are busy ----------------------------------------------------- */

enum { CROWD = 400, BUSY = 100 };

/* Tasks that always want another turn, and when the crowd came. */
static struct {
    ferry_service *service;
    ferry__mail mail; /* schedules them */
    ferry__task tasks[BUSY];
    unsigned turns;           /* theirs */
    unsigned turns_meanwhile; /* of those: after the second of the crowd, up to the last */
    atomic_uint came;
    atomic_bool is_over;
} busy;

static ferry__turn be_busy(ferry__task *)
{
    busy.turns++;
    return atomic_load(&busy.is_over) ? FERRY__TURN_OVER : FERRY__TURN_AGAIN;
}

static void begin_to_be_busy(ferry__mail *, bool)
{
    for (unsigned i = 0; i < BUSY; i++) {
        busy.tasks[i].turn = be_busy;
        ferry__owner_schedule(busy.service->owners[0], &busy.tasks[i]);
    }
}

/* The first one holds the owner up until all have come. */
static void count_in(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    hold_up(listener, stream, arg);
    unsigned came = atomic_load(&busy.came) + 1;
    if (came == 2)
        busy.turns = 0;
    if (came == CROWD) {
        busy.turns_meanwhile = busy.turns;
        atomic_store(&busy.is_over, true);
    }
    atomic_store(&busy.came, came);
}

PROMISE(accepting, crowd_comes_in_as_fast_as_others_have_turns)
{
    const ferry_service_options one_owner = {.placement = FERRY_PLACEMENT_SHARED,
                                             .shared_owners = 1};
    int crowd[CROWD];
    check_eq(ferry_service_create(&one_owner, &busy.service), 0);
    ferry_listener *listener =
        open_door(busy.service, (ferry_listen_options){.on_stream = count_in});
    crowd[0] = come(listener);
    while (!atomic_load(&is_held))
        (void)sched_yield();
    busy.mail.deliver = begin_to_be_busy;
    ferry__owner_post(busy.service->owners[0], &busy.mail);
    for (unsigned i = 1; i < CROWD; i++)
        crowd[i] = come(listener);
    atomic_store(&may_go_on, true);
    for (unsigned i = 0; i < CROWD; i++) {
        hear_greeting(crowd[i]);
        close(crowd[i]);
    }
    check_eq(atomic_load(&busy.came), CROWD);
    /* Some have come for each round of theirs, and not the same few for each: else 2,400. */
    check(busy.turns_meanwhile < 3 * CROWD);
    shut_door(busy.service, listener);
}
