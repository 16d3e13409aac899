/* SPDX-License-Identifier: MIT */
/* Listening: every connection becomes a stream, and nothing that goes wrong ends the listener. */
#include "transport/reach/listener.h"

#include "tests/support.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- what the tests share -------------------------------------------------------------------- */

enum { MOST_STREAMS = 256 };

/* Addresses of this process's own: tests run side by side. */
static const char *at_path(void)
{
    static char text[64];
    snprintf(text, sizeof text, "unix:/tmp/ferry-test-listen-%d", (int)getpid());
    return text;
}

static const char *path(void)
{
    return at_path() + strlen("unix:");
}

static const char *at_name(void)
{
    static char text[64];
    snprintf(text, sizeof text, "unix:@ferry-test-listen-%d", (int)getpid());
    return text;
}

/* What on_stream saw. */
typedef struct guests {
    atomic_uint places;                  /* given to a guest: several owners may have one at once */
    atomic_uint count;                   /* guests that have taken theirs */
    ferry_stream *streams[MOST_STREAMS]; /* a reference each, if keep */
    bool keep;
    bool check_owner; /* it must be called on the stream's owner */
    pthread_t home;   /* else on this thread */
} guests;

static void receive(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    guests *seen = arg;
    check(listener != NULL);
    if (seen->check_owner)
        check(ferry__owner_is_current(stream->owner));
    else
        check(pthread_equal(pthread_self(), seen->home));
    check_eq(ferry_stream_write(stream, "hello", 5, NULL, NULL), 0);
    unsigned number = atomic_fetch_add(&seen->places, 1);
    if (seen->keep)
        seen->streams[number] = ferry_stream_ref(stream);
    atomic_fetch_add(&seen->count, 1);
}

static ferry_listen_options options_for(guests *seen, ferry_listen_options options)
{
    seen->check_owner = options.on_owner;
    seen->home = pthread_self();
    if (options.on_stream == NULL)
        options.on_stream = receive;
    options.on_stream_arg = seen;
    return options;
}

static ferry_listener *listen_with(ferry_service *service, const char *address,
                                   ferry_listen_options options)
{
    ferry_listener *listener;
    check_eq(ferry_listen(service, address, &options, &listener), 0);
    return listener;
}

static ferry_listener *listen_at(ferry_service *service, const char *address, guests *seen,
                                 bool on_owner)
{
    const ferry_listen_options options = {.on_owner = on_owner};
    return listen_with(service, address, options_for(seen, options));
}

/* Waits until so many were told of; where that is not on owners, on this thread. */
static void await_guests(guests *seen, unsigned count)
{
    while (atomic_load(&seen->count) < count) {
        if (seen->check_owner)
            sched_yield();
        else
            ferry_inbox_run(-1);
    }
}

static void drop_guests(guests *seen)
{
    for (unsigned i = 0; i < atomic_load(&seen->count) && seen->keep; i++)
        ferry_stream_unref(seen->streams[i]);
}

