/* SPDX-License-Identifier: MIT */
/*
 * What the life of a stream costs beside its bytes, in system calls and wake-ups: there may be many
 * short ones. The calls are counted on their way (-Wl,--wrap): an owner's all, the test's own where
 * it asks.
 */
#include "core/thread.h"
#include "tests/support.h"
#include "transport/reach/listener.h"
#include "transport/service/service.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* ---- counting -------------------------------------------------------------------------------- */

enum {
    ACCEPT,
    CLOSE,
    CONNECT,
    EPOLL,
    FCNTL,
    FSTAT,
    GETPEERNAME,
    GETSOCKNAME,
    GETSOCKOPT,
    IOCTL,
    MORE, /* of those that send: something follows, in the same packet */
    RECV,
    SEND,
    SETSOCKOPT,
    SHUTDOWN,
    KINDS
};

static const char *const names[KINDS] = {"accept4",    "close",      "connect",     "epoll_ctl",
                                         "fcntl",      "fstat",      "getpeername", "getsockname",
                                         "getsockopt", "ioctl",      "MSG_MORE",    "recv",
                                         "send",       "setsockopt", "shutdown"};

static atomic_uint made[KINDS];
static _Thread_local bool counts_here;

static void count(unsigned kind)
{
    if (counts_here || ferry__thread_current()->owner != NULL)
        atomic_fetch_add(&made[kind], 1);
}

/* Passes a call on. */
#define WRAP(kind, type, function, parameters, ...)                                                \
    WRAPPED(type, function, parameters)                                                            \
    {                                                                                              \
        count(kind);                                                                               \
        return __real_##function(__VA_ARGS__);                                                     \
    }

WRAP(ACCEPT, int, accept4, (int fd, struct sockaddr *name, socklen_t *size, int flags), fd, name,
     size, flags)
WRAP(CLOSE, int, close, (int fd), fd)
WRAP(CONNECT, int, connect, (int fd, const struct sockaddr *peer, socklen_t size), fd, peer, size)
WRAP(EPOLL, int, epoll_ctl, (int set, int what, int fd, struct epoll_event *event), set, what, fd,
     event)
WRAP(FCNTL, int, fcntl64, (int fd, int what, long value), fd, what, value)
WRAP(FSTAT, int, fstat64, (int fd, struct stat *status), fd, status)
WRAP(GETPEERNAME, int, getpeername, (int fd, struct sockaddr *name, socklen_t *size), fd, name,
     size)
WRAP(GETSOCKNAME, int, getsockname, (int fd, struct sockaddr *name, socklen_t *size), fd, name,
     size)
WRAP(GETSOCKOPT, int, getsockopt, (int fd, int level, int name, void *value, socklen_t *size), fd,
     level, name, value, size)
WRAP(IOCTL, int, ioctl, (int fd, unsigned long what, void *value), fd, what, value)
WRAP(RECV, ssize_t, recv, (int fd, void *data, size_t size, int flags), fd, data, size, flags)
WRAP(RECV, ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), fd, message, flags)
WRAP(SETSOCKOPT, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t size),
     fd, level, name, value, size)
WRAP(SHUTDOWN, int, shutdown, (int fd, int how), fd, how)

static void count_send(int flags)
{
    count(SEND);
    if ((flags & MSG_MORE) != 0)
        count(MORE);
}

WRAPPED(ssize_t, send, (int fd, const void *data, size_t size, int flags))
{
    count_send(flags);
    return __real_send(fd, data, size, flags);
}

WRAPPED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
{
    count_send(flags);
    return __real_sendmsg(fd, message, flags);
}

static void forget_calls(void)
{
    for (unsigned i = 0; i < KINDS; i++)
        atomic_store(&made[i], 0);
}

/* Until one was made, and what follows from it is over. */
static void await_call(unsigned kind)
{
    while (atomic_load(&made[kind]) == 0)
        sched_yield();
    wait_until_asleep();
}

