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

static ferry_listen_options options_for(guests *seen, bool on_owner)
{
    seen->check_owner = on_owner;
    seen->home = pthread_self();
    return (ferry_listen_options){
        .on_stream = receive, .on_stream_arg = seen, .on_owner = on_owner};
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
    return listen_with(service, address, options_for(seen, on_owner));
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_listener *listener = listen_at(service, address, &seen, on_owner);
    for (unsigned i = 1; i <= 5; i++) {
        AT_END(close_fd) int fd = dial(listener);
        await_guests(&seen, i);
        check_hello(fd);
        check_eq(read(fd, &(char){0}, 1), 0); /* nobody kept the stream: it was closed */
    }
    close_listener(listener);
    check_eq(atomic_load(&seen.count), 5);
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
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_guests) guests seen = {.keep = true};
    ferry_listener *listener = listen_at(service, "127.0.0.1:0", &seen, true);
    AT_END(close_fd) int fd = dial(listener);
    await_guests(&seen, 1);
    close_listener(listener);
    check_hello(fd);
    check_eq(outcome(submit_write(seen.streams[0], "hello", 5)).error, 0);
    check_hello(fd);
}

PROMISE(listening, accepted_socket_is_known_without_being_asked)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(drop_guests) guests seen = {.keep = true};
    AT_END(end_listener) ferry_listener *tcp = listen_at(service, "127.0.0.1:0", &seen, true);
    AT_END(close_fd) int fd = dial(tcp);
    await_guests(&seen, 1);
    const ferry__link *link = &seen.streams[0]->link;
    check(link->is_socket && link->is_tcp && !link->is_message);
    check_eq(link->outlet, FERRY__OUTLET_TCP);
    check((fcntl(link->fd, F_GETFL) & O_NONBLOCK) != 0);
    check((fcntl(link->fd, F_GETFD) & FD_CLOEXEC) != 0);
}

PROMISE_BOTH(listening, owner_that_listens_is_told_on_owners)
{
    /* From a callback on an owner, where there is no inbox. */
    guests inner = {.check_owner = true};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_guests) guests seen = {.keep = true};
    AT_END(end_listener) ferry_listener *outer = listen_at(service, "127.0.0.1:0", &seen, true);
    AT_END(close_fd) int fd = dial(outer);
    await_guests(&seen, 1);
    ferry__thread_current()->owner = seen.streams[0]->owner; /* as if this were one */
    ferry_listen_options options = options_for(&inner, false);
    inner.check_owner = true;
    AT_END(end_listener) ferry_listener *listener;
    check_eq(ferry_listen(service, "127.0.0.1:0", &options, &listener), 0);
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
    ferry_listen_options options = options_for(&self->seen, on_owner);
    options.on_accept = ask_doorman;
    options.stream = &of_streams;
    options.limit_streams = 1;
    self->seen.keep = true;
    return listen_with(service, at_name(), options);
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
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        guests seen = {.keep = true};
        ferry_listen_options options = options_for(&seen, on_owner);
        options.on_accept = label_it;
        ferry_listener *listener = listen_with(service, at_name(), options);
        AT_END(close_fd) int fd = dial(listener);
        await_guests(&seen, 1);
        check_hello(fd);
        const char *label = seen.streams[0]->settings->options.label;
        check_eq(strlen(label), 62);
        check_eq(strncmp(label, LONG_LABEL, 62), 0);
        close_listener(listener);
        drop_guests(&seen);
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listener *listener = listen_at(service, "127.0.0.1:0", &seen, true);
    char text[100], again[100];
    int length = ferry_listener_get_address(listener, text, sizeof text);
    check_eq(length, strlen(text));
    check(strncmp(text, "127.0.0.1:", 10) == 0 && atoi(text + 10) > 0);
    check_eq(ferry_listener_get_address(listener, again, 5), length);
    check(strcmp(again, "127.") == 0);
    check_eq(ferry_listener_get_address(listener, NULL, 0), length);
    check_eq(ferry_listener_get_address(NULL, text, sizeof text), -EINVAL);
    check_eq(ferry_listener_get_address(listener, NULL, 1), -EINVAL);
    AT_END(drop_listener) ferry_listener *kept = ferry_listener_ref(listener);
    close_listener(listener);
    check_address(kept, text); /* closed, too */
}

