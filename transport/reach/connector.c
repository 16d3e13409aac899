/* SPDX-License-Identifier: MIT */
/*
 * Connecting: from an address to a stream.
 *
 * One of the service's own owners drives a connection under way. The resolver, a cancel, an abort
 * and timers only note what they want and schedule its task. The task's turns do the rest, so that
 * each thing happens in one place, and nothing is freed under anybody.
 *
 *   any thread: ferry_connect -> mail    owner: resolve (by mail to a thread of its own, and back)
 *                                               -> attempts -> the first that is connected: adopt
 *                                               -> the stream's handshake, if there is one
 *                                               -> settle -> end, once no mail is on its way
 *
 * If it is the only one of its service, and nothing but one address is asked for, ferry_connect
 * itself makes the attempt. A peer on this machine has answered by then, and no owner is woken.
 * Else the owner goes on with it. Of several, owners make the attempts side by side.
 *
 * The promise is an allocation of its own, so that one that is kept for long costs little. It
 * points to the connection until that has ended. A cancel can rely on that: if settling hears of a
 * cancel, the connection waits for its mail.
 *
 * The resolver is a supervised owner that lives for one getaddrinfo(3): the front owner starts its
 * thread and joins it.
 */
#include "transport/reach/connector.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/reserved.h"
#include "transport/service/service.h"
#include "transport/reach/adopt.h"

#include <ferry/connect.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECTION_OF(pointer, member)                                                             \
    ((connection *)(void *)((char *)(pointer)-offsetof(connection, member)))

enum {
    MOST_ATTEMPTS = sizeof((ferry__endpoints *)0)->list / sizeof(ferry__endpoint),
    RESOLVER_STACK = 256 * 1024, /* getaddrinfo(3) and whatever modules it loads */
};
static const int64_t NEXT_ATTEMPT =
    250 * FERRY__NS_PER_MS; /* RFC 8305's "Connection Attempt Delay" */
static const int64_t SOONEST_RETRY =
    FERRY__NS_PER_MS; /* of a full backlog: until somebody accepts */
static const int64_t LATEST_RETRY = 100 * FERRY__NS_PER_MS;

/* The promise of a stream. */
typedef struct stream_promise {
    ferry_promise promise;         /* first */
    ferry_service *service;        /* a reference, and counted there */
    struct connection *connection; /* while it can be cancelled */
    ferry_stream *stream;          /* a reference, once it is made; the program's to have once it
                                      has settled with 0 */
} stream_promise;

/* One try of one address. */
typedef struct attempt {
    ferry__watch watch; /* its fd; -1: not begun, or over */
    struct connection *connection;
    bool is_begun; /* by ferry_connect */
    bool is_ready; /* the kernel knows how it went */
    bool is_again; /* it is to be begun once more, when it is time for the next one */
} attempt;

typedef enum state {
    POSTED, /* start_mail is on its way */
    RESOLVING,
    CONNECTING,
    SECURING, /* the stream's handshake: secured_mail will come */
    SETTLED
} state;

typedef struct connection {
    /* Any thread. */
    ferry__mail start_mail;
    ferry__mail cancel_mail;
    ferry__mail abort_mail;
    atomic_bool is_aborted; /* abort_mail was posted; under the service's mutex */
    atomic_uint refs;       /* its own, until it has ended; and each dump's that looks at it */
    atomic_uint state;      /* written by the owner, as the next one is */
    _Atomic int64_t state_since;

    /* Set at submit. */
    stream_promise *promised; /* a reference to its promise */
    ferry_service *service;   /* a reference */
    ferry__member member;     /* of the service, until it settles */
    ferry__owner *owner;      /* a hold */
    ferry__calls *calls;
    ferry__settings *settings; /* the stream's: a reference */
    ferry_callback *on_owner;
    void *on_owner_arg;
    ferry_release *on_owner_release; /* or NULL */
    ferry_socket_callback *on_socket;
    void *on_socket_arg;
    ferry_release *on_socket_release; /* or NULL */
    ferry__endpoint source;           /* size 0: none */
    int64_t deadline;
    ferry__address address;
    ferry__endpoints
        endpoints; /* the resolver's, where there is one, until it posts resolved_mail */

    /* The resolver's. */
    ferry__owner *resolver; /* a reference and a hold, while it works */
    ferry__mail resolve_mail;
    ferry__mail resolved_mail;
    int resolve_error;

    /* The stream's owner's, until it posts secured_mail. */
    ferry__mail secured_mail;
    int secure_error;

    /* The owner's. */
    ferry__task task;
    ferry__timer deadline_timer;
    ferry__timer next_timer; /* when to begin the next attempt, or the same one again */
    unsigned mails_due;      /* that are to come before it may end */
    bool needs_resolver;
    bool is_resolved;
    bool is_secured;   /* or not: the handshake is over */
    bool is_cancelled; /* by its promise, or with its service */
    bool is_timed_out;
    bool cancel_came;
    bool abort_came;
    bool is_next_due; /* the next attempt is to begin */
    unsigned next;    /* which one that is */
    unsigned under_way;
    int64_t retry_patience_ns;
    int error; /* of what has failed so far, the most telling */
    ferry_phase error_phase;
    attempt attempts[MOST_ATTEMPTS];
} connection;