static int dial_endpoint(const ferry__endpoint *endpoint)
{
    int fd = socket(endpoint->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0);
    if (connect(fd, &endpoint->address.any, endpoint->size) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static int dial(const ferry_listener *listener)
{
    return dial_endpoint(&listener->bindings.list[0].endpoint);
}

/* A listener's port at another address. */
static int dial_at(const ferry_listener *listener, int family, const char *host)
{
    ferry__endpoint to = {.size = family == AF_INET ? sizeof to.address.v4 : sizeof to.address.v6};
    to.address.any.sa_family = (sa_family_t)family;
    in_port_t port =
        listener->bindings.list[0].endpoint.address.v6.sin6_port; /* the same place as in v4 */
    to.address.v4.sin_port = port;
    check_eq(inet_pton(family, host,
                       family == AF_INET ? (void *)&to.address.v4.sin_addr
                                         : (void *)&to.address.v6.sin6_addr),
             1);
    return dial_endpoint(&to);
}

static void check_hello(int fd)
{
    char got[6] = "";
    check(fd >= 0);
    check_eq(recv(fd, got, 5, MSG_WAITALL), 5);
    check(strcmp(got, "hello") == 0);
}

static void check_served(const ferry_listener *listener)
{
    AT_END(close_fd) int fd = dial(listener);
    check_hello(fd);
}

static void close_listener(ferry_listener *listener)
{
    ferry_promise *closed;
    check_eq(ferry_listener_close(listener, &closed), 0);
    ferry_listener_unref(listener);
    check_eq(outcome(closed).error, 0);
}

PUT_AWAY(end_listener, ferry_listener, close_listener)

/* A listener in a service of its own, and whom it has seen. */
typedef struct inn {
    ferry_service *service;
    ferry_listener *listener; /* NULL once it is closed */
    guests seen;
} inn;

/* @param keep whether it has a reference of each guest's stream */
static inn *inn_open_with(ferry_placement placement, const char *address,
                          ferry_listen_options options, bool keep)
{
    inn *self = calloc(1, sizeof *self);
    self->seen.keep = keep;
    self->service = service_start(placement);
    self->listener = listen_with(self->service, address, options_for(&self->seen, options));
    return self;
}

static const ferry_listen_options on_owners = {.on_stream = receive, .on_owner = true};

static inn *inn_open(ferry_placement placement, const char *address, bool on_owner)
{
    return inn_open_with(placement, address, (ferry_listen_options){.on_owner = on_owner}, false);
}

static void inn_close(inn *self)
{
    close_listener(self->listener);
    self->listener = NULL;
}

static void inn_end(inn *self)
{
    if (self->listener != NULL)
        inn_close(self);
    drop_guests(&self->seen);
    ferry_service_destroy(self->service);
    free(self);
}

PUT_AWAY(end_inn, inn, inn_end)

static bool has_ipv6(void)
{
    const ferry__endpoint loopback = {
        .size = sizeof loopback.address.v6,
        .address.v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has = fd >= 0 && bind(fd, &loopback.address.any, loopback.size) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void check_address(ferry_listener *listener, const char *expected)
{
    char text[200];
    check_eq(ferry_listener_get_address(listener, text, sizeof text), strlen(expected));
    check(strcmp(text, expected) == 0);
}

/* ---- connections become streams -------------------------------------------------------------- */

static void serve_some(ferry_placement placement, const char *address, bool on_owner)
{
    AT_END(end_inn) inn *here = inn_open(placement, address, on_owner);
    for (unsigned i = 1; i <= 5; i++) {
        AT_END(close_fd) int fd = dial(here->listener);
        await_guests(&here->seen, i);
        check_hello(fd);
        check_eq(read(fd, &(char){0}, 1), 0); /* nobody kept the stream: it was closed */
    }
    inn_close(here);
    check_eq(atomic_load(&here->seen.count), 5);
}

PROMISE_BOTH(listening, connection_is_told_of_on_the_listening_thread)
{
    serve_some(placement, "127.0.0.1:0", false);
}

PROMISE_BOTH(listening, connection_is_told_of_on_its_streams_owner)
{
    serve_some(placement, "127.0.0.1:0", true);
}

PROMISE_BOTH(listening, unix_sockets_by_path_and_by_name_are_served)
{
    serve_some(placement, at_path(), true);
    serve_some(placement, at_name(), false);
    check(access(path(), F_OK) != 0);
}

PROMISE_BOTH(listening, accepted_stream_lives_on_when_its_listener_is_gone)
{
    AT_END(end_inn) inn *here = inn_open_with(placement, "127.0.0.1:0", on_owners, true);
    AT_END(close_fd) int fd = dial(here->listener);
    await_guests(&here->seen, 1);
    inn_close(here);
    check_hello(fd);
    check_eq(outcome(submit_write(here->seen.streams[0], "hello", 5)).error, 0);
    check_hello(fd);
}

PROMISE(listening, accepted_socket_is_known_without_being_asked)
{
    AT_END(end_inn)
    inn *here = inn_open_with(FERRY_PLACEMENT_SHARED, "127.0.0.1:0", on_owners, true);
    AT_END(close_fd) int fd = dial(here->listener);
    await_guests(&here->seen, 1);
    const ferry__link *link = &here->seen.streams[0]->link;
    check(link->is_socket && link->is_tcp && !link->is_message);
    check_eq(link->outlet, FERRY__OUTLET_TCP);
    check((fcntl(link->fd, F_GETFL) & O_NONBLOCK) != 0);
    check((fcntl(link->fd, F_GETFD) & FD_CLOEXEC) != 0);
}

PROMISE_BOTH(listening, owner_that_listens_is_told_on_owners)
{
    /* From a callback on an owner, where there is no inbox. */
    guests inner = {0};
    AT_END(end_inn) inn *outer = inn_open_with(placement, "127.0.0.1:0", on_owners, true);
    AT_END(close_fd) int fd = dial(outer->listener);
    await_guests(&outer->seen, 1);
    ferry__thread_current()->owner = outer->seen.streams[0]->owner; /* as if this were one */
    ferry_listen_options options = options_for(&inner, (ferry_listen_options){0});
    inner.check_owner = true;
    AT_END(end_listener)
    ferry_listener *listener = listen_with(outer->service, "127.0.0.1:0", options);
    ferry__thread_current()->owner = NULL;
    AT_END(close_fd) int other = dial(listener);
    await_guests(&inner, 1);
    check_hello(other);
}

/* ---- before it is a stream ------------------------------------------------------------------- */

/* What on_accept is to do, and has seen. */
typedef struct doorman {
    guests seen; /* first: on_stream's arg, too */
    ferry_stream_options give;
    atomic_bool refuses;
    atomic_uint asked;
    atomic_uint released;
} doorman;

static int ask_doorman(ferry_listener *listener, int fd, ferry_stream_options *options, void *arg)
{
    doorman *self = arg;
    struct ucred who;
    socklen_t size = sizeof who;
    check(listener != NULL);
    check(ferry__thread_current()->owner != NULL);
    check_eq(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size), 0);
    check_eq(who.pid, getpid());
    check_eq(options->limit_requests, 7); /* the listener's */
    check(options->on_watermark_release == NULL);
    if (self->give.limit_requests != 0)
        *options = self->give;
    atomic_fetch_add(&self->asked, 1);
    return atomic_load(&self->refuses) ? -EPERM : 0;
}

static void note_released(void *, void *arg)
{
    atomic_fetch_add(&((doorman *)arg)->released, 1);
}

static ferry_listener *listen_with_doorman(ferry_service *service, doorman *self, bool on_owner)
{
    const ferry_stream_options of_streams = {.limit_requests = 7,
                                             .high_watermark_bytes = 1,
                                             .on_watermark = ignore_watermark,
                                             .on_watermark_arg = self,
                                             .on_watermark_release = note_released};
    const ferry_listen_options options = {
        .on_owner = on_owner, .on_accept = ask_doorman, .stream = &of_streams, .limit_streams = 1};
    self->seen.keep = true;
    return listen_with(service, at_name(), options_for(&self->seen, options));
}

static void drop_doorman(doorman *self)
{
    drop_guests(&self->seen);
}

PROMISE_BOTH(listening, on_accept_gives_a_connection_options_of_its_own)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        ferry_service *service = service_start(placement);
        doorman self = {.give = {.limit_requests = 3,
                                 .label = "a client",
                                 .on_watermark_arg = &self,
                                 .on_watermark_release = note_released}};
        ferry_listener *listener = listen_with_doorman(service, &self, on_owner);
        AT_END(close_fd) int fd = dial(listener);
        await_guests(&self.seen, 1);
        check_hello(fd);
        const ferry_stream *stream = self.seen.streams[0];
        check_eq(stream->settings->options.limit_requests, 3);
        check(strcmp(stream->settings->options.label, "a client") == 0);
        check(stream->watermark == NULL);
        check_eq(atomic_load(&self.asked), 1);
        close_listener(listener);
        check_eq(atomic_load(&self.released), 0); /* its stream is there */
        drop_guests(&self.seen);
        ferry_service_destroy(service);
        check_eq(atomic_load(&self.released), 2); /* the listener's, and its own */
    }
}

/* 62 bytes of digits, and a character of two that does not fit. */
#define LONG_LABEL "12345678901234567890123456789012345678901234567890123456789012\u00e9"

/* Labels the stream out of memory that is gone when it returns. */
static int label_it(ferry_listener *listener, int fd, ferry_stream_options *options, void *arg)
{
    (void)listener;
    (void)fd;
    (void)arg;
    ferry_stream_options others = *options;
    char *label = strdup(LONG_LABEL);
    check(label != NULL);
    check_eq(ferry_accept_set_label(&others, label), -EINVAL);
    check_eq(ferry_accept_set_label(options, "another"), 0);
    check_eq(ferry_accept_set_label(options, NULL), 0);
    check(options->label == NULL);
    check_eq(ferry_accept_set_label(options, label), 0);
    memset(label, 'x', strlen(label));
    free(label);
    return 0;
}

PROMISE_BOTH(listening, label_of_on_accept_is_copied_whole_characters_only)
{
    for (int on_owner = 0; on_owner < 2; on_owner++) {
        const ferry_listen_options options = {.on_owner = on_owner, .on_accept = label_it};
        AT_END(end_inn) inn *here = inn_open_with(placement, at_name(), options, true);
        AT_END(close_fd) int fd = dial(here->listener);
        await_guests(&here->seen, 1);
        check_hello(fd);
        const char *label = here->seen.streams[0]->settings->options.label;
        check_eq(strlen(label), 62);
        check_eq(strncmp(label, LONG_LABEL, 62), 0);
    }
    ferry_stream_options own = {0};
    check_eq(ferry_accept_set_label(&own, "nobody asks"), -EINVAL);
    check_eq(ferry_accept_set_label(NULL, "nobody asks"), -EINVAL);
}

PROMISE_BOTH(listening, what_on_accept_leaves_alone_is_as_the_listener_has_it)
{
    AT_END(drop_doorman) doorman self = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(end_listener) ferry_listener *listener = listen_with_doorman(service, &self, true);
    AT_END(close_fd) int fd = dial(listener);
    await_guests(&self.seen, 1);
    check_hello(fd);
    check(self.seen.streams[0]->settings == listener->settings); /* no memory for it */
}

PROMISE_BOTH(listening, on_accept_may_refuse_a_connection)
{
    AT_END(drop_doorman) doorman self = {.refuses = true};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(end_listener) ferry_listener *listener = listen_with_doorman(service, &self, true);
    for (unsigned i = 0; i < 3; i++) { /* its place among limit_streams is given back */
        AT_END(close_fd) int fd = dial(listener);
        check_eq(recv(fd, &(char){0}, 1, 0), 0);
    }
    check_eq(atomic_load(&self.asked), 3);
    check_eq(atomic_load(&self.seen.count), 0);
    atomic_store(&self.refuses, false);
    AT_END(close_fd) int fd = dial(listener);
    await_guests(&self.seen, 1);
    check_hello(fd);
}

PROMISE_BOTH(listening, connection_that_on_accept_gives_bad_options_is_closed_and_logged)
{
    AT_END(drop_doorman) doorman self = {.give = {.limit_requests = 1, .close_timeout_ms = -1}};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(end_listener) ferry_listener *listener = listen_with_doorman(service, &self, true);
    unsigned long lines = lines_logged();
    AT_END(close_fd) int fd = dial(listener);
    check_eq(recv(fd, &(char){0}, 1, 0), 0);
    check_eq(lines_logged() - lines, 1);
    check_eq(atomic_load(&self.seen.count), 0);
}

/* ---- addresses ------------------------------------------------------------------------------- */

PROMISE(listening, port_0_is_one_that_is_free_and_can_be_read)
{
    AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, "127.0.0.1:0", true);
    AT_END(drop_listener) ferry_listener *listener = ferry_listener_ref(here->listener);
    char text[100], again[100];
    int length = ferry_listener_get_address(listener, text, sizeof text);
    check_eq(length, strlen(text));
    check(strncmp(text, "127.0.0.1:", 10) == 0 && atoi(text + 10) > 0);
    check_eq(ferry_listener_get_address(listener, again, 5), length);
    check(strcmp(again, "127.") == 0);
    check_eq(ferry_listener_get_address(listener, NULL, 0), length);
    check_eq(ferry_listener_get_address(NULL, text, sizeof text), -EINVAL);
    check_eq(ferry_listener_get_address(listener, NULL, 1), -EINVAL);
    inn_close(here);
    check_address(listener, text); /* closed, too */
}

