/* SPDX-License-Identifier: MIT */
/* A listener's side on its owners: accepting, and handing streams to the program. */
#include "transport/reach/listener.h"

#include "core/cancel.h"
#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "transport/reach/adopt.h"
#include "transport/service/service.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ACCEPTOR_OF(pointer, member)                                                               \
    ((ferry__acceptor *)(void *)((char *)(pointer)-offsetof(ferry__acceptor, member)))

enum {
    /* Connections a turn: a flood of them delays the owner's streams by so much. */
    LEAST_BATCH = 16,
    MOST_BATCH = 256,
    LONG_NS = 1000 * 1000, /* and beyond the least no longer than that */
};
/* For so long an owner leaves connections; then it takes one. The other was called, and comes at
 * once if it can. */
static const int64_t PATIENCE = 10 * FERRY__NS_PER_MS;
/* Where handshakes follow it watches again so soon. It may be idle by then, and each is long. */
static const int64_t AWAY = FERRY__NS_PER_MS;
static const int64_t SOONEST_RETRY = 10 * FERRY__NS_PER_MS; /* as soon as an fd may be closed */
static const int64_t LATEST_RETRY = FERRY__NS_PER_S;

/* ---- room within the limits ------------------------------------------------------------------ */

static bool count_in(atomic_uint *count, unsigned most)
{
    unsigned before = atomic_load(count);
    do {
        if (before >= most)
            return false;
    } while (!atomic_compare_exchange_weak(count, &before, before + 1));
    return true;
}

/* Whether streams are handed over to a thread, which may not run its inbox for long. */
static bool is_told_by_mail(const ferry_listener *listener)
{
    return listener->home != NULL;
}

/* Whether its streams may begin with a handshake: on_accept may give one TLS. */
static bool may_shake_hands(const ferry_listener *listener)
{
    return listener->settings->secure != NULL || listener->options.on_accept != NULL;
}

/* Whether what comes between accepting a stream and telling of it may last. */
static bool counts_handovers(const ferry_listener *listener)
{
    return is_told_by_mail(listener) || may_shake_hands(listener);
}

static bool is_bounded(const ferry_listener *listener)
{
    return listener->options.limit_streams > 0 || counts_handovers(listener);
}

static unsigned most_handovers(const ferry_listener *listener)
{
    bool is_by_mail_alone = is_told_by_mail(listener) && listener->settings->secure == NULL;
    return is_by_mail_alone ? FERRY__MOST_HANDOVERS : FERRY__MOST_HANDSHAKES;
}

/* Undoing tells nobody here: all that is handed over tells of its end. */
static bool reserve_room(ferry_listener *listener)
{
    unsigned limit = listener->options.limit_streams;
    if (limit > 0 && !count_in(&listener->streams, limit))
        return false;
    if (!counts_handovers(listener) || count_in(&listener->handovers, most_handovers(listener)))
        return true;
    if (limit > 0)
        atomic_fetch_sub(&listener->streams, 1);
    return false;
}

/* Counts one more stream in. If there is no room a turn follows when there is. */
static bool take_room(ferry__acceptor *acceptor)
{
    ferry_listener *listener = acceptor->listener;
    if (reserve_room(listener))
        return true;
    if (acceptor->waits_for_room)
        return false;
    acceptor->waits_for_room = true;
    /* W0: wish, then look once more. Pairs with N0: one of the two sees the other. */
    atomic_store(&acceptor->wants_room, true);
    if (!reserve_room(listener))
        return false;
    if (atomic_exchange(&acceptor->wants_room, false))
        acceptor->waits_for_room = false; /* else mail is on its way, and does no harm */
    return true;
}

/* After N0: something is not counted any more. */
static void tell_of_room(ferry_listener *listener)
{
    for (unsigned i = 0; i < listener->acceptor_count; i++) {
        ferry__acceptor *acceptor = &listener->acceptors[i];
        if (atomic_load(&acceptor->wants_room) && atomic_exchange(&acceptor->wants_room, false))
            ferry__owner_post(acceptor->owner, &acceptor->room_mail);
    }
}