PROMISE(listening, all_interfaces_are_ipv4_and_ipv6)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    for (unsigned form = 0; form < 2; form++) {
        guests seen = {0};
        AT_END(end_listener)
        ferry_listener *listener = listen_at(service, form == 0 ? ":0" : "*:0", &seen, true);
        int fd = dial_at(listener, AF_INET, "127.0.0.1");
        check_hello(fd);
        close(fd);
        if (has_ipv6()) {
            fd = dial_at(listener, AF_INET6, "::1");
            check_hello(fd);
            close(fd);
        }
    }
}

PROMISE(listening, ipv6_alone_is_had_where_asked_for)
{
    if (!has_ipv6())
        return;
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    static const char *const forms[] = {"[::]:0", ":0"};
    for (unsigned form = 0; form < 2; form++) {
        guests seen = {0};
        ferry_listen_options options = options_for(&seen, true);
        options.only_v6 = true;
        AT_END(end_listener) ferry_listener *listener = listen_with(service, forms[form], options);
        check_eq(dial_at(listener, AF_INET, "127.0.0.1"), -ECONNREFUSED);
        AT_END(close_fd) int fd = dial_at(listener, AF_INET6, "::1");
        check_hello(fd);
    }
}

PROMISE(listening, name_is_looked_up)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(end_listener) ferry_listener *listener = listen_at(service, "localhost:0", &seen, true);
    check_served(listener);
}

PROMISE(listening, peer_is_told_of_as_text)
{
    ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(drop_guests) guests seen = {.keep = true};
    ferry_listener *listener = listen_at(service, ":0", &seen, true);
    ferry_listener *local = listen_at(service, at_name(), &seen, true);
    int fd = dial_at(listener, AF_INET, "127.0.0.1");
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    char text[100], expected[100];
    await_guests(&seen, 1);
    check_eq(getsockname(fd, (struct sockaddr *)&own, &size), 0);
    snprintf(expected, sizeof expected, "127.0.0.1:%u", ntohs(own.sin_port));
    check_eq(ferry_stream_get_peer(seen.streams[0], text, sizeof text), strlen(expected));
    check(strcmp(text, expected) == 0);
    check_eq(ferry_stream_get_peer(seen.streams[0], NULL, 0), strlen(expected));
    check_eq(ferry_stream_get_peer(seen.streams[0], NULL, 1), -EINVAL);
    check_eq(ferry_stream_get_peer(NULL, text, sizeof text), -EINVAL);
    int other = dial(local);
    await_guests(&seen, 2);
    check_eq(ferry_stream_get_peer(seen.streams[1], text, sizeof text), strlen("unix:"));
    close(fd);
    close(other);
    close_listener(listener);
    close_listener(local);
    ferry_service_destroy(service);
    check_eq(ferry_stream_get_peer(seen.streams[0], text, sizeof text), strlen(expected));
}