/* Checks what was made since they were forgotten. */
static void check_calls(const unsigned expected[KINDS])
{
    for (unsigned i = 0; i < KINDS; i++) {
        unsigned taken = atomic_exchange(&made[i], 0);
        if (taken != expected[i])
            fprintf(stderr, "%s: %u calls, not %u\n", names[i], taken, expected[i]);
        check_eq(taken, expected[i]);
    }
}

#define CHECK_CALLS(...) check_calls((const unsigned[KINDS]){__VA_ARGS__})

/* ---- accepted connections -------------------------------------------------------------------- */

/* A service, its door, and a stream by which its owner can be held, if it has one only. */
typedef struct house {
    ferry_service *service;
    ferry_listener *listener;
    stage held; /* for holding the owner */
    atomic_bool may_go_on;
} house;

/* What a house does beside answering. */
static enum { NOTHING, MARKS_THE_END, EXPECTS_NO_MORE, HOLDS_ITS_GUESTS, SEES_GUESTS } manner;

static int see_guest(ferry_listener *, int, ferry_stream_options *, void *)
{
    return 0;
}

static void let_go(ferry_promise *, const ferry_result *, void *stream)
{
    ferry_stream_unref(stream);
}

/* Answers the only request that a client has, and closes. */
static size_t answer(ferry_stream *stream, const void *, size_t length, bool, void *)
{
    const ferry_request_options told = {.on_owner = let_go, .on_owner_arg = stream};
    bool holds = manner == HOLDS_ITS_GUESTS;
    if (holds)
        ferry_stream_ref(stream);
    check_eq(ferry_stream_write(stream, "answer", 6, holds ? &told : NULL, NULL), 0);
    if (manner == MARKS_THE_END)
        check_eq(ferry_stream_mark(stream, NULL), 0);
    if (manner == EXPECTS_NO_MORE || holds)
        check_eq(ferry_stream_expect_no_more(stream), 0);
    check_eq(ferry_stream_close(stream, NULL), 0);
    return length;
}

static void greet(ferry_listener *, ferry_stream *stream, void *)
{
    const ferry_reader asked = {.on_read = answer, .on_owner = true, .keep_open = true};
    int error = ferry_stream_set_reader(stream, &asked);
    check(error == 0 || error == -ESHUTDOWN); /* the house may be closing already */
}

/* @param service taken over. */
static house house_open_in(ferry_service *service, const char *address,
                           const ferry_stream_options *of_guests)
{
    const ferry_listen_options door = {.on_stream = greet,
                                       .on_owner = true,
                                       .stream = of_guests,
                                       .on_accept = manner == SEES_GUESTS ? see_guest : NULL};
    house h = {.service = service};
    check_eq(ferry_listen(service, address, &door, &h.listener), 0);
    h.held = stage_in(service, unix_pair(SOCK_STREAM));
    wait_until_asleep(); /* its door is watched */
    return h;
}

static house house_open(const char *address, const ferry_stream_options *of_guests)
{
    return house_open_in(service_of_one_owner(FERRY_PLACEMENT_SHARED), address, of_guests);
}

static void house_close(house *h)
{
    stage_close(&h->held);
    ferry_service_destroy(h->service);
    ferry_listener_unref(h->listener);
}

/* From here on the owner does nothing, until it is let go. */
static void hold_owner(house *h)
{
    const ferry_request_options options = calling_on_owner(hold_until_told, &h->may_go_on);
    atomic_store(&h->may_go_on, false);
    check_eq(ferry_stream_write(h->held.stream, "x", 1, &options, NULL), 0);
    read_away(h->held.theirs, 1);
}