static void give_room_back(ferry_listener *listener)
{
    if (!is_bounded(listener))
        return;
    if (listener->options.limit_streams > 0)
        atomic_fetch_sub(&listener->streams, 1); /* N0 */
    if (counts_handovers(listener))
        atomic_fetch_sub(&listener->handovers, 1); /* N0 */
    tell_of_room(listener);
}

static ferry_listener *listener_of(const ferry__counter *counter)
{
    return (ferry_listener *)(void *)((char *)(uintptr_t)counter -
                                      offsetof(ferry_listener, counter));
}

bool ferry__listener_is_full(const ferry__counter *counter)
{
    ferry_listener *listener = listener_of(counter);
    return atomic_load(&listener->streams) >= listener->options.limit_streams;
}

void ferry__listener_stream_ended(ferry__counter *counter)
{
    ferry_listener *listener = listener_of(counter);
    atomic_fetch_sub(&listener->streams, 1); /* N0 */
    tell_of_room(listener);
    ferry__listener_unref(listener);
}

/* ---- handing over ---------------------------------------------------------------------------- */

/* A stream on its way to the thread that on_stream is called on. */
typedef struct handover {
    ferry__mail mail;
    ferry_listener *listener; /* a reference */
    ferry_stream *stream;     /* a reference */
    ferry__owner *owner;      /* whose thread it is, a hold; NULL: the listening thread's inbox */
} handover;

static void tell(ferry_listener *listener, ferry_stream *stream)
{
    listener->options.on_stream(listener, stream, listener->options.on_stream_arg);
}

/* On the stream's owner, as a turn of the stream's. */
static void tell_as_turn(ferry_listener *listener, ferry_stream *stream)
{
    ferry__stream_begin_turn(stream);
    ferry__stream_do(stream, "calling on_stream");
    tell(listener, stream);
    ferry__stream_end_turn(stream);
}

/* A stream was told of, or will not be. */
static void end_counted(ferry_listener *listener)
{
    if (!counts_handovers(listener))
        return;
    atomic_fetch_sub(&listener->handovers, 1); /* N0 */
    tell_of_room(listener);
}

static void end_handover(void *arg)
{
    handover *given = arg;
    (void)ferry_stream_unref(given->stream);
    ferry__listener_stop_telling(given->listener);
    if (given->owner != NULL) {
        ferry__listener_conclude(given->listener);
        ferry__owner_release(given->owner);
    }
    end_counted(given->listener);
    ferry__listener_unref(given->listener);
    ferry__release(given);
}

static void deliver_handover(ferry__mail *mail, bool receiver_gone)
{
    handover *given = (handover *)mail;
    pthread_cleanup_push(end_handover, given); /* the callback may end its thread */
    if (receiver_gone)
        ferry__log(FERRY_LOG_WARNING,
                   "a connection is closed: the thread that was to be told of it has ended");
    else if (given->owner != NULL)
        tell_as_turn(given->listener, given->stream);
    else
        tell(given->listener, given->stream);
    pthread_cleanup_pop(1);
}

/* Posts it to the stream's own owner, unless the service has ended and the stream is gone. */
static void post_to_owner(handover *given)
{
    ferry__owner *owner = ferry__owner_ref(given->stream->owner);
    if (ferry__owner_try_hold(owner)) {
        given->owner = owner;
        atomic_fetch_add(&given->listener->unsettled, 1);
        ferry__owner_post(owner, &given->mail);
    } else {
        end_handover(given);
    }
    ferry__owner_unref(owner);
}

/* One more that is on its way to be told of. Any owner: accepting goes on, or is not over yet. */
static void begin_handover(handover *given, ferry_listener *listener)
{
    *given = (handover){
        .mail = {.deliver = deliver_handover},
        .listener = ferry__listener_ref(listener),
    };
    atomic_fetch_add(&listener->telling, 1);
}

/* Undoes that. */
static void undo_handover(handover *given)
{
    ferry__listener_stop_telling(given->listener);
    ferry__listener_unref(given->listener);
    ferry__release(given);
}