PROMISE(listening, adopted_stream_knows_its_peer_and_what_is_no_socket_has_none)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    AT_END(close_theirs) pair both = tcp_pair();
    struct sockaddr_in theirs;
    socklen_t size = sizeof theirs;
    check_eq(getsockname(both.theirs, (struct sockaddr *)&theirs, &size), 0);
    char text[100], expected[100];
    snprintf(expected, sizeof expected, "127.0.0.1:%u", ntohs(theirs.sin_port));
    ferry_stream *stream = stream_adopt(service, both.ours);
    check_eq(ferry_stream_get_peer(stream, text, sizeof text), strlen(expected));
    check(strcmp(text, expected) == 0);
    ferry_stream_unref(stream);
    int ends[2];
    check_eq(pipe2(ends, O_CLOEXEC), 0);
    stream = stream_adopt(service, ends[1]);
    check_eq(ferry_stream_get_peer(stream, text, sizeof text), -ENOTSOCK);
    ferry_stream_unref(stream);
    stream = stream_adopt(service, socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    check_eq(ferry_stream_get_peer(stream, text, sizeof text), -ENOTCONN);
    ferry_stream_unref(stream);
    close(ends[0]);
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listen_options options = options_for(&seen, true);
    char taken[100];
    AT_END(end_listener) ferry_listener *listener = listen_with(service, "127.0.0.1:0", options);
    ferry_listener_get_address(listener, taken, sizeof taken);
    check_refused(service, "nonsense", options, -EINVAL, FERRY_PHASE_QUEUE);
    check_refused(service, "127.0.0.1:nosuchservice", options, -ENXIO, FERRY_PHASE_RESOLVE);
    check_refused(service, "systemd:0", options, -ENXIO, FERRY_PHASE_SOCKET);
    check_refused(service, "fd:999", options, -EBADF, FERRY_PHASE_SOCKET);
    check_refused(service, taken, options, -EADDRINUSE, FERRY_PHASE_BIND);
    check_refused(service, "192.0.2.1:0", options, -EADDRNOTAVAIL, FERRY_PHASE_BIND);
    check_refused(service, "unix:/nosuchdirectory/x", options, -ENOENT, FERRY_PHASE_BIND);
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_listen_options options = options_for(&seen, true);
    options.limit_streams = 2;
    ferry_listener *listener = listen_with(service, "several:0", options);
    for (unsigned i = 0; i < 8; i++) {
        AT_END(close_fd) int fd = dial_at(listener, AF_INET, hosts[i % 2]);
        check_hello(fd);
    }
    ferry__endpoint second = listener->bindings.list[1].endpoint;
    close_listener(listener);
    check_eq(dial_endpoint(&second), -ECONNREFUSED);
}

PROMISE(listening, name_is_had_at_all_its_addresses_or_at_none)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listen_options options = options_for(&seen, true);
    ferry_listener *taken = listen_with(service, "127.0.0.2:0", options);
    char name[64], other[64];
    unsigned port = ntohs(taken->bindings.list[0].endpoint.address.v4.sin_port);
    (void)snprintf(name, sizeof name, "several:%u", port);
    (void)snprintf(other, sizeof other, "127.0.0.1:%u", port);
    check_refused(service, name, options, -EADDRINUSE, FERRY_PHASE_BIND);
    close_listener(listen_with(service, other, options));
    close_listener(taken);
    close_listener(listen_with(service, name, options));
}

PROMISE(listening, bad_input_is_einval)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listen_options good = options_for(&seen, true), bad = good;
    const ferry_stream_options unlikely = {.close_timeout_ms = -1};
    ferry_listener *listener;
    check_eq(ferry_listen(NULL, ":0", &good, &listener), -EINVAL);
    check_eq(ferry_listen(service, NULL, &good, &listener), -EINVAL);
    check_eq(ferry_listen(service, ":0", NULL, &listener), -EINVAL);
    check_eq(ferry_listen(service, ":0", &good, NULL), -EINVAL);
    bad.on_stream = NULL;
    check_refused(service, ":0", bad, -EINVAL, FERRY_PHASE_QUEUE);
    bad = good;
    bad.backlog = UINT32_MAX;
    check_refused(service, ":0", bad, -EINVAL, FERRY_PHASE_QUEUE);
    bad = good;
    bad.unix_mode = 010000;
    check_refused(service, ":0", bad, -EINVAL, FERRY_PHASE_QUEUE);
    bad = good;
    bad.stream = &unlikely;
    check_refused(service, ":0", bad, -EINVAL, FERRY_PHASE_QUEUE);
    check_eq(ferry_listener_close(NULL, NULL), -EINVAL);
    check(ferry_listener_ref(NULL) == NULL);
    check(ferry_listener_unref(NULL) == NULL);
}