PROMISE(listening, all_interfaces_are_ipv4_and_ipv6)
{
    for (unsigned form = 0; form < 2; form++) {
        AT_END(end_inn)
        inn *here = inn_open(FERRY_PLACEMENT_SHARED, form == 0 ? ":0" : "*:0", true);
        AT_END(close_fd) int fd = dial_at(here->listener, AF_INET, "127.0.0.1");
        check_hello(fd);
        if (has_ipv6()) {
            AT_END(close_fd) int other = dial_at(here->listener, AF_INET6, "::1");
            check_hello(other);
        }
    }
}

PROMISE(listening, ipv6_alone_is_had_where_asked_for)
{
    if (!has_ipv6())
        return;
    const ferry_listen_options options = {.on_owner = true, .only_v6 = true};
    static const char *const forms[] = {"[::]:0", ":0"};
    for (unsigned form = 0; form < 2; form++) {
        AT_END(end_inn)
        inn *here = inn_open_with(FERRY_PLACEMENT_SHARED, forms[form], options, false);
        check_eq(dial_at(here->listener, AF_INET, "127.0.0.1"), -ECONNREFUSED);
        AT_END(close_fd) int fd = dial_at(here->listener, AF_INET6, "::1");
        check_hello(fd);
    }
}

PROMISE(listening, name_is_looked_up)
{
    AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, "localhost:0", true);
    check_served(here->listener);
}

/* The name of a socket at 127.0.0.1. */
static void print_name(int fd, char *ret_text, size_t size)
{
    struct sockaddr_in name;
    socklen_t name_size = sizeof name;
    check_eq(getsockname(fd, (struct sockaddr *)&name, &name_size), 0);
    snprintf(ret_text, size, "127.0.0.1:%u", ntohs(name.sin_port));
}

PROMISE(listening, peer_is_told_of_as_text)
{
    AT_END(end_inn) inn *here = inn_open_with(FERRY_PLACEMENT_SHARED, ":0", on_owners, true);
    ferry_listener *local = listen_at(here->service, at_name(), &here->seen, true);
    AT_END(close_fd) int fd = dial_at(here->listener, AF_INET, "127.0.0.1");
    char text[100], expected[100];
    await_guests(&here->seen, 1);
    ferry_stream *guest = here->seen.streams[0];
    print_name(fd, expected, sizeof expected);
    check_eq(ferry_stream_get_peer(guest, text, sizeof text), strlen(expected));
    check(strcmp(text, expected) == 0);
    check_eq(ferry_stream_get_peer(guest, NULL, 0), strlen(expected));
    check_eq(ferry_stream_get_peer(guest, NULL, 1), -EINVAL);
    check_eq(ferry_stream_get_peer(NULL, text, sizeof text), -EINVAL);
    AT_END(close_fd) int other = dial(local);
    await_guests(&here->seen, 2);
    check_eq(ferry_stream_get_peer(here->seen.streams[1], text, sizeof text), strlen("unix:"));
    close_listener(local);
    inn_close(here);
    ferry_service_destroy(here->service);
    here->service = NULL;
    check_eq(ferry_stream_get_peer(guest, text, sizeof text), strlen(expected));
}