/* ---- memory ---------------------------------------------------------------------------------- */

static void destroy_promise(ferry_promise *promise)
{
    stream_promise *self = (stream_promise *)(void *)promise;
    (void)ferry_stream_unref(self->stream);
    atomic_fetch_sub(&self->service->connects, 1);
    ferry__service_unref(self->service);
    ferry__release(self);
}

static void unref(connection *self)
{
    if (ferry__refs_drop(&self->refs) != 1)
        return;
    ferry__settings_unref(self->settings);
    ferry__service_unref(self->service);
    ferry__release(self);
}

static void enter(connection *self, state next)
{
    atomic_store(&self->state_since, ferry__clock_now());
    atomic_store(&self->state, next);
}

/* ---- attempts -------------------------------------------------------------------------------- */

/* Whether an error says little, namely that there is no way there at all. */
static bool says_little(int error)
{
    switch (error) {
    case -EAFNOSUPPORT:
    case -EADDRNOTAVAIL:
    case -ENETUNREACH:
    case -EHOSTUNREACH:
        return true;
    default:
        return false;
    }
}

static void note_error(connection *self, int error, ferry_phase phase)
{
    if (self->error != 0 && says_little(error) && !says_little(self->error))
        return;
    self->error = error;
    self->error_phase = phase;
}

/* Stops watching an attempt. @return its fd, which is the caller's. */
static int take_fd(connection *self, attempt *try)
{
    int fd = try->watch.fd;
    ferry__poller_unwatch(&self->owner->poller, &try->watch);
    try->watch.fd = -1;
    try->is_ready = try->is_again = false;
    return fd;
}

/* Closes an attempt's socket, if it has one. */
static void drop(connection *self, attempt *try)
{
    if (try->watch.fd >= 0)
        (void)ferry__close(take_fd(self, try));
}

static const ferry__endpoint *endpoint_of(const connection *self, const attempt *try)
{
    return &self->endpoints.list[try - self->attempts];
}

static bool is_local(const ferry__endpoint *endpoint)
{
    return endpoint->address.any.sa_family == AF_UNIX;
}

/* Has its own address, and what the program wants of it. */
static int set_up_socket(const connection *self, int fd, const ferry__endpoint *peer)
{
    const ferry__endpoint *source = &self->source;
    if (source->size > 0 && source->address.any.sa_family != peer->address.any.sa_family)
        return -EAFNOSUPPORT;
    if (source->size > 0) {
        const int on = 1; /* the port is chosen for the peer: many connections may share one */
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, &source->address.any, source->size) < 0)
            return -errno;
    }
    if (self->on_socket == NULL)
        return 0;
    ferry__activity_do(&self->owner->activity, "calling on_socket");
    int error = self->on_socket(fd, self->on_socket_arg);
    ferry__activity_do(&self->owner->activity, NULL);
    /* These say other things of a connect. */
    return error > 0 || error == -ECANCELED || error == -ESHUTDOWN ? -EINVAL : error;
}