/* @return the client's end. */
static int come(const house *h)
{
    const ferry__endpoint *to = &h->listener->bindings.list[0].endpoint;
    int fd = socket(to->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(connect(fd, &to->address.any, to->size), 0);
    return fd;
}

static void send_request(int fd)
{
    check_eq(send(fd, "request", 7, MSG_NOSIGNAL), 7);
}

/* TCP: until the server's end has all that was sent. A unix socket has it at once. */
static void await_arrival(int fd)
{
    while (ferry__outlet_kind_of(fd) == FERRY__OUTLET_TCP &&
           ferry__outlet_unacked(fd, FERRY__OUTLET_TCP) != 0)
        sched_yield();
}

/* Comes and asks, all while the owner is held. @return the client's end. */
static int ask(house *h)
{
    wait_until_asleep();
    hold_owner(h);
    int fd = come(h);
    send_request(fd);
    await_arrival(fd);
    forget_calls();
    atomic_store(&h->may_go_on, true);
    return fd;
}

static void read_answer(int fd)
{
    char got[8];
    check_eq(recv(fd, got, sizeof got, MSG_WAITALL), 6); /* and then an end of file */
}

static void visit(const house *h)
{
    int client = come(h);
    send_request(client);
    read_answer(client);
    close(client);
    wait_until_asleep();
}

static const char *any_address(int is_tcp)
{
    static char name[64];
    snprintf(name, sizeof name, "unix:@ferry-test-short-lives-%d", (int)getpid());
    return is_tcp ? "127.0.0.1:0" : name;
}

static void check_five_calls(const ferry_stream_options *of_guests)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(house_close) house h = house_open(any_address(is_tcp), of_guests);
        for (unsigned i = 0; i < 3; i++) {
            AT_END(close_fd) int client = ask(&h);
            read_answer(client);
            wait_until_asleep();
            /* The answer and the end of it are one packet. */
            CHECK_CALLS([ACCEPT] = 1, [RECV] = 1, [SEND] = 1, [MORE] = (unsigned)is_tcp,
                        [SHUTDOWN] = 1, [CLOSE] = 1);
        }
    }
}

PROMISE(short_lives, connection_that_is_answered_and_closed_costs_five_calls)
{
    check_five_calls(NULL);
}

/* The clients stay until they have been counted. */
PROMISE(short_lives, close_that_would_wait_costs_five_too_if_the_peer_says_no_more)
{
    const ferry_stream_options confirmed = {.close_timeout_ms = 3600 * 1000};
    manner = EXPECTS_NO_MORE;
    check_five_calls(&confirmed);
}

/* They and the close have one turn, at whose end it is let go of: as for a log. */
PROMISE(short_lives, so_it_does_if_the_stream_is_let_go_of_once_its_last_bytes_have_left)
{
    const ferry_stream_options confirmed = {.close_timeout_ms = 3600 * 1000};
    manner = HOLDS_ITS_GUESTS;
    check_five_calls(&confirmed);
}

/* A mark ends a turn, so the close is not in that of the last bytes. And what has seen a connection
 * may have set it to kernel TLS, which keeps a record open for what follows. */
PROMISE(short_lives, last_bytes_are_held_back_only_for_an_end_that_goes_with_them)
{
    for (unsigned i = 0; i < 2; i++) {
        manner = i == 0 ? MARKS_THE_END : SEES_GUESTS;
        AT_END(house_close) house h = house_open(any_address(true), NULL);
        AT_END(close_fd) int client = ask(&h);
        read_answer(client);
        wait_until_asleep();
        check_eq(atomic_load(&made[SEND]), 1);
        check_eq(atomic_load(&made[MORE]), 0);
    }
}

PROMISE(short_lives, close_that_waits_for_its_peer_costs_two_more)
{
    const ferry_stream_options confirmed = {.close_timeout_ms = 60000};
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(house_close) house h = house_open(any_address(is_tcp), &confirmed);
        AT_END(close_fd) int client = ask(&h);
        read_answer(client);
        await_call(EPOLL); /* for the client's end */
        CHECK_CALLS([ACCEPT] = 1, [RECV] = 2, [SEND] = 1, [MORE] = (unsigned)is_tcp, [SHUTDOWN] = 1,
                    [EPOLL] = 1);
    }
}

/* It is not looked at before that may be so. @return whether it was so then. */
static bool ends_before_it_is_looked_at(house *h)
{
    int client = ask(h);
    read_answer(client);
    close(client);
    while (atomic_load(&made[CLOSE]) == 0)
        sched_yield();
    wait_until_asleep();
    check_eq(atomic_load(&made[IOCTL]), 0); /* nobody asks whether it has everything */
    return atomic_load(&made[EPOLL]) == 0 && atomic_load(&made[RECV]) == 2;
}