/* @param ringer the calling owner's. */
static void post_handover(handover *given, ferry__ringer *ringer)
{
    if (is_told_by_mail(given->listener))
        ferry__inbox_post(given->listener->home, &given->mail, ringer);
    else
        post_to_owner(given);
}

/* Whether a stream is accepted where on_stream is called: then nothing is posted. */
static bool is_told_here(const ferry_listener *listener)
{
    return !is_told_by_mail(listener) && !ferry__service_is_dedicated(listener->service);
}

/* That the program has refused a connection: no errno of any call. */
enum { REFUSED = 1 };

/* Settings of what the program has changed. @return as ask_program. */
static int derive_settings(const ferry__acceptor *acceptor, const ferry_stream_options *options,
                           ferry__settings **ret_settings)
{
    if (ferry__settings_check(options, &acceptor->binding->sort) != 0) {
        ferry__log(FERRY_LOG_ERROR, "a connection is closed: on_accept has left bad options");
        return REFUSED;
    }
    *ret_settings = ferry__settings_derive(acceptor->listener->settings, options);
    if (*ret_settings == NULL)
        return -ENOMEM;
    ferry__settings_commit(*ret_settings);
    return 0;
}

/* What on_accept may change. */
typedef struct question {
    ferry_stream_options options;
    char label[FERRY__LABEL_BYTES + 1]; /* as set: until the stream's settings have copied it */
} question;

static _Thread_local question *being_asked; /* on this owner; NULL: nobody is */

static int call_on_accept(ferry__acceptor *acceptor, int fd, question *asked)
{
    ferry_listener *listener = acceptor->listener;
    ferry__activity_do(&acceptor->owner->activity, "calling on_accept");
    being_asked = asked;
    int answer =
        listener->options.on_accept(listener, fd, &asked->options, listener->options.on_stream_arg);
    being_asked = NULL;
    ferry__activity_do(&acceptor->owner->activity, NULL);
    return answer;
}

/* Lets the program look at a connection. @param ret_settings its stream's: a reference. @return 0;
 * REFUSED; or a negative errno. */
static int ask_program(ferry__acceptor *acceptor, int fd, ferry__settings **ret_settings)
{
    ferry_listener *listener = acceptor->listener;
    ferry_stream_options before;
    question asked;
    memcpy(&before, &listener->settings->options, sizeof before);
    before.on_watermark_release = NULL; /* the listener's: it is released with that */
    memcpy(&asked.options, &before, sizeof before);
    if (call_on_accept(acceptor, fd, &asked) != 0)
        return REFUSED;
    /* Both are copies of the same bytes: what differs the program has changed. */
    if (memcmp((const char *)&asked.options, (const char *)&before, sizeof before) == 0) {
        *ret_settings = ferry__settings_ref(listener->settings);
        return 0;
    }
    int error = derive_settings(acceptor, &asked.options, ret_settings);
    if (error != 0)
        ferry__release_arg(asked.options.on_watermark_release, asked.options.on_watermark_arg);
    return error;
}

int ferry_accept_set_label(ferry_stream_options *options, const char *label)
{
    question *asked = being_asked;
    if (asked == NULL || options != &asked->options)
        return -EINVAL;
    if (label != NULL) {
        size_t length = ferry__text_fit(label, FERRY__LABEL_BYTES);
        memmove(asked->label, label, length); /* it may be the one that was set before */
        asked->label[length] = '\0';
    }
    options->label = label != NULL ? asked->label : NULL;
    return 0;
}

/* What options its stream has. @return as ask_program. */
static int choose_settings(ferry__acceptor *acceptor, int fd, ferry__settings **ret_settings)
{
    ferry_listener *listener = acceptor->listener;
    if (listener->options.on_accept != NULL)
        return ask_program(acceptor, fd, ret_settings);
    *ret_settings = ferry__settings_ref(listener->settings);
    return 0;
}