PROMISE(listening, adopted_stream_knows_its_peer_and_what_is_no_socket_has_none)
{
    AT_END(stage_end) stage s = stage_open(FERRY_PLACEMENT_SHARED, tcp_pair());
    AT_END(stage_end) stage pipe = stage_in(s.service, pipe_pair());
    AT_END(drop_stream)
    ferry_stream *alone = stream_adopt(s.service, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    char text[100], expected[100];
    print_name(s.theirs, expected, sizeof expected);
    check_eq(ferry_stream_get_peer(s.stream, text, sizeof text), strlen(expected));
    check(strcmp(text, expected) == 0);
    check_eq(ferry_stream_get_peer(pipe.stream, text, sizeof text), -ENOTSOCK);
    check_eq(ferry_stream_get_peer(alone, text, sizeof text), -ENOTCONN);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void check_refused(ferry_service *service, const char *address, ferry_listen_options options,
                          int error, ferry_phase phase)
{
    ferry_phase got = FERRY_PHASE_DONE;
    ferry_listener *untouched = NULL;
    options.ret_phase = &got;
    check_eq(ferry_listen(service, address, &options, &untouched), error);
    check_eq(got, phase);
    check(untouched == NULL);
}

PROMISE(listening, failure_names_its_step)
{
    AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, "127.0.0.1:0", true);
    ferry_service *service = here->service;
    char taken[100];
    ferry_listener_get_address(here->listener, taken, sizeof taken);
    check_refused(service, "nonsense", on_owners, -EINVAL, FERRY_PHASE_QUEUE);
    check_refused(service, "127.0.0.1:nosuchservice", on_owners, -ENXIO, FERRY_PHASE_RESOLVE);
    check_refused(service, "systemd:0", on_owners, -ENXIO, FERRY_PHASE_SOCKET);
    check_refused(service, "fd:999", on_owners, -EBADF, FERRY_PHASE_SOCKET);
    check_refused(service, taken, on_owners, -EADDRINUSE, FERRY_PHASE_BIND);
    check_refused(service, "192.0.2.1:0", on_owners, -EADDRNOTAVAIL, FERRY_PHASE_BIND);
    check_refused(service, "unix:/nosuchdirectory/x", on_owners, -ENOENT, FERRY_PHASE_BIND);
}

/* What the name "several" stands for: one of them twice, and one that is not this host's. */
static const char *const several[] = {"192.0.2.1", "127.0.0.1", "127.0.0.2", "127.0.0.1", NULL};

WRAPPED(int, getaddrinfo,
        (const char *host, const char *port, const struct addrinfo *hints,
         struct addrinfo **ret_list))
{
    if (host == NULL || strcmp(host, "several") != 0)
        return __real_getaddrinfo(host, port, hints, ret_list);
    for (unsigned i = 0; several[i] != NULL; i++, ret_list = &(*ret_list)->ai_next)
        check_eq(__real_getaddrinfo(several[i], port, hints, ret_list), 0);
    return 0;
}

PROMISE_BOTH(listening, name_with_several_addresses_is_had_at_each)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2"};
    const ferry_listen_options options = {.on_owner = true, .limit_streams = 2};
    AT_END(end_inn) inn *here = inn_open_with(placement, "several:0", options, false);
    for (unsigned i = 0; i < 8; i++) {
        AT_END(close_fd) int fd = dial_at(here->listener, AF_INET, hosts[i % 2]);
        check_hello(fd);
    }
    ferry__endpoint second = here->listener->bindings.list[1].endpoint;
    inn_close(here);
    check_eq(dial_endpoint(&second), -ECONNREFUSED);
}

PROMISE(listening, name_is_had_at_all_its_addresses_or_at_none)
{
    AT_END(end_inn) inn *taken = inn_open(FERRY_PLACEMENT_SHARED, "127.0.0.2:0", true);
    char name[64], other[64];
    unsigned port = ntohs(taken->listener->bindings.list[0].endpoint.address.v4.sin_port);
    (void)snprintf(name, sizeof name, "several:%u", port);
    (void)snprintf(other, sizeof other, "127.0.0.1:%u", port);
    check_refused(taken->service, name, on_owners, -EADDRINUSE, FERRY_PHASE_BIND);
    close_listener(listen_with(taken->service, other, on_owners));
    inn_close(taken);
    close_listener(listen_with(taken->service, name, on_owners));
}

PROMISE(listening, bad_input_is_einval)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    const ferry_stream_options unlikely = {.close_timeout_ms = -1};
    const ferry_listen_options bad[] = {
        {.on_stream = NULL, .on_owner = true},
        {.on_stream = receive, .on_owner = true, .backlog = UINT32_MAX},
        {.on_stream = receive, .on_owner = true, .unix_mode = 010000},
        {.on_stream = receive, .on_owner = true, .stream = &unlikely}};
    ferry_listener *listener;
    check_eq(ferry_listen(NULL, ":0", &on_owners, &listener), -EINVAL);
    check_eq(ferry_listen(service, NULL, &on_owners, &listener), -EINVAL);
    check_eq(ferry_listen(service, ":0", NULL, &listener), -EINVAL);
    check_eq(ferry_listen(service, ":0", &on_owners, NULL), -EINVAL);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_refused(service, ":0", bad[i], -EINVAL, FERRY_PHASE_QUEUE);
    check_eq(ferry_listener_close(NULL, NULL), -EINVAL);
    check(ferry_listener_ref(NULL) == NULL);
    check(ferry_listener_unref(NULL) == NULL);
}

PROMISE(listening, forked_child_cannot_listen_nor_close)
{
    AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, "127.0.0.1:0", true);
    ferry_listener *other;
    pid_t child = fork();
    if (child == 0) {
        bool is_refused = ferry_listen(here->service, ":0", &on_owners, &other) == -ECHILD &&
                          ferry_listener_close(here->listener, NULL) == -ECHILD;
        ferry_listener_unref(here->listener);
        _exit(is_refused ? 0 : 1);
    }
    await_child(child);
}

/* ---- unix paths ------------------------------------------------------------------------------ */

/* A socket bound to the path, in nobody's hands any more unless it is kept. */
static int bind_path(bool keep)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    check_eq(listen(fd, 5), 0);
    if (!keep)
        close(fd);
    return fd;
}

PROMISE(listening, stale_path_is_replaced_and_a_live_one_is_eaddrinuse)
{
    unlink(path());
    bind_path(false);
    AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, at_path(), true);
    check_served(here->listener);
    check_refused(here->service, at_path(), on_owners, -EADDRINUSE, FERRY_PHASE_BIND);
    check_served(here->listener); /* it noticed nothing, nor was it told of a connection */
    await_guests(&here->seen, 2);
    check_eq(atomic_load(&here->seen.count), 2);
    inn_close(here);
    check(access(path(), F_OK) != 0);
}

static void (*before_unlink)(const char *name);

WRAPPED(int, unlink, (const char *name))
{
    if (before_unlink != NULL)
        before_unlink(name);
    return __real_unlink(name);
}

static int late_comers;

/* Another one starts when the first has found the path stale, and has not removed it yet. */
static void start_another(const char *)
{
    before_unlink = NULL;
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    check_refused(service, at_path(), on_owners, -EADDRINUSE, FERRY_PHASE_BIND);
    late_comers++;
}

static void check_no_lock(void)
{
    char lock[128];
    snprintf(lock, sizeof lock, "%s.ferry-lock", path());
    check(access(lock, F_OK) != 0);
}

PROMISE(listening, of_two_that_replace_a_stale_path_at_once_one_listens)
{
    bind_path(false);
    before_unlink = start_another;
    AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, at_path(), true);
    check_eq(late_comers, 1);
    check_no_lock();
    check_served(here->listener);
}

#ifndef FERRY_THREAD_SANITIZER /* which starts none in a child of a process with threads */

static unsigned steps_left;

static void end_at_a_step(const char *)
{
    if (steps_left-- == 0)
        (void)kill(getpid(), SIGKILL);
}