PROMISE(short_lives, close_whose_peer_ends_soon_needs_no_epoll_set)
{
    const ferry_stream_options confirmed = {.close_timeout_ms = 60000};
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(house_close) house h = house_open(any_address(is_tcp), &confirmed);
        while (!ends_before_it_is_looked_at(&h)) {
        }
    }
}

/* The request comes later than its connection. The peer's end is asked for once it is there. */
PROMISE(short_lives, close_of_a_stream_that_is_watched_looks_for_no_input_that_has_not_come)
{
    const ferry_stream_options confirmed = {.close_timeout_ms = 60000};
    AT_END(house_close) house h = house_open("127.0.0.1:0", &confirmed);
    forget_calls();
    int client = come(&h);
    await_call(ACCEPT);
    forget_calls();
    send_request(client);
    read_answer(client);
    wait_until_asleep();
    CHECK_CALLS([RECV] = 1, [SEND] = 1, [MORE] = 1, [SHUTDOWN] = 1);
    close(client);
    await_call(CLOSE);
    CHECK_CALLS([RECV] = 1, [EPOLL] = 1, [CLOSE] = 1);
}

/* As most end that are kept. The end that was read is not asked for again. */
PROMISE(short_lives, close_behind_the_clients_end_waits_for_nothing)
{
    const ferry_stream_options confirmed = {.close_timeout_ms = 3600 * 1000};
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(house_close) house h = house_open(any_address(is_tcp), &confirmed);
        forget_calls();
        AT_END(close_fd) int client = come(&h);
        await_call(EPOLL); /* it is watched */
        forget_calls();
        check_eq(shutdown(client, SHUT_WR), 0);
        await_call(CLOSE);
        CHECK_CALLS([RECV] = 1, [SHUTDOWN] = 1, [EPOLL] = 1, [CLOSE] = 1);
    }
}

/* ---- connections of the program's ------------------------------------------------------------ */

static ferry_stream *connect_to(ferry_service *service, ferry_listener *listener)
{
    char address[64];
    ferry_promise *promise;
    ferry_stream *stream;
    check(ferry_listener_get_address(listener, address, sizeof address) > 0);
    counts_here = true;
    check_eq(ferry_connect(service, address, NULL, &promise), 0);
    counts_here = false;
    check_eq(ferry_promise_await(promise, 0, NULL), 0); /* nobody had to be woken for it */
    check_eq(ferry_promise_get_stream(promise, &stream), 0);
    ferry_promise_unref(promise);
    return stream;
}

PROMISE_BOTH(short_lives, connection_to_this_machine_is_made_at_once_and_without_an_epoll_set)
{
    for (unsigned is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(house_close) house h = house_open(any_address((int)is_tcp), NULL);
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        hold_owner(&h); /* whose calls would be counted, too */
        forget_calls();
        AT_END(drop_stream) ferry_stream *stream = connect_to(service, h.listener);
        CHECK_CALLS([CONNECT] = 1, [GETPEERNAME] = 1, [GETSOCKNAME] = is_tcp);
        atomic_store(&h.may_go_on, true);
    }
}

static ferry_promise *start_connect(const house *h)
{
    char address[64];
    ferry_promise *promise;
    check(ferry_listener_get_address(h->listener, address, sizeof address) > 0);
    check_eq(ferry_connect(h->service, address, NULL, &promise), 0);
    return promise;
}

PROMISE(short_lives, lone_connect_waits_for_no_owner_and_of_several_owners_make_the_others)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(house_close) house h = house_open(any_address(is_tcp), NULL);
        hold_owner(&h);
        AT_END(drop_promise) ferry_promise *alone = start_connect(&h);
        check_eq(ferry_promise_await(alone, 0, NULL), 0);
        AT_END(drop_promise) ferry_promise *beside = start_connect(&h);
        check_eq(ferry_promise_await(beside, 0, NULL), -ETIMEDOUT);
        atomic_store(&h.may_go_on, true);
        check_eq(ferry_promise_await(beside, -1, NULL), 0);
    }
}