/* @param handshake its stream's, if there is one; NULL: nobody waits for it. */
static int make_stream(ferry__acceptor *acceptor, int fd, const ferry__endpoint *peer,
                       ferry__settings *settings, const ferry__handshake *handshake,
                       ferry_stream **ret_stream)
{
    ferry_listener *listener = acceptor->listener;
    bool is_counted = listener->options.limit_streams > 0;
    ferry__connected connected = {
        .fd = fd,
        .sort = acceptor->binding->sort,
        .peer = peer,
        .owner = ferry__service_is_dedicated(listener->service) ? NULL : acceptor->owner,
        .handshake = handshake,
        .counter = is_counted ? &ferry__listener_ref(listener)->counter : NULL,
    };
    connected.sort.may_be_framed = listener->options.on_accept != NULL;
    int error = ferry__stream_adopt_connected(listener->service, &connected, settings, ret_stream);
    if (error != 0 && is_counted)
        ferry__listener_unref(listener);
    return error;
}

/* Tells of a stream in a turn of its owner. */
static void tell_here(ferry_listener *listener, ferry_stream *stream)
{
    ferry__stream_do(stream, "calling on_stream");
    tell(listener, stream);
    ferry__stream_do(stream, NULL);
}

/* Counts one more thing that the close promise waits for, unless that waits for nothing more. */
static bool hold_off_closing(ferry_listener *listener)
{
    unsigned before = atomic_load(&listener->unsettled);
    while (before > 0) {
        if (atomic_compare_exchange_weak(&listener->unsettled, &before, before + 1))
            return true;
    }
    return false;
}

/* The stream's owner, in its turn: its handshake is over. Where that has failed, or nobody listens
 * any more, it is closed, and nobody hears of it. */
static void conclude_handshake(ferry__securing *securing, int error)
{
    handover *given = securing->arg;
    ferry_listener *listener = given->listener;
    given->stream = securing->stream;
    if (error != 0 || atomic_load(&listener->is_closing)) {
        given->stream->has_given_up = error != 0; /* its close waits for no room */
        end_handover(given);
    } else if (is_told_by_mail(listener)) {
        post_handover(given, &securing->stream->owner->ringer);
    } else {
        bool is_held = hold_off_closing(listener);
        if (is_held)
            tell_here(listener, given->stream);
        (void)ferry__listener_ref(listener);
        end_handover(given);
        if (is_held)
            ferry__listener_conclude(listener);
        ferry__listener_unref(listener);
    }
}

/* Makes a stream of a connection, which is given to the program after its handshake. */
static int give_after_handshake(ferry__acceptor *acceptor, int fd, const ferry__endpoint *peer,
                                ferry__settings *settings, handover *given)
{
    begin_handover(given, acceptor->listener);
    const ferry__handshake handshake = {.over = conclude_handshake, .arg = given};
    ferry_stream *stream; /* whoever is told has its reference */
    int error = make_stream(acceptor, fd, peer, settings, &handshake, &stream);
    if (error != 0)
        undo_handover(given);
    return error;
}

/* Makes a stream of a connection, and posts it to the thread that is told. */
static int give_by_mail(ferry__acceptor *acceptor, int fd, const ferry__endpoint *peer,
                        ferry__settings *settings, handover *given)
{
    begin_handover(given, acceptor->listener);
    int error = make_stream(acceptor, fd, peer, settings, NULL, &given->stream);
    if (error != 0)
        undo_handover(given);
    else
        post_handover(given, &acceptor->owner->ringer);
    return error;
}

/* Makes a stream of a connection, and tells of it here. */
static int give_here(ferry__acceptor *acceptor, int fd, const ferry__endpoint *peer,
                     ferry__settings *settings)
{
    ferry_stream *stream;
    int error = make_stream(acceptor, fd, peer, settings, NULL, &stream);
    if (error != 0)
        return error;
    tell_here(acceptor->listener, stream);
    (void)ferry_stream_unref(stream);
    end_counted(acceptor->listener);
    return 0;
}

/* Makes a stream of a connection, and gives it to the program. @return 0, or a negative errno, with
 * nothing taken. */