PROMISE(listening, forked_child_cannot_listen_nor_close)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listen_options options = options_for(&seen, true);
    AT_END(end_listener)
    ferry_listener *listener = listen_with(service, "127.0.0.1:0", options);
    ferry_listener *other;
    pid_t child = fork();
    if (child == 0) {
        bool is_refused = ferry_listen(service, ":0", &options, &other) == -ECHILD &&
                          ferry_listener_close(listener, NULL) == -ECHILD;
        ferry_listener_unref(listener);
        _exit(is_refused ? 0 : 1);
    }
    int status;
    check_eq(waitpid(child, &status, 0), child);
    check_eq(status, 0);
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    unlink(path());
    bind_path(false);
    const ferry_listen_options options = options_for(&seen, true);
    ferry_listener *listener = listen_with(service, at_path(), options);
    int fd = dial(listener);
    check_hello(fd);
    close(fd);
    check_refused(service, at_path(), options, -EADDRINUSE, FERRY_PHASE_BIND);
    fd = dial(listener);
    check_hello(fd); /* it noticed nothing, nor was it told of a connection */
    await_guests(&seen, 2);
    check_eq(atomic_load(&seen.count), 2);
    close(fd);
    close_listener(listener);
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
    ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    guests seen = {0};
    check_refused(service, at_path(), options_for(&seen, true), -EADDRINUSE, FERRY_PHASE_BIND);
    ferry_service_destroy(service);
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    bind_path(false);
    before_unlink = start_another;
    AT_END(end_listener) ferry_listener *listener = listen_at(service, at_path(), &seen, true);
    check_eq(late_comers, 1);
    check_no_lock();
    check_served(listener);
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
            guests nobody = {0};
            (void)listen_at(service_start(FERRY_PLACEMENT_SHARED), address, &nobody, true);
            _exit(1);
        }
        int status;
        check_eq(waitpid(child, &status, 0), child);
        check(WIFSIGNALED(status));
        guests seen = {0};
        AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
        AT_END(end_listener) ferry_listener *listener = listen_at(service, address, &seen, true);
        check_no_lock();
        check_served(listener);
    }
}

#endif

PROMISE(listening, what_is_no_socket_is_left_alone)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    unlink(path());
    close(open(path(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    check_refused(service, at_path(), options_for(&seen, true), -EADDRINUSE, FERRY_PHASE_BIND);
    check_eq(access(path(), F_OK), 0);
    unlink(path());
    check_eq(symlink("/nowhere", path()), 0);
    check_refused(service, at_path(), options_for(&seen, true), -EADDRINUSE, FERRY_PHASE_BIND);
    unlink(path());
}

PROMISE(listening, path_is_removed_only_if_it_is_still_ours)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    unlink(path());
    ferry_listener *listener = listen_at(service, at_path(), &seen, true);
    unlink(path());
    int others = bind_path(true);
    close_listener(listener);
    check_eq(access(path(), F_OK), 0);
    close(others);
    unlink(path());
}

PROMISE(listening, path_has_the_permissions_asked_for)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    struct stat status;
    unlink(path());
    mode_t before = umask(077);
    ferry_listen_options options = options_for(&seen, true);
    options.unix_mode = 0666;
    ferry_listener *listener = listen_with(service, at_path(), options);
    check_eq(stat(path(), &status), 0);
    check_eq(status.st_mode & 07777, 0666);
    close_listener(listener);
    options.unix_mode = 0;
    listener = listen_with(service, at_path(), options);
    check_eq(stat(path(), &status), 0);
    check_eq(status.st_mode & 0077, 0);
    close_listener(listener);
    umask(before);
}

/* What is asked of streams that only TCP knows. */
static const ferry_stream_options of_tcp = {.no_delay = true, .notsent_lowat_bytes = 200000};

static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    check_eq(getsockopt(fd, IPPROTO_TCP, name, &value, &size), 0);
    return value;
}

/* The next guest of a listener has the options set, and the kernel agrees. */
static void check_tcp_options_of_guest(const ferry_listener *listener, guests *seen)
{
    unsigned number = atomic_load(&seen->count);
    AT_END(close_fd) int client = dial(listener);
    await_guests(seen, number + 1);
    check(seen->streams[number]->link.has_no_delay);
    check(option_of(seen->streams[number]->link.fd, TCP_NODELAY) != 0);
    check_eq(option_of(seen->streams[number]->link.fd, TCP_NOTSENT_LOWAT),
             of_tcp.notsent_lowat_bytes);
}