static int make_socket(const connection *self, const ferry__endpoint *peer)
{
    int fd = socket(peer->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int error = fd < 0 ? -errno : set_up_socket(self, fd, peer);
    if (error == 0)
        return fd;
    if (fd >= 0)
        (void)ferry__close(fd);
    return error;
}

/* ---- settling -------------------------------------------------------------------------------- */

static void stop_attempts(connection *self)
{
    for (unsigned i = 0; i < MOST_ATTEMPTS; i++)
        drop(self, &self->attempts[i]);
    ferry__timers_cancel(&self->owner->timers, &self->next_timer);
}

static void note_result(ferry_promise *promise, int error, ferry_phase phase)
{
    promise->result.error = error;
    promise->result.phase = phase;
    promise->result.active_ns = ferry__clock_now() - ferry__promise_created(promise);
}

/* Gives the promise its outcome. What was on its way to this connection is still waited for. */
static void settle(connection *self, int error, ferry_phase phase)
{
    stop_attempts(self);
    ferry__timers_cancel(&self->owner->timers, &self->deadline_timer);
    enter(self, SETTLED);
    ferry_promise *promise = &self->promised->promise;
    if (error == -ESHUTDOWN)
        error = -ECANCELED; /* the service is being destroyed */
    if (error == -ECANCELED)
        promise->result.cause = self->cancel_came ? FERRY_CAUSE_CANCEL : FERRY_CAUSE_DESTROY;
    note_result(promise, error, phase);
    if (self->on_owner != NULL) {
        ferry__activity_do(&self->owner->activity, "calling on_owner");
        ferry__promise_tell(promise, self->on_owner, self->on_owner_arg);
        ferry__activity_do(&self->owner->activity, NULL);
    }
    ferry__release_arg(self->on_owner_release, self->on_owner_arg);
    ferry__release_arg(self->on_socket_release, self->on_socket_arg);
    if (ferry__promise_settle(promise, &self->owner->ringer) && !self->cancel_came)
        self->mails_due++;
    /* Only now: on_owner's call is shown under the member's name, and a stop waits for it. */
    ferry__service_forget(self->service, &self->member);
    if (atomic_load(&self->is_aborted) && !self->abort_came)
        self->mails_due++;
    (void)ferry_promise_unref(promise);
}

/* What it was at when it was called off. */
static ferry_phase phase_of(const connection *self)
{
    if (self->state == RESOLVING)
        return FERRY_PHASE_RESOLVE;
    if (self->state == SECURING)
        return FERRY_PHASE_SECURE;
    bool has_begun = self->state == CONNECTING || self->attempts[0].watch.fd >= 0 || self->next > 0;
    return has_begun ? FERRY_PHASE_CONNECT : FERRY_PHASE_QUEUE;
}

/* Gets a name of a socket's: its own, or its peer's. */
typedef int get_name(int fd, struct sockaddr *restrict name, socklen_t *restrict size);

static bool look_up(int fd, get_name *get, ferry__endpoint *ret_name)
{
    *ret_name = (ferry__endpoint){.size = sizeof ret_name->address};
    return get(fd, &ret_name->address.any, &ret_name->size) == 0;
}

/*
 * Whether a TCP socket is connected to itself: nobody listened at the port, and the kernel chose
 * just that port for the socket's own end.
 */
static bool is_own_peer(int fd, const ferry__endpoint *peer)
{
    ferry__endpoint own;
    return !is_local(peer) && look_up(fd, getsockname, &own) && own.size == peer->size &&
           memcmp(&own.address, &peer->address, own.size) == 0;
}

/* The stream's owner. */
static void note_secured(ferry__securing *securing, int error)
{
    connection *self = securing->arg;
    self->secure_error = error;
    ferry__owner_post_last(self->owner, &self->secured_mail);
}

/* Its stream is made, or is not. */
static void note_stream(connection *self, int fd, int error)
{
    if (error != 0)
        (void)ferry__close(fd);
    if (error != 0 || self->settings->secure == NULL) {
        settle(self, error, error != 0 ? FERRY_PHASE_SOCKET : FERRY_PHASE_DONE);
        return;
    }
    stop_attempts(self);
    self->mails_due++; /* secured_mail */
    enter(self, SECURING);
}

static ferry__handshake handshake_of(connection *self)
{
    bool has_host = self->address.kind == FERRY__ADDRESS_HOST && self->address.host[0] != '\0';
    return (ferry__handshake){
        .host = has_host ? self->address.host : NULL, .over = note_secured, .arg = self};
}

/* A socket is connected. @param owner as ferry__connected has it */
static int adopt(connection *self, const attempt *try, int fd, ferry__owner *owner)
{
    const ferry__endpoint *peer = endpoint_of(self, try);
    const ferry__handshake handshake = handshake_of(self);
    const ferry__connected connected = {
        .fd = fd,
        .handshake = &handshake,
        .sort = {.is_tcp = !is_local(peer),
                 .outlet = is_local(peer) ? FERRY__OUTLET_UNIX : FERRY__OUTLET_TCP,
                 .may_be_framed = self->on_socket != NULL},
        .peer = peer,
        .owner = owner,
    };
    return ferry__stream_adopt_connected(self->service, &connected, self->settings,
                                         &self->promised->stream);
}

static void succeed(connection *self, attempt *try)
{
    int fd = take_fd(self, try);
    bool is_dedicated = ferry__service_is_dedicated(self->service);
    note_stream(self, fd, adopt(self, try, fd, is_dedicated ? NULL : self->owner));
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void begin_next_at(connection *self, int64_t deadline)
{
    self->is_next_due = false;
    ferry__timers_set(&self->owner->timers, &self->next_timer, deadline);
}

/* Waits for the attempt to succeed or fail; if that takes long the next one is begun beside it. */
static void wait_for(connection *self, attempt *try)
{
    int error = ferry__owner_watch(self->owner, &try->watch, EPOLLOUT);
    if (error != 0) {
        drop(self, try);
        note_error(self, error, FERRY_PHASE_CONNECT);
        return;
    }
    self->under_way++;
    begin_next_at(self, ferry__clock_now() + NEXT_ATTEMPT);
}

/* Begins the same attempt once more, after a while. */
static void retry(connection *self, attempt *try)
{
    try->is_again = true;
    self->under_way++;
    begin_next_at(self,
                  ferry__clock_back_off(&self->retry_patience_ns, SOONEST_RETRY, LATEST_RETRY));
}

/* @param peer what the socket is connected to */
static void check_peer(connection *self, attempt *try, const ferry__endpoint *peer)
{
    if (is_own_peer(try->watch.fd, peer)) {
        const struct linger reset = {.l_onoff = 1}; /* a reset frees its port at once */
        (void)setsockopt(try->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        drop(self, try);
        note_error(self, -ECONNREFUSED, FERRY_PHASE_CONNECT);
        self->is_next_due = true;
    } else {
        succeed(self, try);
    }
}

/* A socket says that it is connected. */
static void check_connected(connection *self, attempt *try)
{
    ferry__endpoint peer;
    if (look_up(try->watch.fd, getpeername, &peer))
        check_peer(self, try, &peer);
    else
        retry(self, try); /* a script said so, and the call was not made */
}

/* It is under way; but a peer on this machine has answered by now. */
static void check_or_wait(connection *self, attempt *try)
{
    ferry__endpoint peer;
    if (look_up(try->watch.fd, getpeername, &peer))
        check_peer(self, try, &peer);
    else
        wait_for(self, try);
}

/* @return 0; -EINPROGRESS: it is under way. */
static int call_connect(const connection *self, const attempt *try)
{
    const ferry__endpoint *peer = endpoint_of(self, try);
    int result = self->calls->connect(self->calls, try->watch.fd, &peer->address.any, peer->size);
    if (result == 0)
        return 0;
    return errno == EINTR ? -EINPROGRESS : -errno;
}

/* @return whether it has a socket. */
static bool give_socket(connection *self, attempt *try)
{
    if (try->watch.fd >= 0)
        return true;
    int fd = make_socket(self, endpoint_of(self, try));
    if (fd < 0)
        note_error(self, fd, FERRY_PHASE_SOCKET);
    else
        try->watch.fd = fd;
    return fd >= 0;
}

static void begin(connection *self, attempt *try)
{
    try->is_again = false;
    if (!give_socket(self, try))
        return;
    int error = try->is_begun ? -EINPROGRESS : call_connect(self, try);
    try->is_begun = false;
    if (error == 0) {
        check_connected(self, try);
    } else if (error == -EINPROGRESS) {
        check_or_wait(self, try);
    } else if (error == -EAGAIN) {
        retry(self, try);
    } else {
        drop(self, try);
        note_error(self, error, FERRY_PHASE_CONNECT);
    }
}

/* The kernel says how an attempt went. */
static void conclude(connection *self, attempt *try)
{
    int error = 0;
    socklen_t size = sizeof error;
    self->under_way--;
    try->is_ready = false;
    if (getsockopt(try->watch.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        error = errno;
    if (error == 0) {
        check_connected(self, try);
        return;
    }
    drop(self, try);
    note_error(self, -error, FERRY_PHASE_CONNECT);
    self->is_next_due = true; /* at once */
}

/* Those that are to be begun once more. */
static void begin_again(connection *self)
{
    for (unsigned i = 0; i < MOST_ATTEMPTS && self->state == CONNECTING; i++) {
        if (!self->attempts[i].is_again)
            continue;
        self->under_way--;
        begin(self, &self->attempts[i]);
    }
}

static void go_on_connecting(connection *self)
{
    for (unsigned i = 0; i < MOST_ATTEMPTS && self->state == CONNECTING; i++) {
        if (self->attempts[i].is_ready)
            conclude(self, &self->attempts[i]);
    }
    if (self->is_next_due)
        begin_again(self);
    while (self->state == CONNECTING && self->is_next_due && self->next < self->endpoints.count)
        begin(self, &self->attempts[self->next++]);
    bool is_over = self->under_way == 0 && self->next == self->endpoints.count;
    if (self->state == CONNECTING && is_over)
        settle(self, self->error, self->error_phase);
}

static void start_connecting(connection *self)
{
    enter(self, CONNECTING);
    self->is_next_due = true;
    go_on_connecting(self);
}

/* ---- resolving ------------------------------------------------------------------------------- */

/* On the resolver's thread; if there is none to be had, on the front owner's, in its name. */
static void resolve(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    connection *self = CONNECTION_OF(mail, resolve_mail);
    ferry__owner *resolver = self->resolver;
    self->resolve_error = resolver->start_error;
    if (self->resolve_error == 0)
        self->resolve_error =
            ferry__address_resolve(&self->address, false, FERRY__EVERYWHERE, &self->endpoints);
    /* From here on the connection may be gone. */
    ferry__owner_post_last(self->owner, &self->resolved_mail);
    ferry__owner_release(resolver);
    ferry__owner_unref(resolver);
}

static void start_resolving(connection *self)
{
    enter(self, RESOLVING);
    int error = ferry__service_make_owner(self->service, "ferry-resolve", RESOLVER_STACK,
                                          self->calls, &self->resolver);
    if (error != 0) {
        settle(self, error, FERRY_PHASE_RESOLVE);
        return;
    }
    self->mails_due++;
    ferry__owner_post(self->resolver, &self->resolve_mail);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void adopt_given(connection *self)
{
    int fd = self->address.number;
    const ferry__handshake handshake = handshake_of(self);
    int error = ferry__stream_adopt_fd(self->service, fd, self->settings, &handshake,
                                       &self->promised->stream);
    note_stream(self, fd, error);
}

static void start(connection *self)
{
    if (self->deadline != FERRY__NEVER)
        ferry__timers_set(&self->owner->timers, &self->deadline_timer, self->deadline);
    if (self->address.kind == FERRY__ADDRESS_FD)
        adopt_given(self);
    else if (self->needs_resolver)
        start_resolving(self);
    else
        start_connecting(self);
}

static void call_off(connection *self, int error)
{
    if (self->state == POSTED && self->address.kind == FERRY__ADDRESS_FD)
        (void)ferry__close(self->address.number);
    if (self->state == SECURING) /* whose handshake then ends, and is told of */
        ferry__stream_abort(self->promised->stream, FERRY_CAUSE_ABORT);
    settle(self, error, phase_of(self));
}

/* The handshake is over. A stream that has failed says so to its peer, and is closed. */
static void conclude_securing(connection *self)
{
    int error = self->secure_error;
    if (error != 0)
        (void)ferry_stream_close(self->promised->stream, NULL);
    settle(self, error, error != 0 ? FERRY_PHASE_SECURE : FERRY_PHASE_DONE);
}

static void advance(connection *self)
{
    if (self->is_cancelled)
        call_off(self, -ECANCELED);
    else if (self->is_timed_out)
        call_off(self, -ETIMEDOUT);
    else if (self->state == POSTED)
        start(self);
    else if (self->state == CONNECTING)
        go_on_connecting(self);
    else if (self->state == SECURING && self->is_secured)
        conclude_securing(self);
    else if (self->state == SECURING)
        return;
    else if (self->is_resolved && self->resolve_error != 0)
        settle(self, self->resolve_error, FERRY_PHASE_RESOLVE);
    else if (self->is_resolved)
        start_connecting(self);
}

static ferry__turn take_turn(ferry__task *task)
{
    connection *self = CONNECTION_OF(task, task);
    if (self->state != SETTLED)
        advance(self);
    if (self->state == SETTLED && self->mails_due == 0) {
        ferry__owner_release(self->owner);
        unref(self);
    }
    return FERRY__TURN_OVER;
}

/* ---- what schedules a turn ------------------------------------------------------------------- */

static void schedule(connection *self)
{
    ferry__owner_schedule(self->owner, &self->task);
}

/* A mail has come, or will not come: it is waited for no more. */
static void note_mail(connection *self, bool *ret_came)
{
    if (self->state == SETTLED)
        self->mails_due--;
    else
        *ret_came = true;
    schedule(self);
}

static void deliver_start(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* an owner lives as long as what it drives */
    connection *self = CONNECTION_OF(mail, start_mail);
    self->mails_due--;
    schedule(self);
}

static void deliver_cancel(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    connection *self = CONNECTION_OF(mail, cancel_mail);
    self->is_cancelled = true;
    note_mail(self, &self->cancel_came);
}

static void deliver_abort(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    connection *self = CONNECTION_OF(mail, abort_mail);
    self->is_cancelled = true;
    note_mail(self, &self->abort_came);
}

static void deliver_resolved(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    connection *self = CONNECTION_OF(mail, resolved_mail);
    self->mails_due--;
    self->is_resolved = true;
    schedule(self);
}

static void deliver_secured(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    connection *self = CONNECTION_OF(mail, secured_mail);
    self->mails_due--;
    self->is_secured = true;
    schedule(self);
}

static void be_ready(ferry__watch *watch, uint32_t events)
{
    (void)events; /* whatever it is, SO_ERROR tells */
    attempt *try = (attempt *)(void *)((char *)watch - offsetof(attempt, watch));
    try->is_ready = true;
    schedule(try->connection);
}

static void next_is_due(ferry__timer *timer)
{
    connection *self = CONNECTION_OF(timer, next_timer);
    self->is_next_due = true;
    schedule(self);
}

static void time_is_up(ferry__timer *timer)
{
    connection *self = CONNECTION_OF(timer, deadline_timer);
    self->is_timed_out = true;
    schedule(self);
}

/* ---- any thread ------------------------------------------------------------------------------ */

static void cancel(ferry_promise *promise)
{
    connection *self = ((stream_promise *)(void *)promise)->connection;
    ferry__owner_post_last(self->owner, &self->cancel_mail);
}

static const ferry__promise_type stream_type = {.destroy = destroy_promise, .cancel = cancel};

static void abort_member(ferry__member *member)
{
    connection *self = CONNECTION_OF(member, member);
    if (!atomic_exchange(&self->is_aborted, true))
        ferry__owner_post(self->owner, &self->abort_mail);
}

static void ref_member(ferry__member *member)
{
    atomic_fetch_add_explicit(&CONNECTION_OF(member, member)->refs, 1, memory_order_relaxed);
}

static void unref_member(ferry__member *member)
{
    unref(CONNECTION_OF(member, member));
}

static const connection *connection_of(const ferry__member *member)
{
    return CONNECTION_OF((uintptr_t)member, member);
}

static bool is_subject(const ferry__member *member, const void *subject)
{
    return subject == &connection_of(member)->task;
}

static void add_name(const ferry__member *member, ferry__line *line)
{
    const connection *self = connection_of(member);
    char address[sizeof(ferry__address)];
    (void)ferry__address_format(&self->address, address, sizeof address);
    ferry__line_add(line, "connect %s", address);
    ferry__line_add_label(line, self->settings->options.label);
}

static bool add_state(ferry__member *member, ferry__line *line)
{
    static const char *const names[] = {[POSTED] = "not begun",
                                        [RESOLVING] = "looks up the name",
                                        [CONNECTING] = "connects",
                                        [SECURING] = "waits for the handshake"};
    connection *self = CONNECTION_OF(member, member);
    unsigned now = atomic_load(&self->state);
    if (now == SETTLED)
        return false;
    ferry__line_add(line, "%s", names[now]);
    ferry__line_add_age(line, atomic_load(&self->state_since));
    return true;
}

static const ferry__member_type connection_member = {
    .close = abort_member, /* nothing of it has to be done first */
    .abort = abort_member,
    .ref = ref_member,
    .unref = unref_member,
    .is_subject = is_subject,
    .add_name = add_name,
    .add_state = add_state,
};

static void init_attempts(connection *self)
{
    for (unsigned i = 0; i < MOST_ATTEMPTS; i++)
        self->attempts[i] = (attempt){
            .watch = {.fd = -1, .calls = self->calls, .ready = be_ready},
            .connection = self,
        };
}

static void init(connection *self, ferry_service *service, const ferry_connect_options *options)
{
    self->start_mail.deliver = deliver_start;
    self->cancel_mail.deliver = deliver_cancel;
    self->abort_mail.deliver = deliver_abort;
    self->resolve_mail.deliver = resolve;
    self->resolved_mail.deliver = deliver_resolved;
    self->secured_mail.deliver = deliver_secured;
    self->service = ferry__service_ref(service);
    self->member.type = &connection_member;
    self->calls = ferry__stream_choose_calls(self->settings, service);
    atomic_init(&self->refs, 1);
    enter(self, POSTED);
    self->on_owner = options->on_owner;
    self->on_owner_arg = options->on_owner_arg;
    self->on_owner_release = options->on_owner_release;
    self->on_socket = options->on_socket;
    self->on_socket_arg = options->on_socket_arg;
    self->on_socket_release = options->on_socket_release;
    self->deadline =
        options->timeout_ms > 0 ? ferry__clock_deadline(options->timeout_ms) : FERRY__NEVER;
    self->task.turn = take_turn;
    self->deadline_timer.fire = time_is_up;
    self->next_timer.fire = next_is_due;
    self->mails_due = 1; /* start_mail */
    init_attempts(self);
}

/* Makes everything but its owner. Takes nothing but memory. */
static int create(ferry_service *service, const ferry_connect_options *options, ferry__inbox *home,
                  connection **ret_connection)
{
    stream_promise *promised = ferry__allocate_zeroed(sizeof *promised);
    connection *self = ferry__allocate_zeroed(sizeof *self);
    ferry__settings *settings = ferry__settings_create(options->stream);
    if (promised == NULL || self == NULL || settings == NULL) {
        ferry__settings_unref(settings);
        ferry__release(promised);
        ferry__release(self);
        return -ENOMEM;
    }
    ferry__promise_init(&promised->promise, home, &stream_type);
    ferry__promise_set_created(&promised->promise, ferry__clock_now());
    promised->service = ferry__service_ref(service);
    atomic_fetch_add(&service->connects, 1);
    promised->connection = self;
    self->promised = promised;
    self->settings = settings;
    init(self, service, options);
    *ret_connection = self;
    return 0;
}

/* Undoes create. */
static void discard(connection *self)
{
    (void)ferry_promise_unref(&self->promised->promise);
    unref(self);
}

/* What the socket is to be bound to. @param ret_source zeroed */
static int find_source(const char *text, ferry__endpoint *ret_source)
{
    if (text == NULL)
        return 0;
    ferry__address address;
    ferry__endpoints found;
    int error = ferry__address_parse(text, &address);
    if (error != 0)
        return error;
    if (address.kind != FERRY__ADDRESS_HOST || address.host[0] == '\0')
        return -EINVAL;
    error = ferry__address_resolve(&address, true, FERRY__NUMERIC_ONLY, &found);
    if (error != 0)
        return error == -ENOMEM ? error : -EINVAL;
    *ret_source = found.list[0];
    return 0;
}

/* Finds out as much about the address as can be had without waiting. */
static int prepare(connection *self)
{
    if (self->address.kind == FERRY__ADDRESS_FD)
        return fcntl(self->address.number, F_SETFD, FD_CLOEXEC) == 0 ? 0 : -EBADF;
    int error =
        ferry__address_resolve(&self->address, false, FERRY__NUMERIC_ONLY, &self->endpoints);
    self->needs_resolver = error == -EAGAIN;
    return self->needs_resolver ? 0 : error;
}

/* ---- at once --------------------------------------------------------------------------------- */

/* Whether ferry_connect itself makes the attempt: there is one, and no callback is to run on an
 * owner. */
static bool is_for_caller(const connection *self)
{
    bool calls_back = self->on_owner != NULL || self->on_owner_release != NULL ||
                      self->on_socket != NULL || self->on_socket_release != NULL;
    return self->endpoints.count == 1 && !calls_back && self->settings->secure == NULL &&
           atomic_load(&self->service->connects) == 1;
}

/*
 * Before it joins, on the calling thread. Makes the attempt, as far as that can be done without
 * waiting; the owner goes on from there.
 * @return whether it is connected.
 */
static bool is_connected_at_once(connection *self, attempt *try)
{
    FERRY__HOLD_OFF_CANCEL(); /* connect(2) is such a point */
    ferry__endpoint peer;
    if (!give_socket(self, try)) {
        self->next = 1;
        return false;
    }
    int error = call_connect(self, try);
    if (error == 0 || error == -EINPROGRESS) {
        bool has_answered = look_up(try->watch.fd, getpeername, &peer);
        try->is_begun = has_answered || error == -EINPROGRESS; /* else a script said so */
        return has_answered && !is_own_peer(try->watch.fd, &peer);
    }
    if (error != -EAGAIN) {
        drop(self, try);
        note_error(self, error, FERRY_PHASE_CONNECT);
        self->next = 1;
    }
    return false;
}

/* It is connected, and nobody else knows of it. @return 0, -ESHUTDOWN. */
static int settle_at_once(connection *self, attempt *try)
{
    int fd = try->watch.fd;
    try->watch.fd = -1;
    int error = adopt(self, try, fd, NULL);
    if (error != 0)
        (void)ferry__close(fd);
    if (error == -ESHUTDOWN)
        return error;
    ferry__settings_commit(self->settings);
    ferry_promise *promise = &self->promised->promise;
    note_result(promise, error, error != 0 ? FERRY_PHASE_SOCKET : FERRY_PHASE_DONE);
    (void)ferry__promise_settle(promise, NULL);
    return 0;
}

/* ---- launching ------------------------------------------------------------------------------- */

/* Has its owner begin, or go on: from then on it is the owner's. */
static int join(connection *self)
{
    int error = ferry__service_remember(self->service, &self->member);
    if (error != 0)
        return error;
    ferry__settings_commit(self->settings);
    ferry__owner_post_last(self->owner, &self->start_mail);
    return 0;
}

/*
 * The last that can fail. @param ret_is_settled whether that is all: the connection is the caller's
 * to discard. Else, without an error, it is its owner's. @return 0, -ESHUTDOWN.
 */
static int launch(connection *self, bool *ret_is_settled)
{
    attempt *try = &self->attempts[0];
    int error = ferry__service_choose_owner(self->service, &self->owner);
    if (error != 0)
        return error;
    *ret_is_settled = is_for_caller(self) && is_connected_at_once(self, try);
    error = *ret_is_settled ? settle_at_once(self, try) : join(self);
    if (error == 0 && !*ret_is_settled)
        return 0;
    if (error != 0)
        drop(self, try);
    ferry__owner_release(self->owner);
    return error;
}

static int check_options(const ferry_connect_options *options)
{
    if (options->timeout_ms < 0)
        return -EINVAL;
    if (FERRY__IS_NEWER(options))
        return -E2BIG;
    return ferry__settings_check(options->stream, NULL);
}

static int connect_to(ferry_service *service, const ferry__address *address,
                      const ferry_connect_options *options, ferry_promise **ret_promise)
{
    ferry__inbox *home;
    int error = ferry__find_home(ret_promise != NULL, &home);
    if (error != 0)
        return error;
    connection *self;
    error = create(service, options, home, &self);
    if (error != 0)
        return error;
    self->address = *address;
    /* Before it joins: from then on it may be aborted, and settle. */
    ferry_promise *promise = ferry__promise_ref_unshared(&self->promised->promise);
    error = find_source(options->source, &self->source);
    if (error == 0)
        error = prepare(self);
    bool is_settled = false;
    if (error == 0)
        error = launch(self, &is_settled);
    if (error != 0 || is_settled)
        discard(self);
    if (error == 0 && ret_promise != NULL)
        *ret_promise = promise;
    else
        (void)ferry_promise_unref(promise);
    return error;
}

int ferry_connect(ferry_service *service, const char *address, const ferry_connect_options *options,
                  ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    static const ferry_connect_options defaults;
    if (service == NULL || address == NULL)
        return -EINVAL;
    if (ferry__service_is_foreign(service))
        return -ECHILD;
    if (options == NULL)
        options = &defaults;
    ferry__address parsed;
    int error = check_options(options);
    if (error == 0)
        error = ferry__address_parse(address, &parsed);
    if (error == 0 && parsed.kind == FERRY__ADDRESS_SYSTEMD)
        error = -EINVAL;
    return error != 0 ? error : connect_to(service, &parsed, options, ret_promise);
}

int ferry_promise_get_stream(ferry_promise *promise, ferry_stream **ret_stream)
{
    if (promise == NULL || ret_stream == NULL || promise->type != &stream_type)
        return -EINVAL;
    if (ferry_promise_await(promise, 0, NULL) != 0)
        return -EBUSY;
    ferry_stream *stream = ((stream_promise *)(void *)promise)->stream;
    if (promise->result.error != 0)
        return -ENODATA;
    *ret_stream = ferry_stream_ref(stream);
    return 0;
}

int ferry__connect_get_failed(ferry_promise *promise, ferry_stream **ret_stream)
{
    if (promise == NULL || promise->type != &stream_type)
        return -EINVAL;
    if (ferry_promise_await(promise, 0, NULL) != 0)
        return -EBUSY;
    const ferry_result *result = &promise->result;
    ferry_stream *stream = ((stream_promise *)(void *)promise)->stream;
    if (result->error == 0 || result->phase != FERRY_PHASE_SECURE || stream == NULL)
        return -ENODATA;
    *ret_stream = stream;
    return 0;
}