static int give_stream(ferry__acceptor *acceptor, int fd, const ferry__endpoint *peer,
                       ferry__settings *settings)
{
    if (is_told_here(acceptor->listener) && settings->secure == NULL)
        return give_here(acceptor, fd, peer, settings);
    handover *given = ferry__allocate(sizeof *given);
    if (given == NULL)
        return -ENOMEM;
    return settings->secure != NULL ? give_after_handshake(acceptor, fd, peer, settings, given)
                                    : give_by_mail(acceptor, fd, peer, settings, given);
}

/* Has the program see a connection. @return 0; REFUSED; or a negative errno, with nothing taken. */
static int welcome(ferry__acceptor *acceptor, int fd, const ferry__endpoint *peer)
{
    ferry__settings *settings;
    int error = choose_settings(acceptor, fd, &settings);
    if (error != 0)
        return error;
    error = give_stream(acceptor, fd, peer, settings);
    ferry__settings_unref(settings);
    return error;
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void look_again(ferry__acceptor *acceptor, int64_t deadline)
{
    ferry__timers_set(&acceptor->owner->timers, &acceptor->timer, deadline);
}

/* It is not about to look, so others are to be woken. */
static void stop_watching(ferry__acceptor *acceptor)
{
    ferry__poller_unwatch(&acceptor->owner->poller, &acceptor->watch);
}

/* Waits: fds or memory have run out, or ferry knows no better answer to the error. */
static void run_short(ferry__acceptor *acceptor, int error)
{
    if (!atomic_exchange(&acceptor->listener->is_short, true))
        ferry__log(FERRY_LOG_ERROR, "accepting pauses: error %d; trying again until it succeeds",
                   -error);
    stop_watching(acceptor);
    acceptor->leaves_until = 0;
    look_again(acceptor,
               ferry__clock_back_off(&acceptor->patience_ns, SOONEST_RETRY, LATEST_RETRY));
}

static unsigned load_of(const ferry__acceptor *acceptor)
{
    return ferry__owner_load(acceptor->owner);
}

/* Whether its owner is in something that may last, and so may not come soon. */
static bool is_held_up(const ferry__acceptor *acceptor)
{
    ferry__activity_seen seen = ferry__activity_look(&acceptor->owner->activity);
    return seen.subject != NULL && seen.step != NULL;
}

/*
 * The acceptor to leave a connection to: of the least loaded owner that can come. NULL: that owner
 * has hardly less to do.
 */
static ferry__acceptor *find_better(ferry__acceptor *acceptor)
{
    ferry_listener *listener = acceptor->listener;
    unsigned owners = listener->service->owner_count;
    ptrdiff_t number = acceptor - listener->acceptors;
    ferry__acceptor *first = acceptor - number % owners, *least = acceptor; /* of its binding */
    for (ferry__acceptor *other = first; other < first + owners; other++) {
        if (load_of(other) < load_of(least) && !is_held_up(other))
            least = other;
    }
    return ferry__owner_has_hardly_more(acceptor->owner, least->owner) ? NULL : least;
}

/*
 * Any of the listener's owners. Has another acceptor look whether a connection waits. It may have
 * left that connection itself, when it had more to do; then no event of the fd's tells it.
 */
static void call(ferry__acceptor *other)
{
    if (!atomic_exchange(&other->is_called, true)) /* K0; else it will look anyway, or has ended */
        ferry__owner_post(other->owner, &other->call_mail);
}

static void stop_leaving(ferry__acceptor *acceptor)
{
    if (acceptor->leaves_until != 0)
        ferry__timers_cancel(&acceptor->owner->timers, &acceptor->timer);
    acceptor->leaves_until = 0;
}

/* Whether to leave a connection to another, for now. */
static bool leave(ferry__acceptor *acceptor)
{
    bool has_left = acceptor->leaves_until != 0 && ferry__clock_now() >= acceptor->leaves_until;
    ferry__acceptor *better = has_left ? NULL : find_better(acceptor);
    if (better == NULL) {
        stop_leaving(acceptor);
        return false;
    }
    call(better);
    int64_t now = ferry__clock_now();
    if (acceptor->leaves_until == 0) /* else the time runs already: calls do not make it longer */
        acceptor->leaves_until = now + PATIENCE;
    bool is_secure = acceptor->listener->settings->secure != NULL;
    look_again(acceptor, is_secure && now + AWAY < acceptor->leaves_until ? now + AWAY
                                                                          : acceptor->leaves_until);
    return true;
}

static void watch(ferry__acceptor *acceptor)
{
    int error = ferry__owner_await(acceptor->owner, &acceptor->watch, EPOLLIN);
    if (error != 0)
        run_short(acceptor, error);
}

/* Nobody waits to be accepted. */
static void wait_for_more(ferry__acceptor *acceptor)
{
    if (atomic_load_explicit(&acceptor->listener->is_short, memory_order_relaxed))
        atomic_store(&acceptor->listener->is_short, false);
    watch(acceptor);
}

/* Whether the error is about this connection only, which was over before it began (accept(2)). */
static bool is_passing(int error)
{
    switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

/* No connection was accepted. Whether to go on at once. */
static bool cope_with(ferry__acceptor *acceptor, int error)
{
    give_room_back(acceptor->listener);
    if (is_passing(error))
        return true;
    if (error == EAGAIN)
        wait_for_more(acceptor);
    else
        run_short(acceptor, -error);
    return false;
}

/* Whether to go on at once. */
static bool accept_one(ferry__acceptor *acceptor)
{
    ferry_listener *listener = acceptor->listener;
    if (atomic_load(&listener->is_closing) || leave(acceptor) || !take_room(acceptor)) {
        stop_watching(acceptor);
        return false;
    }
    ferry__endpoint peer = {0};
    int fd = ferry__binding_accept(acceptor->binding, listener->calls, &peer);
    if (fd < 0)
        return cope_with(acceptor, errno);
    int error = welcome(acceptor, fd, &peer);
    if (error == 0) {
        acceptor->patience_ns = 0;
        uint64_t accepted = atomic_load_explicit(&acceptor->accepted, memory_order_relaxed) + 1;
        atomic_store_explicit(&acceptor->accepted, accepted, memory_order_relaxed);
        return true;
    }
    (void)ferry__close(fd);
    give_room_back(listener);
    if (error == REFUSED)
        return true;
    if (error != -ESHUTDOWN) /* the service is being destroyed, and this listener closed */
        run_short(acceptor, error);
    return false;
}

/* ---- turns ----------------------------------------------------------------------------------- */

/* Ends it, and perhaps its listener; not while mail is on its way. */
static void end(ferry__acceptor *acceptor)
{
    if (acceptor->waits_for_room && !atomic_exchange(&acceptor->wants_room, false))
        return;
    acceptor->waits_for_room = false;
    if (atomic_exchange(&acceptor->is_called, true)) /* from here on nobody calls it any more */
        return;
    ferry_listener *listener = acceptor->listener;
    ferry__owner *owner = acceptor->owner;
    ferry__poller_unwatch(&owner->poller, &acceptor->watch);
    ferry__timers_cancel(&owner->timers, &acceptor->timer);
    if (ferry__refs_drop(&listener->accepting) == 1) {
        ferry_result *result = &listener->closed.result;
        result->error = ferry__bindings_close(&listener->bindings);
        result->phase = result->error != 0 ? FERRY_PHASE_CLOSE : FERRY_PHASE_DONE;
        ferry__listener_stop_telling(listener);
        ferry__listener_conclude(listener);
    }
    ferry__owner_release(owner);
}

/* From here on turns are counted. */
static void count_turns(ferry__acceptor *acceptor)
{
    acceptor->turns_before = ferry__owner_turns(acceptor->owner);
}

/*
 * How many connections to accept: as many as others had turns since. Who waits to be accepted is a
 * client, too. Beside a thousand busy ones a crowd would else come in so slowly that its last ones
 * wait for seconds.
 */
static unsigned choose_batch(const ferry__acceptor *acceptor)
{
    unsigned turns = ferry__owner_turns(acceptor->owner) - acceptor->turns_before;
    return turns < LEAST_BATCH ? LEAST_BATCH : turns < MOST_BATCH ? turns : MOST_BATCH;
}

static bool has_taken_long(const ferry__acceptor *acceptor)
{
    return ferry__clock_now() - ferry__activity_since(&acceptor->owner->activity) >= LONG_NS;
}

/*
 * With nothing else to do the owner looks at its fds next, which tells whether another connection
 * waits. So it is not asked for in vain. @return whether to go on in another turn.
 */
static bool accept_some(ferry__acceptor *acceptor)
{
    unsigned batch = choose_batch(acceptor);
    for (unsigned i = 0; i < LEAST_BATCH || (i < batch && !has_taken_long(acceptor)); i++) {
        if (!accept_one(acceptor))
            return false;
        if (!ferry__owner_has_more(acceptor->owner)) {
            wait_for_more(acceptor);
            return false;
        }
    }
    count_turns(acceptor);
    return true;
}

static ferry__turn take_turn(ferry__task *task)
{
    ferry__acceptor *acceptor = ACCEPTOR_OF(task, task);
    if (!acceptor->has_started)
        return FERRY__TURN_OVER;
    if (acceptor->is_closing) {
        end(acceptor);
        return FERRY__TURN_OVER;
    }
    return accept_some(acceptor) ? FERRY__TURN_AGAIN : FERRY__TURN_OVER;
}

static void schedule(ferry__acceptor *acceptor)
{
    if (!acceptor->task.scheduled) /* else they are counted already */
        count_turns(acceptor);
    ferry__owner_schedule(acceptor->owner, &acceptor->task);
}

static void deliver_start(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* an owner lives as long as its acceptors */
    ferry__acceptor *acceptor = ACCEPTOR_OF(mail, start_mail);
    acceptor->has_started = true;
    schedule(acceptor);
}

static void deliver_close(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry__acceptor *acceptor = ACCEPTOR_OF(mail, close_mail);
    acceptor->is_closing = true;
    schedule(acceptor);
}

static void deliver_room(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry__acceptor *acceptor = ACCEPTOR_OF(mail, room_mail);
    acceptor->waits_for_room = false;
    schedule(acceptor);
}

static void deliver_call(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone;
    ferry__acceptor *acceptor = ACCEPTOR_OF(mail, call_mail);
    atomic_store(&acceptor->is_called, false); /* K1: before it looks. Pairs with K0 */
    schedule(acceptor);
}

/* Perhaps this owner alone was woken. So the connection does not wait for turns that may last. */
static void be_ready(ferry__watch *watch, uint32_t events)
{
    ferry__acceptor *acceptor = ACCEPTOR_OF(watch, watch);
    (void)events;
    count_turns(acceptor);
    ferry__owner_schedule_first(acceptor->owner, &acceptor->task);
}

static void time_is_up(ferry__timer *timer)
{
    ferry__acceptor *acceptor = ACCEPTOR_OF(timer, timer);
    if (ferry__clock_now() < acceptor->leaves_until) {
        look_again(acceptor, acceptor->leaves_until);
        watch(acceptor); /* it tells whether the connection still waits */
    } else {
        schedule(acceptor);
    }
}

void ferry__acceptor_init(ferry__acceptor *acceptor, ferry_listener *listener,
                          ferry__binding *binding, ferry__owner *owner)
{
    acceptor->listener = listener;
    acceptor->binding = binding;
    acceptor->owner = owner;
    acceptor->room_mail.deliver = deliver_room;
    acceptor->call_mail.deliver = deliver_call;
    acceptor->start_mail.deliver = deliver_start;
    acceptor->close_mail.deliver = deliver_close;
    acceptor->task.turn = take_turn;
    acceptor->watch.fd = binding->fd;
    acceptor->watch.calls = listener->calls;
    acceptor->watch.is_exclusive = true;
    acceptor->watch.ready = be_ready;
    acceptor->timer.fire = time_is_up;
}