PROMISE_BOTH(listening, accepted_streams_have_the_options_of_tcp_asked_for)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_guests) guests seen = {.keep = true};
    ferry_listen_options options = options_for(&seen, true);
    options.stream = &of_tcp;
    ferry_listener *listener = listen_with(service, "127.0.0.1:0", options);
    check(listener->bindings.list[0].sort.has_no_delay); /* so no stream of it costs a call */
    check_eq(listener->bindings.list[0].sort.unsent_bytes, of_tcp.notsent_lowat_bytes);
    check_tcp_options_of_guest(listener, &seen);
    close_listener(listener);
    listener = listen_with(service, at_name(), options);
    int client = dial(listener); /* a unix socket has no such option */
    check_hello(client);
    close(client);
    close_listener(listener);
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
    guests seen = {0};
    char address[20];
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    int fd = make_listening(), same = dup(fd);
    snprintf(address, sizeof address, "fd:%d", fd);
    ferry_listener *listener = listen_at(service, address, &seen, true);
    check((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    int client = dial(listener);
    check_hello(client);
    close(client);
    close_listener(listener);
    check_eq(fcntl(fd, F_GETFD), -1);                /* closed */
    check((fcntl(same, F_GETFL) & O_NONBLOCK) != 0); /* for others of ferry's, who share it */
    close(same);
}

/* Whose guests may have come before, when nothing was asked of it. */
PROMISE_BOTH(listening, inherited_socket_is_left_as_it_is_and_its_streams_are_set_up)
{
    guests seen = {.keep = true};
    char address[20];
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    int fd = make_listening(), same = dup(fd);
    snprintf(address, sizeof address, "fd:%d", fd);
    ferry_listen_options options = options_for(&seen, true);
    options.stream = &of_tcp;
    ferry_listener *listener = listen_with(service, address, options);
    check_tcp_options_of_guest(listener, &seen);
    check_eq(option_of(same, TCP_NODELAY), 0);
    check_eq(option_of(same, TCP_NOTSENT_LOWAT), 0);
    close_listener(listener);
    drop_guests(&seen);
    close(same);
}

PROMISE(listening, inherited_fd_that_does_not_listen_stays_the_callers)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    char address[20];
    pair both = unix_pair(SOCK_STREAM), messages = unix_pair(SOCK_DGRAM);
    int ends[2];
    check_eq(pipe2(ends, O_CLOEXEC), 0);
    const struct {
        int fd, error;
    } cases[] = {{both.ours, -EINVAL}, {messages.ours, -ESOCKTNOSUPPORT}, {ends[0], -ENOTSOCK}};
    for (unsigned i = 0; i < 3; i++) {
        int flags = fcntl(cases[i].fd, F_GETFL);
        snprintf(address, sizeof address, "fd:%d", cases[i].fd);
        check_refused(service, address, options_for(&seen, true), cases[i].error,
                      FERRY_PHASE_SOCKET);
        check_eq(fcntl(cases[i].fd, F_GETFL), flags);
    }
    const int fds[] = {both.ours, both.theirs, messages.ours, messages.theirs, ends[0], ends[1]};
    for (unsigned i = 0; i < 6; i++)
        check_eq(close(fds[i]), 0);
}

PROMISE(listening, message_socket_is_not_padded)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    const ferry_stream_options padded = {.framing = FERRY_FRAMING_PAD};
    ferry_listen_options options = options_for(&seen, true);
    options.stream = &padded;
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listener *by_name = listen_at(service, "systemd:web", &seen, true);
    ferry_listener *by_place = listen_at(service, "systemd:0", &seen, true);
    check_eq(by_name->bindings.list[0].fd, 4);
    check_eq(by_place->bindings.list[0].fd, 3);
    check((fcntl(3, F_GETFD) & FD_CLOEXEC) != 0);
    int clients[2] = {dial(by_name), dial(by_place)};
    for (unsigned i = 0; i < 2; i++) {
        check_hello(clients[i]);
        close(clients[i]);
    }
    check(strcmp(getenv("LISTEN_FDS"), "2") == 0);
    close_listener(by_name);
    close_listener(by_place);
    for (unsigned i = 0; i < 2; i++)
        put_back(3 + (int)i, before[i]);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static ferry_listener *listen_with_faults(ferry_service *service, guests *seen, ferry_fault fault,
                                          ferry_faults **ret_faults)
{
    check_eq(ferry_faults_create(&fault, 1, ret_faults), 0);
    const ferry_stream_options stream = {
        .faults = *ret_faults, .high_watermark_bytes = 1, .on_watermark = ignore_watermark};
    ferry_listen_options options = options_for(seen, true);
    options.stream = &stream;
    return listen_with(service, "127.0.0.1:0", options);
}