/* Which of two owners an event has woken. A timer wakes without one. */
static ferry__owner *watched[2];
static atomic_bool was_woken[2];

/* The connection waits until it is seen whether the other owner comes for it, too. */
static void note_wake_up(unsigned owner)
{
    if (atomic_exchange(&was_woken[owner], true))
        return;
    while (!atomic_load(&was_woken[!owner]) && !are_others_asleep())
        sched_yield();
}

WRAPPED(int, epoll_wait, (int set, struct epoll_event *events, int most, int timeout_ms))
{
    int count = __real_epoll_wait(set, events, most, timeout_ms);
    for (unsigned i = 0; i < 2; i++)
        if (count > 0 && ferry__thread_current()->owner == watched[i])
            note_wake_up(i);
    return count;
}

static void watch_wake_ups(const house *h)
{
    for (unsigned i = 0; i < 2; i++) {
        watched[i] = h->service->owners[i];
        atomic_store(&was_woken[i], false);
    }
}

PROMISE(short_lives, connection_wakes_one_owner_only)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        house h = house_open_in(service_start(FERRY_PLACEMENT_SHARED), any_address(is_tcp), NULL);
        for (unsigned i = 0; i < 10; i++) /* until all that begins with it is over */
            visit(&h);
        for (unsigned i = 0; i < 10; i++) {
            watch_wake_ups(&h);
            visit(&h);
            check_eq(was_woken[0] + was_woken[1], 1);
        }
        house_close(&h);
    }
}

/* ---- adopted sockets ------------------------------------------------------------------------- */

PROMISE_BOTH(short_lives, adopted_socket_is_asked_for_no_more_than_is_needed)
{
    bool dedicated = placement == FERRY_PLACEMENT_DEDICATED; /* it asks whether the socket blocks */
    for (unsigned is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(stage_close)
        stage s = stage_open(placement, unix_pair(SOCK_STREAM)); /* owners have what they need */
        AT_END(close_theirs) pair both = any_pair((int)is_tcp);
        forget_calls();
        counts_here = true;
        ferry_stream *stream = stream_adopt(s.service, both.ours);
        counts_here = false;
        CHECK_CALLS([GETSOCKOPT] = 1 + is_tcp, [GETPEERNAME] = 1, [FCNTL] = dedicated);
        check_eq(close_stream(stream).error, 0);
        CHECK_CALLS([SHUTDOWN] = 1, [GETSOCKOPT] = is_tcp, [CLOSE] = 1);
    }
}

PROMISE_BOTH(short_lives, close_does_not_end_once_more_what_was_shut_down)
{
    for (int is_tcp = 0; is_tcp < 2; is_tcp++) {
        AT_END(stage_end) stage s = stage_open(placement, any_pair(is_tcp));
        ferry_promise *shut;
        check_eq(ferry_stream_shutdown(s.stream, &shut), 0);
        check_outcome(shut, .error = 0);
        forget_calls();
        check_eq(stage_close_stream(&s).error, 0);
        check_eq(atomic_load(&made[SHUTDOWN]), 0);
    }
}

/* ---- relays ---------------------------------------------------------------------------------- */

PROMISE(short_lives, relayed_message_is_received_and_sent_and_nothing_is_asked_in_vain)
{
    AT_END(stage_end) stage from = stage_open(FERRY_PLACEMENT_SHARED, tcp_pair());
    AT_END(stage_end) stage to = stage_in(from.service, tcp_pair());
    check_eq(ferry_stream_relay(from.stream, to.stream, FERRY_TO_END, 0, NULL, NULL), 0);
    for (unsigned i = 0; i < 3; i++) {
        forget_calls();
        check_eq(send(from.theirs, "message", 7, MSG_NOSIGNAL), 7);
        read_away(to.theirs, 7);
        wait_until_asleep();
        if (i > 0) /* else it has just begun */
            CHECK_CALLS([RECV] = 1, [SEND] = 1);
    }
}