/* Whoever is killed while it replaces a path leaves one that can be replaced. */
PROMISE(listening, stale_path_is_replaced_whatever_became_of_who_tried_before)
{
    enum { UNLINKS = 2 }; /* of the path, and of the lock */
    for (unsigned step = 0; step < UNLINKS; step++) {
        const char *address = at_path(); /* the child's would be its own */
        bind_path(false);
        pid_t child = fork();
        if (child == 0) {
            before_unlink = end_at_a_step;
            steps_left = step;
            (void)inn_open(FERRY_PLACEMENT_SHARED, address, true);
            _exit(1);
        }
        int status;
        check_eq(waitpid(child, &status, 0), child);
        check(WIFSIGNALED(status));
        AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, address, true);
        check_no_lock();
        check_served(here->listener);
    }
}

#endif

PROMISE(listening, what_is_no_socket_is_left_alone)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    unlink(path());
    close(open(path(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    check_refused(service, at_path(), on_owners, -EADDRINUSE, FERRY_PHASE_BIND);
    check_eq(access(path(), F_OK), 0);
    unlink(path());
    check_eq(symlink("/nowhere", path()), 0);
    check_refused(service, at_path(), on_owners, -EADDRINUSE, FERRY_PHASE_BIND);
    unlink(path());
}

PROMISE(listening, path_is_removed_only_if_it_is_still_ours)
{
    unlink(path());
    AT_END(end_inn) inn *here = inn_open(FERRY_PLACEMENT_SHARED, at_path(), true);
    unlink(path());
    AT_END(close_fd) int others = bind_path(true);
    inn_close(here);
    check_eq(access(path(), F_OK), 0);
    unlink(path());
}

PROMISE(listening, path_has_the_permissions_asked_for)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    struct stat status;
    unlink(path());
    mode_t before = umask(077);
    ferry_listen_options options = on_owners;
    options.unix_mode = 0666;
    ferry_listener *listener = listen_with(service, at_path(), options);
    check_eq(stat(path(), &status), 0);
    check_eq(status.st_mode & 07777, 0666);
    close_listener(listener);
    listener = listen_with(service, at_path(), on_owners);
    check_eq(stat(path(), &status), 0);
    check_eq(status.st_mode & 0077, 0);
    close_listener(listener);
    umask(before);
}

/* What is asked of streams that only TCP knows. */
static const ferry_stream_options of_tcp = {.no_delay = true, .notsent_lowat_bytes = 200000};

/* The next guest of a listener has the options set, and the kernel agrees. */
static void check_tcp_options_of_guest(const ferry_listener *listener, guests *seen)
{
    unsigned number = atomic_load(&seen->count);
    AT_END(close_fd) int client = dial(listener);
    await_guests(seen, number + 1);
    const ferry__link *link = &seen->streams[number]->link;
    check(link->has_no_delay);
    check(socket_option(link->fd, IPPROTO_TCP, TCP_NODELAY) != 0);
    check_eq(socket_option(link->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), of_tcp.notsent_lowat_bytes);
}

PROMISE_BOTH(listening, accepted_streams_have_the_options_of_tcp_asked_for)
{
    const ferry_listen_options options = {.on_owner = true, .stream = &of_tcp};
    AT_END(end_inn) inn *here = inn_open_with(placement, "127.0.0.1:0", options, true);
    const ferry__socket_sort *sort = &here->listener->bindings.list[0].sort;
    check(sort->has_no_delay); /* so no stream of it costs a call */
    check_eq(sort->unsent_bytes, of_tcp.notsent_lowat_bytes);
    check_tcp_options_of_guest(here->listener, &here->seen);
    AT_END(end_inn) inn *local = inn_open_with(placement, at_name(), options, true);
    check_served(local->listener); /* a unix socket has no such option */
}

/* ---- inherited sockets ----------------------------------------------------------------------- */

static int make_listening(void)
{
    const ferry__endpoint loopback = {
        .size = sizeof loopback.address.v4,
        .address.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    check_eq(bind(fd, &loopback.address.any, loopback.size), 0);
    check_eq(listen(fd, 5), 0);
    return fd;
}

PROMISE_BOTH(listening, inherited_socket_is_taken_over)
{
    char address[20];
    int fd = make_listening();
    AT_END(close_fd) int same = dup(fd);
    snprintf(address, sizeof address, "fd:%d", fd);
    AT_END(end_inn) inn *here = inn_open(placement, address, true);
    check((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    check_served(here->listener);
    inn_close(here);
    check_eq(fcntl(fd, F_GETFD), -1);                /* closed */
    check((fcntl(same, F_GETFL) & O_NONBLOCK) != 0); /* for others of ferry's, who share it */
}

/* Whose guests may have come before, when nothing was asked of it. */
PROMISE_BOTH(listening, inherited_socket_is_left_as_it_is_and_its_streams_are_set_up)
{
    char address[20];
    int fd = make_listening();
    AT_END(close_fd) int same = dup(fd);
    snprintf(address, sizeof address, "fd:%d", fd);
    const ferry_listen_options options = {.on_owner = true, .stream = &of_tcp};
    AT_END(end_inn) inn *here = inn_open_with(placement, address, options, true);
    check_tcp_options_of_guest(here->listener, &here->seen);
    check_eq(socket_option(same, IPPROTO_TCP, TCP_NODELAY), 0);
    check_eq(socket_option(same, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 0);
}

PROMISE(listening, inherited_fd_that_does_not_listen_stays_the_callers)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    char address[20];
    pair both = unix_pair(SOCK_STREAM), messages = unix_pair(SOCK_DGRAM), pipe = pipe_pair();
    const struct {
        int fd, error;
    } cases[] = {{both.ours, -EINVAL}, {messages.ours, -ESOCKTNOSUPPORT}, {pipe.theirs, -ENOTSOCK}};
    for (unsigned i = 0; i < 3; i++) {
        int flags = fcntl(cases[i].fd, F_GETFL);
        snprintf(address, sizeof address, "fd:%d", cases[i].fd);
        check_refused(service, address, on_owners, cases[i].error, FERRY_PHASE_SOCKET);
        check_eq(fcntl(cases[i].fd, F_GETFL), flags);
    }
    const int fds[] = {both.ours,       both.theirs, messages.ours,
                       messages.theirs, pipe.ours,   pipe.theirs};
    for (unsigned i = 0; i < 6; i++)
        check_eq(close(fds[i]), 0);
}

PROMISE(listening, message_socket_is_not_padded)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    const ferry_stream_options padded = {.framing = FERRY_FRAMING_PAD};
    const ferry_listen_options options = {
        .on_stream = receive, .on_owner = true, .stream = &padded};
    struct sockaddr_un name = {.sun_family = AF_UNIX}; /* bound to any */
    char address[20];
    AT_END(close_fd) int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    check_eq(bind(fd, (struct sockaddr *)&name, sizeof name.sun_family), 0);
    check_eq(listen(fd, 5), 0);
    snprintf(address, sizeof address, "fd:%d", fd);
    check_refused(service, address, options, -EINVAL, FERRY_PHASE_SOCKET);
    check_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}

/* Puts a socket where the service manager does. @return what was there, or -1. */
static int pass_as(int number, int socket)
{
    int before = fcntl(number, F_DUPFD_CLOEXEC, 40);
    check_eq(dup2(socket, number), number);
    close(socket);
    return before;
}

static void put_back(int number, int before)
{
    if (before < 0)
        return;
    check_eq(dup3(before, number, O_CLOEXEC), number);
    close(before);
}

PROMISE(listening, service_managers_sockets_are_taken_over)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_FDNAMES", "other:web", 1);
    int sockets[2], before[2];
    for (unsigned i = 0; i < 2; i++) {
        AT_END(close_fd) int made = make_listening();
        sockets[i] = fcntl(made, F_DUPFD_CLOEXEC, 30); /* out of the way */
    }
    for (unsigned i = 0; i < 2; i++)
        before[i] = pass_as(3 + (int)i, sockets[i]);
    inn *by_name = inn_open(FERRY_PLACEMENT_SHARED, "systemd:web", true);
    inn *by_place = inn_open(FERRY_PLACEMENT_SHARED, "systemd:0", true);
    check_eq(by_name->listener->bindings.list[0].fd, 4);
    check_eq(by_place->listener->bindings.list[0].fd, 3);
    check((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0);
    check_served(by_name->listener);
    check_served(by_place->listener);
    check(strcmp(getenv("LISTEN_FDS"), "2") == 0);
    inn_end(by_name);
    inn_end(by_place);
    for (unsigned i = 0; i < 2; i++)
        put_back(3 + (int)i, before[i]);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static inn *inn_open_with_faults(ferry_placement placement, ferry_faults *faults)
{
    const ferry_stream_options stream = {
        .faults = faults, .high_watermark_bytes = 1, .on_watermark = ignore_watermark};
    const ferry_listen_options options = {.on_owner = true, .stream = &stream};
    return inn_open_with(placement, "127.0.0.1:0", options, false);
}

static void get_over(ferry_placement placement, int error, unsigned times, unsigned lines)
{
    AT_END(drop_faults)
    ferry_faults *faults =
        faults_of((ferry_fault){FERRY_CALL_ACCEPT, 1, times, FERRY_FAULT_ERROR, error});
    unsigned long logged = lines_logged();
    AT_END(end_inn) inn *here = inn_open_with_faults(placement, faults);
    AT_END(close_fd) int fd = dial(here->listener);
    check_hello(fd);
    check_eq(ferry_faults_get_injected(faults), times);
    check_eq(lines_logged() - logged, lines);
    /* The first looks, those that failed, the one that did not, and those that found no more. */
    check(ferry_faults_get_calls(faults, FERRY_CALL_ACCEPT) <= times + 10);
}

PROMISE_BOTH(listening, connection_that_was_over_before_it_was_accepted_is_passed_over_in_silence)
{
    static const int errors[] = {ECONNABORTED, EINTR,  EPROTO,       ENETDOWN,   ENOPROTOOPT,
                                 EHOSTDOWN,    ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH};
    for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++)
        get_over(placement, errors[i], 3, 0);
}

PROMISE_BOTH(listening, shortage_is_told_of_once_and_got_over_without_spinning)
{
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++)
        get_over(placement, errors[i], 4, 1);
}

/* Pins: kept_listening. */
PROMISE_BOTH(listening, listener_short_of_fds_sleeps_and_can_be_closed)
{
    AT_END(drop_faults)
    ferry_faults *faults =
        faults_of((ferry_fault){FERRY_CALL_ACCEPT, 1, UINT64_MAX, FERRY_FAULT_ERROR, EMFILE});
    AT_END(end_inn) inn *here = inn_open_with_faults(placement, faults);
    AT_END(close_fd) int fd = dial(here->listener);
    while (lines_logged() == 0)
        sched_yield();
    wait_until_asleep(); /* it does not spin */
    inn_close(here);
    check_eq(lines_logged(), 1);
}

/* No fd can be made any more, until they are given back. */
typedef struct famine {
    struct rlimit before;
    int fds[256];
    unsigned count;
} famine;

static void use_up_fds(famine *made)
{
    check_eq(getrlimit(RLIMIT_NOFILE, &made->before), 0);
    const struct rlimit few = {.rlim_cur = 256, .rlim_max = made->before.rlim_max};
    check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    while ((made->fds[made->count] = dup(0)) >= 0)
        made->count++;
    check_eq(errno, EMFILE);
}

static void give_fds_back(const famine *made)
{
    check_eq(setrlimit(RLIMIT_NOFILE, &made->before), 0);
    for (unsigned i = 0; i < made->count; i++)
        close(made->fds[i]);
}

/* Pins: kept_listening. */
PROMISE_BOTH(listening, connections_wait_while_fds_have_run_out)
{
    AT_END(end_inn) inn *here = inn_open(placement, "127.0.0.1:0", true);
    const ferry__endpoint *endpoint = &here->listener->bindings.list[0].endpoint;
    AT_END(close_fd) int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    famine hunger = {0};
    use_up_fds(&hunger);
    check_eq(connect(client, &endpoint->address.any, endpoint->size), 0);
    while (lines_logged() == 0)
        sched_yield();
    check_eq(atomic_load(&here->seen.count), 0);
    give_fds_back(&hunger);
    check_hello(client);
    check_eq(lines_logged(), 1);
}

PROMISE(listening, connection_that_no_stream_can_be_made_of_is_closed_and_the_next_one_served)
{
    AT_END(drop_faults)
    ferry_faults *faults =
        faults_of((ferry_fault){FERRY_CALL_POLL, 2, 1, FERRY_FAULT_ERROR, EMFILE});
    AT_END(end_inn) inn *here = inn_open_with_faults(FERRY_PLACEMENT_DEDICATED, faults);
    wait_until_asleep(); /* it has watched the socket: the first call */
    AT_END(close_fd) int refused = dial(here->listener);
    check_eq(read(refused, &(char){0}, 1), 0);
    check_served(here->listener);
    check_eq(lines_logged(), 1);
}

static void *listen_and_end(void *arg)
{
    inn *self = arg;
    self->listener = listen_at(self->service, "127.0.0.1:0", &self->seen, false);
    return NULL;
}

PROMISE_BOTH(listening, connections_are_closed_once_the_thread_that_was_to_be_told_has_ended)
{
    inn here = {.service = service_start(placement)};
    run_to_its_end(listen_and_end, &here);
    AT_END(close_fd) int fd = dial(here.listener);
    check_eq(read(fd, &(char){0}, 1), 0);
    check_eq(lines_logged(), 1);
    inn_close(&here);
    check_eq(atomic_load(&here.seen.count), 0);
    ferry_service_destroy(here.service);
}

/* ---- spreading and limiting ------------------------------------------------------------------ */

static void spread(bool all_at_once)
{
    enum { OWNERS = 4, CLIENTS = 64, SLACK = 6 };
    const ferry_service_options four = {.placement = FERRY_PLACEMENT_SHARED,
                                        .shared_owners = OWNERS};
    AT_END(destroy_service) ferry_service *service = service_start_with(four);
    AT_END(drop_guests) guests seen = {.keep = true};
    AT_END(end_listener) ferry_listener *listener = listen_at(service, "127.0.0.1:0", &seen, false);
    int clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = dial(listener);
        check(clients[i] >= 0);
        if (!all_at_once)
            await_guests(&seen, i + 1);
    }
    await_guests(&seen, CLIENTS);
    unsigned most = 0;
    for (unsigned owner = 0; owner < OWNERS; owner++) {
        unsigned its = 0;
        for (unsigned i = 0; i < CLIENTS; i++)
            its += seen.streams[i]->owner == service->owners[owner];
        most = its > most ? its : most;
    }
    check(most <= CLIENTS / OWNERS + SLACK);
    for (unsigned i = 0; i < CLIENTS; i++)
        close(clients[i]);
}

PROMISE(listening, connections_one_by_one_are_spread_evenly_over_shared_owners)
{
    spread(false);
}

PROMISE(listening, flood_of_connections_is_spread_evenly_over_shared_owners)
{
    spread(true);
}

PROMISE(listening, stream_that_only_waits_for_its_peers_end_is_no_load_for_its_owner)
{
    enum { EACH = 3 };
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    const ferry_stream_options confirmed = {.close_timeout_ms = 60000};
    stage ending[EACH], staying[EACH], added[EACH];
    ferry_promise *closed[EACH];
    for (int i = 0; i < EACH; i++) { /* for the one owner, and for the other */
        ending[i] = stage_in_with(service, unix_pair(SOCK_STREAM), confirmed);
        staying[i] = stage_in_with(service, unix_pair(SOCK_STREAM), confirmed);
    }
    ferry__owner *owner = ferry__owner_ref(ending[0].stream->owner);
    for (int i = 0; i < EACH; i++)
        closed[i] = submit_close(ending[i].stream);
    wait_until_asleep();
    for (int i = 0; i < EACH; i++) {
        added[i] = stage_in_with(service, unix_pair(SOCK_STREAM), confirmed);
        check(added[i].stream->owner == owner);
    }
    for (int i = 0; i < EACH; i++) {
        check_eq(shutdown(ending[i].theirs, SHUT_WR), 0);
        check_outcome(closed[i], .error = 0);
    }
    check_eq(atomic_load(&owner->ending), 0);
    ferry__owner_unref(owner);
    for (int i = 0; i < EACH; i++) {
        stage_end(&ending[i]);
        stage_end(&staying[i]);
        stage_end(&added[i]);
    }
}

static atomic_bool blocked, let_go;

static void block_owner(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    receive(listener, stream, arg);
    if (!atomic_exchange(&blocked, true)) {
        while (!atomic_load(&let_go))
            sched_yield();
    }
}

PROMISE(listening, busy_owner_holds_up_no_connection)
{
    /* One owner stays in its first callback, with the fewest streams. */
    const ferry_listen_options options = {.on_stream = block_owner, .on_owner = true};
    AT_END(end_inn) inn *here = inn_open_with(FERRY_PLACEMENT_SHARED, "127.0.0.1:0", options, true);
    int clients[20];
    clients[0] = dial(here->listener);
    while (!atomic_load(&blocked))
        sched_yield();
    for (unsigned i = 1; i < 20; i++) {
        clients[i] = dial(here->listener);
        check_hello(clients[i]);
    }
    atomic_store(&let_go, true);
    inn_close(here);
    check_eq(atomic_load(&here->seen.count), 20);
    for (unsigned i = 0; i < 20; i++)
        close(clients[i]);
}

/* Pins: kept_listening. */
PROMISE_BOTH(listening, limit_of_streams_makes_connections_wait_until_one_has_ended)
{
    enum { LIMIT = 3, CLIENTS = 12 };
    guests seen = {.keep = true};
    const ferry_listen_options options = {.on_owner = true, .limit_streams = LIMIT};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(end_listener)
    ferry_listener *listener = listen_with(service, "127.0.0.1:0", options_for(&seen, options));
    int clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = dial(listener);
    for (unsigned i = 0; i < CLIENTS; i++) {
        unsigned there = i + LIMIT < CLIENTS ? i + LIMIT : CLIENTS;
        await_guests(&seen, there);
        wait_until_asleep();
        check_eq(atomic_load(&seen.count), there);
        check(atomic_load(&listener->streams) <= LIMIT);
        check_eq(close_stream(seen.streams[i]).error, 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        close(clients[i]);
}

static void count_told(ferry_listener *, ferry_stream *, void *arg)
{
    ++*(unsigned *)arg;
}

/* More clients than the listening thread is told of at once. */
static void dial_many(const ferry_listener *listener, int clients[], unsigned count)
{
    struct rlimit limit;
    check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned i = 0; i < count; i++)
        clients[i] = dial(listener);
}

static void check_open(ferry_service *service, unsigned count)
{
    while (service_status(service).streams < count) /* a hang is the harness's to notice */
        (void)poll(NULL, 0, 1);
    wait_until_asleep();
    check_eq(service_status(service).streams, count);
}

/* So many clients have come while this thread, which listens, does not look: more than it is told
 * of at once. *told counts of how many it is. */
static ferry_listener *listen_elsewhere(ferry_service *service, unsigned *told, int clients[],
                                        unsigned count)
{
    const ferry_listen_options options = {.on_stream = count_told, .on_stream_arg = told};
    ferry_listener *listener = listen_with(service, at_path(), options);
    dial_many(listener, clients, count);
    check_open(service, FERRY__MOST_HANDOVERS);
    return listener;
}

PROMISE_BOTH(bounded, connections_wait_in_the_kernel_while_the_listening_thread_is_elsewhere)
{
    enum { CLIENTS = FERRY__MOST_HANDOVERS + 40 };
    unsigned told = 0;
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    int clients[CLIENTS];
    AT_END(end_listener)
    ferry_listener *listener = listen_elsewhere(service, &told, clients, CLIENTS);
    while (told < CLIENTS)
        (void)ferry_inbox_run(-1);
    for (unsigned i = 0; i < CLIENTS; i++) {
        check_eq(read(clients[i], &(char){0}, 1), 0); /* nobody has kept it */
        close(clients[i]);
    }
}

/* What it has accepted by then is told of, or closed with the thread; the rest is the kernel's. */
PROMISE_BOTH(bounded, listener_that_waits_for_its_thread_can_be_closed)
{
    enum { CLIENTS = FERRY__MOST_HANDOVERS + 1 };
    unsigned told = 0;
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    int clients[CLIENTS];
    ferry_listener *listener = listen_elsewhere(service, &told, clients, CLIENTS);
    close_listener(listener);
    while (told < FERRY__MOST_HANDOVERS)
        (void)ferry_inbox_run(-1);
    for (unsigned i = 0; i < CLIENTS; i++)
        close(clients[i]);
}

PROMISE_BOTH(listening, listener_at_its_limit_can_be_closed)
{
    const ferry_listen_options options = {.on_owner = true, .limit_streams = 1};
    AT_END(end_inn) inn *here = inn_open_with(placement, "127.0.0.1:0", options, true);
    AT_END(close_fd) int first = dial(here->listener), second = dial(here->listener);
    await_guests(&here->seen, 1);
    wait_until_asleep();
    inn_close(here);
    /* Its listener's memory is still counted in. */
    check_eq(outcome(submit_close(here->seen.streams[0])).error, 0);
}

/* ---- closing --------------------------------------------------------------------------------- */

PROMISE_BOTH(listening, closing_again_gives_the_same_promise)
{
    AT_END(end_inn) inn *here = inn_open(placement, "127.0.0.1:0", true);
    ferry_promise *first, *second;
    check_eq(ferry_listener_close(here->listener, &first), 0);
    check_eq(ferry_listener_close(here->listener, &second), 0);
    check(first == second);
    int cancelled = ferry_promise_cancel(first);
    check(cancelled == -EOPNOTSUPP || cancelled == -EALREADY);
    check_eq(outcome(first).error, 0);
    check_eq(outcome(second).error, 0);
    check(dial(here->listener) < 0);
    check_eq(ferry_listener_close(here->listener, NULL), 0);
}

PROMISE_BOTH(listening, last_reference_closes)
{
    AT_END(end_inn) inn *here = inn_open(placement, at_path(), true);
    check(ferry_listener_ref(here->listener) == here->listener);
    check(ferry_listener_unref(here->listener) == NULL);
    check_served(here->listener);
    here->listener = ferry_listener_unref(here->listener);
    while (access(path(), F_OK) == 0)
        sched_yield();
}

static void close_at_once(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    receive(listener, stream, arg);
    check_eq(ferry_listener_close(listener, NULL), 0);
    ferry_listener_unref(listener);
}

PROMISE_BOTH(listening, listener_can_be_closed_and_dropped_in_its_own_callback)
{
    for (unsigned on_owner = 0; on_owner < 2; on_owner++) {
        const ferry_listen_options options = {
            .on_stream = close_at_once, .on_owner = on_owner, .limit_streams = 1};
        AT_END(end_inn) inn *here = inn_open_with(placement, "127.0.0.1:0", options, false);
        AT_END(close_fd) int fd = dial(here->listener);
        await_guests(&here->seen, 1);
        here->listener = NULL; /* the callback's reference was this one */
        check_hello(fd);
    }
}

PROMISE_BOTH(listening, listener_outlives_its_service_as_a_handle)
{
    AT_END(end_inn) inn *here = inn_open(placement, at_path(), true);
    ferry_service_destroy(here->service);
    here->service = NULL;
    check(access(path(), F_OK) != 0);
    AT_END(drop_promise) ferry_promise *closed;
    check_eq(ferry_listener_close(here->listener, &closed), 0);
    check_eq(ferry_promise_await(closed, 0, NULL), 0);
    check_address(here->listener, at_path());
}

/* ---- races ----------------------------------------------------------------------------------- */

typedef struct flood {
    ferry__endpoint to;
    atomic_bool over;
    atomic_uint connected;
} flood;

static void *connect_again_and_again(void *arg)
{
    flood *self = arg;
    while (!atomic_load(&self->over)) {
        AT_END(close_fd) int fd = dial_endpoint(&self->to);
        if (fd >= 0)
            atomic_fetch_add(&self->connected, 1);
    }
    return NULL;
}

static void count_guest(ferry_listener *, ferry_stream *, void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void race(ferry_placement placement, bool on_owner, bool destroys)
{
    enum { FLOODERS = 2, ROUNDS = 15 };
    for (unsigned round = 0; round < ROUNDS; round++) {
        ferry_service *service = service_start(placement);
        atomic_uint told = 0;
        const ferry_listen_options options = {.on_stream = count_guest,
                                              .on_stream_arg = &told,
                                              .on_owner = on_owner,
                                              .limit_streams = round % 2 == 0 ? 0 : 5};
        ferry_listener *listener = listen_with(service, at_name(), options);
        flood water = {.to = listener->bindings.list[0].endpoint};
        pthread_t threads[FLOODERS];
        start_threads(threads, FLOODERS, connect_again_and_again, &water);
        while (atomic_load(&water.connected) < round * 3)
            sched_yield();
        if (destroys) {
            ferry_service_destroy(service);
            ferry_listener_unref(listener);
        } else {
            close_listener(listener);
        }
        unsigned before = atomic_load(&told);
        atomic_store(&water.over, true);
        join_threads(threads, FLOODERS);
        if (on_owner)
            check_eq(atomic_load(&told), before); /* nobody is told of any once it is closed */
        else
            while (ferry_inbox_run(0) > 0) {
            }
        if (!destroys)
            ferry_service_destroy(service);
    }
}

PROMISE_BOTH(listening, close_races_with_a_flood_of_connections_told_of_on_owners)
{
    race(placement, true, false);
}

PROMISE_BOTH(listening, close_races_with_a_flood_of_connections_told_of_at_home)
{
    race(placement, false, false);
}

PROMISE_BOTH(listening, destroy_races_with_a_flood_of_connections_told_of_on_owners)
{
    race(placement, true, true);
}

PROMISE_BOTH(listening, destroy_races_with_a_flood_of_connections_told_of_at_home)
{
    race(placement, false, true);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* A guest whose stream has ended, or was never made, reads an end. */
static void serve_one_if_memory_allows(ferry_placement placement, bool on_owner)
{
    ferry_service *service;
    const ferry_service_options one = {.placement = placement, .shared_owners = 1};
    if (ferry_service_create(&one, &service) != 0)
        return;
    atomic_uint told = 0;
    ferry_phase phase;
    const ferry_listen_options options = {.on_stream = count_guest,
                                          .on_stream_arg = &told,
                                          .on_owner = on_owner,
                                          .limit_streams = 1,
                                          .ret_phase = &phase};
    ferry_listener *listener;
    int error = ferry_listen(service, "127.0.0.1:0", &options, &listener);
    if (error != 0) {
        check_eq(error, -ENOMEM);
        ferry_service_destroy(service);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        AT_END(close_fd) int fd = dial(listener);
        while (recv(fd, &(char){0}, 1, MSG_DONTWAIT) != 0) {
            if (!on_owner)
                check(ferry_inbox_run(0) >= 0);
            sched_yield();
        }
    }
    check(atomic_load(&told) >= 1); /* memory fails only once */
    close_listener(listener);
    ferry_service_destroy(service);
}

PROMISE_BOTH(listening, any_failing_allocation_is_refused_or_got_over_and_leaks_nothing)
{
    check(ferry_inbox_run(0) == 0); /* this thread's inbox is there before memory runs out */
    for (unsigned on_owner = 0; on_owner < 2; on_owner++) {
        shortage memory = {0};
        while (next_allocation_fails(&memory))
            serve_one_if_memory_allows(placement, on_owner != 0);
        check(memory.failures > 5);
    }
}