static void get_over(ferry_placement placement, int error, unsigned times, unsigned lines)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_faults *faults;
    unsigned long logged = lines_logged();
    ferry_listener *listener = listen_with_faults(
        service, &seen, (ferry_fault){FERRY_CALL_ACCEPT, 1, times, FERRY_FAULT_ERROR, error},
        &faults);
    int fd = dial(listener);
    check_hello(fd);
    check_eq(ferry_faults_get_injected(faults), times);
    check_eq(lines_logged() - logged, lines);
    /* The first looks, those that failed, the one that did not, and those that found no more. */
    check(ferry_faults_get_calls(faults, FERRY_CALL_ACCEPT) <= times + 10);
    close(fd);
    close_listener(listener);
    ferry_faults_unref(faults);
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_faults *faults;
    ferry_listener *listener = listen_with_faults(
        service, &seen, (ferry_fault){FERRY_CALL_ACCEPT, 1, UINT64_MAX, FERRY_FAULT_ERROR, EMFILE},
        &faults);
    int fd = dial(listener);
    while (lines_logged() == 0)
        sched_yield();
    wait_until_asleep(); /* it does not spin */
    close_listener(listener);
    check_eq(lines_logged(), 1);
    close(fd);
    ferry_faults_unref(faults);
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
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(end_listener) ferry_listener *listener = listen_at(service, "127.0.0.1:0", &seen, true);
    const ferry__endpoint *endpoint = &listener->bindings.list[0].endpoint;
    AT_END(close_fd) int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    famine hunger = {0};
    use_up_fds(&hunger);
    check_eq(connect(client, &endpoint->address.any, endpoint->size), 0);
    while (lines_logged() == 0)
        sched_yield();
    check_eq(atomic_load(&seen.count), 0);
    give_fds_back(&hunger);
    check_hello(client);
    check_eq(lines_logged(), 1);
}

PROMISE(listening, connection_that_no_stream_can_be_made_of_is_closed_and_the_next_one_served)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_DEDICATED);
    ferry_faults *faults;
    ferry_listener *listener = listen_with_faults(
        service, &seen, (ferry_fault){FERRY_CALL_POLL, 2, 1, FERRY_FAULT_ERROR, EMFILE}, &faults);
    wait_until_asleep(); /* it has watched the socket: the first call */
    int refused = dial(listener);
    check_eq(read(refused, &(char){0}, 1), 0);
    check_served(listener);
    close(refused);
    check_eq(lines_logged(), 1);
    close_listener(listener);
    ferry_faults_unref(faults);
}

static void *listen_and_end(void *arg)
{
    ferry_service *service = ((void **)arg)[0];
    guests *seen = ((void **)arg)[1];
    ((void **)arg)[2] = listen_at(service, "127.0.0.1:0", seen, false);
    return NULL;
}

PROMISE_BOTH(listening, connections_are_closed_once_the_thread_that_was_to_be_told_has_ended)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    guests seen = {0};
    void *arguments[3] = {service, &seen, NULL};
    run_to_its_end(listen_and_end, arguments);
    ferry_listener *listener = arguments[2];
    int fd = dial(listener);
    check_eq(read(fd, &(char){0}, 1), 0);
    close(fd);
    check_eq(lines_logged(), 1);
    close_listener(listener);
    check_eq(atomic_load(&seen.count), 0);
}

/* ---- spreading and limiting ------------------------------------------------------------------ */

static void spread(bool all_at_once)
{
    enum { OWNERS = 4, CLIENTS = 64, SLACK = 6 };
    const ferry_service_options four = {.placement = FERRY_PLACEMENT_SHARED,
                                        .shared_owners = OWNERS};
    guests seen = {.keep = true};
    AT_END(destroy_service) ferry_service *service;
    check_eq(ferry_service_create(&four, &service), 0);
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
    drop_guests(&seen);
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
    guests seen = {.keep = true};
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    ferry_listen_options options = options_for(&seen, true);
    options.on_stream = block_owner;
    ferry_listener *listener = listen_with(service, "127.0.0.1:0", options);
    int clients[20];
    clients[0] = dial(listener);
    while (!atomic_load(&blocked))
        sched_yield();
    for (unsigned i = 1; i < 20; i++) {
        clients[i] = dial(listener);
        check_hello(clients[i]);
    }
    atomic_store(&let_go, true);
    close_listener(listener);
    check_eq(atomic_load(&seen.count), 20);
    drop_guests(&seen);
    for (unsigned i = 0; i < 20; i++)
        close(clients[i]);
}

/* Pins: kept_listening. */
PROMISE_BOTH(listening, limit_of_streams_makes_connections_wait_until_one_has_ended)
{
    enum { LIMIT = 3, CLIENTS = 12 };
    guests seen = {.keep = true};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_listen_options options = options_for(&seen, true);
    options.limit_streams = LIMIT;
    AT_END(end_listener) ferry_listener *listener = listen_with(service, "127.0.0.1:0", options);
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
    ferry_service_status status;
    do /* a hang is the harness's to notice */
        check_eq(ferry_service_get_status(service, &status), 0);
    while (status.streams < count && poll(NULL, 0, 1) == 0);
    wait_until_asleep();
    check_eq(ferry_service_get_status(service, &status), 0);
    check_eq(status.streams, count);
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
        char byte;
        check_eq(read(clients[i], &byte, 1), 0); /* nobody has kept it */
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
    ferry_promise *closed;
    check_eq(ferry_listener_close(listener, &closed), 0);
    ferry_listener_unref(listener);
    check_eq(outcome(closed).error, 0);
    while (told < FERRY__MOST_HANDOVERS)
        (void)ferry_inbox_run(-1);
    for (unsigned i = 0; i < CLIENTS; i++)
        close(clients[i]);
}

PROMISE_BOTH(listening, listener_at_its_limit_can_be_closed)
{
    guests seen = {.keep = true};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_listen_options options = options_for(&seen, true);
    options.limit_streams = 1;
    ferry_listener *listener = listen_with(service, "127.0.0.1:0", options);
    AT_END(close_fd) int first = dial(listener), second = dial(listener);
    await_guests(&seen, 1);
    wait_until_asleep();
    close_listener(listener);
    check_eq(close_stream(seen.streams[0]).error,
             0); /* its listener's memory is still counted in */
}

/* ---- closing --------------------------------------------------------------------------------- */

PROMISE_BOTH(listening, closing_again_gives_the_same_promise)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_listener) ferry_listener *listener = listen_at(service, "127.0.0.1:0", &seen, true);
    ferry_promise *first, *second;
    check_eq(ferry_listener_close(listener, &first), 0);
    check_eq(ferry_listener_close(listener, &second), 0);
    check(first == second);
    int cancelled = ferry_promise_cancel(first);
    check(cancelled == -EOPNOTSUPP || cancelled == -EALREADY);
    check_eq(outcome(first).error, 0);
    check_eq(outcome(second).error, 0);
    check(dial(listener) < 0);
    check_eq(ferry_listener_close(listener, NULL), 0);
}

PROMISE_BOTH(listening, last_reference_closes)
{
    guests seen = {0};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    ferry_listener *listener = listen_at(service, at_path(), &seen, true);
    check(ferry_listener_ref(listener) == listener);
    check(ferry_listener_unref(listener) == NULL);
    check_served(listener);
    ferry_listener_unref(listener);
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
        guests seen = {0};
        AT_END(destroy_service) ferry_service *service = service_start(placement);
        ferry_listen_options options = options_for(&seen, on_owner != 0);
        options.on_stream = close_at_once;
        options.limit_streams = 1;
        ferry_listener *listener = listen_with(service, "127.0.0.1:0", options);
        AT_END(close_fd) int fd = dial(listener);
        await_guests(&seen, 1);
        check_hello(fd);
    }
}

PROMISE_BOTH(listening, listener_outlives_its_service_as_a_handle)
{
    ferry_service *service = service_start(placement);
    guests seen = {0};
    AT_END(drop_listener) ferry_listener *listener = listen_at(service, at_path(), &seen, true);
    ferry_promise *closed;
    ferry_service_destroy(service);
    check(access(path(), F_OK) != 0);
    check_eq(ferry_listener_close(listener, &closed), 0);
    check_eq(ferry_promise_await(closed, 0, NULL), 0);
    check_address(listener, at_path());
    ferry_promise_unref(closed);
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
