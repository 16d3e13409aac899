/* SPDX-License-Identifier: MIT */
#include "transport/stream/stream.h"

#include "core/clock.h"
#include "core/handover.h"
#include "core/hooks.h"
#include "core/thread.h"
#include "transport/stream/detached.h"

#include <errno.h>
#include <sys/socket.h>

/* ---- references ------------------------------------------------------------------------------ */

static void free_batches(ferry__batches *batches)
{
    if (batches == NULL)
        return;
    (void)pthread_mutex_destroy(&batches->opening);
    ferry__release(batches);
}

ferry__pace *ferry__pace_create(ferry_stream *stream, ferry_limiter *limiter, uint64_t free_bytes)
{
    ferry__pace *pace = ferry__allocate_zeroed(sizeof *pace);
    if (pace == NULL)
        return NULL;
    pace->stream = stream;
    pace->allotment.limiter = ferry_limiter_ref(limiter);
    pace->free_bytes = free_bytes;
    return pace;
}

void ferry__pace_free(ferry__pace *pace)
{
    if (pace == NULL)
        return;
    (void)ferry_limiter_unref(pace->allotment.limiter);
    ferry__release(pace);
}

void ferry__stream_free(ferry_stream *stream)
{
    free_batches(atomic_load(&stream->batches));
    ferry__incoming *incoming = atomic_load(&stream->incoming);
    if (incoming != NULL)
        incoming->free(incoming);
    if (stream->watermark != NULL)
        ferry__notice_deinit(&stream->watermark->notice);
    ferry__pace_free(stream->pace);
    ferry__release(stream->source_watch);
    ferry__link_forget(&stream->link);
    ferry__release_arg(stream->data_release, atomic_load(&stream->data));
    ferry__settings_unref(stream->settings);
    (void)ferry_promise_unref(&stream->close_request->promise);
    ferry__release(stream);
}

ferry_stream *ferry__stream_ref(ferry_stream *stream)
{
    atomic_fetch_add_explicit(&stream->refs, 1, memory_order_relaxed);
    return stream;
}

void ferry__stream_unref(ferry_stream *stream)
{
    if (ferry__refs_drop(&stream->refs) != 1)
        return;
    ferry__owner_unref(stream->owner);
    ferry__service_unref(stream->service);
    ferry__stream_free(stream);
}

ferry_stream *ferry_stream_ref(ferry_stream *stream)
{
    /* A callback may get a stream whose last handle another thread has just given back. It is
     * closed then, and may be kept all the same. */
    if (stream != NULL && atomic_fetch_add_explicit(&stream->users, 1, memory_order_relaxed) == 0)
        (void)ferry__stream_ref(stream);
    return stream;
}

ferry_stream *ferry_stream_unref(ferry_stream *stream)
{
    FERRY__REPORT_CALLER();
    if (stream == NULL)
        return NULL;
    unsigned before = ferry__refs_drop(&stream->users);
    assert(before > 0 && "ferry_stream_unref: more references given back than taken");
    if (before == 1) {
        (void)ferry_stream_close(stream, NULL);
        ferry__stream_unref(stream);
    }
    return NULL;
}

bool ferry__stream_is_quiet(ferry_stream *stream)
{
    /* Q1: in this order. A request that is not counted any more was announced as settling (Q0). */
    uint64_t word = atomic_load(&stream->admission.word);
    if (ferry__stream_has_ended(stream))
        return ferry__promise_is_settled(&stream->close_request->promise); /* the last to */
    return (word & (FERRY__REQUESTS_MASK | FERRY__CLOSED)) == 0 &&
           !atomic_load(&stream->is_settling);
}

/* ---- admission ------------------------------------------------------------------------------- */

static void wake_readers(ferry_stream *stream)
{
    ferry__incoming *incoming = atomic_load(&stream->incoming);
    if (incoming != NULL)
        ferry__room_wake(&incoming->room);
}

void ferry__stream_let_no_more_in(ferry_stream *stream, uint64_t flags)
{
    ferry__admission_refuse(&stream->admission, flags);
    wake_readers(stream);
}

void ferry__stream_end_visits(ferry_stream *stream, uint32_t visits)
{
    atomic_fetch_sub(&stream->admission.visits, visits);
    if ((visits & FERRY__READS_MASK) != 0)
        wake_readers(stream);
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* It was admitted. */
static void post_close(ferry_stream *stream)
{
    ferry__request *request = stream->close_request;
    ferry__promise_set_created(&request->promise, ferry__clock_now());
    ferry__promise_note_caller(&request->promise);
    ferry__stream_let_no_more_in(stream, FERRY__CLOSED);
    ferry__thread_note_submit();
    ferry__owner_post_last(stream->owner, &request->mail);
}

int ferry_stream_close(ferry_stream *stream, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    int error = ferry__stream_check(stream);
    if (error != 0)
        return error;
    ferry__inbox *home;
    error = ferry__find_home(ret_promise != NULL, &home);
    if (error != 0)
        return error;
    ferry__request *request = stream->close_request;
    if (home != NULL)
        ferry__promise_set_home(&request->promise, home);
    if (ret_promise != NULL)
        *ret_promise = ferry_promise_ref(&request->promise);
    if (ferry__admit_close(&stream->admission))
        post_close(stream);
    return 0;
}

int ferry_stream_expect_no_more(ferry_stream *stream)
{
    int error = ferry__stream_check(stream);
    /* Of TLS more comes than the protocol above it knows of: its own end. */
    if (error == 0 && stream->settings->options.tls == NULL)
        ferry__stream_expect_no_more(stream);
    return error;
}

/* Whether it may be detached at all. */
static int check_detach(const ferry_stream *stream, ferry_promise **ret_promise)
{
    int error = ferry__stream_check(stream);
    if (error != 0 || ret_promise == NULL)
        return error != 0 ? error : -EINVAL;
    if (!stream->link.is_socket)
        return -ENOTSOCK;
    return stream->link.type->may_be_left ? 0 : -EOPNOTSUPP;
}

int ferry_stream_detach(ferry_stream *stream, ferry_promise **ret_promise)
{
    FERRY__REPORT_CALLER();
    ferry__inbox *home;
    int error = check_detach(stream, ret_promise);
    if (error == 0)
        error = ferry__find_home(true, &home);
    if (error != 0)
        return error;
    ferry__detached *detached = ferry__detached_create();
    if (detached == NULL)
        return -ENOMEM;
    if (!ferry__admit_close(&stream->admission)) {
        ferry__detached_free(detached);
        return -ESHUTDOWN;
    }
    ferry__request *request = stream->close_request;
    request->detached = detached;
    if (home != NULL)
        ferry__promise_set_home(&request->promise, home);
    *ret_promise = ferry_promise_ref(&request->promise);
    post_close(stream);
    return 0;
}

void ferry__stream_abort(ferry_stream *stream, ferry_cause cause)
{
    unsigned char none = FERRY_CAUSE_NONE;
    if (!atomic_compare_exchange_strong(&stream->abort_cause, &none, (unsigned char)cause))
        return;
    if (!ferry__admit_message(&stream->admission))
        return; /* it has ended already */
    ferry__stream_let_no_more_in(stream, FERRY__CLOSED);
    ferry__link_cut(&stream->link);
    ferry__owner_post_last(stream->owner, &stream->abort_mail);
}

void ferry_stream_abort(ferry_stream *stream)
{
    if (ferry__stream_check(stream) == 0)
        ferry__stream_abort(stream, FERRY_CAUSE_ABORT);
}

void ferry_stream_wake_generator(ferry_stream *stream)
{
    if (ferry__stream_check(stream) != 0)
        return;
    ferry__handed_over(&stream->is_resuming);
    if (atomic_exchange(&stream->is_resuming, true))
        return;
    if (ferry__admit_message(&stream->admission))
        ferry__owner_post_last(stream->owner, &stream->resume_mail);
}

/* ---- asking ---------------------------------------------------------------------------------- */

int ferry_stream_get_peer(ferry_stream *stream, char *buffer, size_t size)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    if (!stream->link.is_socket)
        return -ENOTSOCK;
    return ferry__peer_format(&stream->peer, buffer, size);
}

int ferry_stream_get_local(ferry_stream *stream, char *buffer, size_t size)
{
    if (stream == NULL || (buffer == NULL && size > 0))
        return -EINVAL;
    if (!stream->link.is_socket)
        return -ENOTSOCK;
    ferry__endpoint name = {.size = sizeof name.address};
    ferry__peer own = {0};
    int fd = ferry__link_visit(&stream->link);
    bool is_there = fd >= 0 && getsockname(fd, &name.address.any, &name.size) == 0;
    if (fd >= 0)
        ferry__link_end_visit(&stream->link);
    if (!is_there)
        return -ESHUTDOWN;
    ferry__peer_set(&own, &name);
    return ferry__peer_format(&own, buffer, size);
}

int ferry_stream_get_credentials(ferry_stream *stream, ferry_credentials *ret_credentials)
{
    if (stream == NULL || ret_credentials == NULL)
        return -EINVAL;
    if (!stream->link.is_socket)
        return -ENOTSOCK;
    struct ucred who = {0};
    socklen_t size = sizeof who;
    int fd = ferry__link_visit(&stream->link);
    bool is_there = fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
    if (fd >= 0)
        ferry__link_end_visit(&stream->link);
    if (!is_there)
        return -ESHUTDOWN;
    if (who.pid == 0) /* as for all that are no unix sockets */
        return -EOPNOTSUPP;
    *ret_credentials = (ferry_credentials){.pid = who.pid, .uid = who.uid, .gid = who.gid};
    return 0;
}

/* ---- the program's --------------------------------------------------------------------------- */

void ferry_stream_set_data(ferry_stream *stream, void *data, ferry_release *release)
{
    if (stream == NULL)
        return;
    ferry_release *release_before = stream->data_release;
    stream->data_release = release;
    ferry__handed_over(&stream->data);
    ferry__release_arg(release_before, atomic_exchange(&stream->data, data));
}

void *ferry_stream_get_data(const ferry_stream *stream)
{
    if (stream == NULL)
        return NULL;
    void *data = atomic_load(&stream->data);
    ferry__taken_over(&stream->data);
    return data;
}

/* A call that the program wants made on the owner. */
typedef struct visit {
    ferry__mail mail;
    ferry_stream *stream; /* it does not end before this has come */
    ferry_fd_callback *use;
    void *arg;
} visit;

static void deliver_visit(ferry__mail *mail, bool receiver_gone)
{
    (void)receiver_gone; /* it was admitted, so the owner is there */
    visit *asked = (visit *)(void *)mail;
    ferry_stream *stream = asked->stream;
    stream->released_visits += FERRY__ONE_MESSAGE;
    ferry__stream_begin_turn(stream);
    ferry__stream_do(stream, "calling what uses its fd");
    stream->link.may_be_framed = true;
    asked->use(stream, stream->link.fd, asked->arg);
    ferry__stream_end_turn(stream);
    ferry__stream_schedule(stream);
    ferry__release(asked);
}

int ferry_stream_use_fd(ferry_stream *stream, ferry_fd_callback *use, void *arg)
{
    int error = ferry__stream_check(stream);
    if (error != 0 || use == NULL)
        return error != 0 ? error : -EINVAL;
    visit *asked = ferry__allocate(sizeof *asked);
    if (asked == NULL)
        return -ENOMEM;
    *asked = (visit){.mail = {.deliver = deliver_visit}, .stream = stream, .use = use, .arg = arg};
    error = ferry__admit_errand(&stream->admission);
    if (error != 0) {
        ferry__release(asked);
        return error;
    }
    ferry__owner_post_last(stream->owner, &asked->mail);
    return 0;
}

/* ---- its status ------------------------------------------------------------------------------ */

/* What was first to end its sending. The failure of a request tells more. */
static int error_of(ferry_stream *stream)
{
    int poison = atomic_load(&stream->poison);
    return poison != 0 ? poison : atomic_load(&stream->link.death);
}

int ferry_stream_get_status(ferry_stream *stream, ferry_stream_status *ret_status)
{
    if (stream == NULL || ret_status == NULL)
        return -EINVAL;
    const ferry__admission *admission = &stream->admission;
    uint64_t word = atomic_load(&admission->word);
    uint32_t visits = atomic_load(&admission->visits);
    const ferry__incoming *incoming = atomic_load(&stream->incoming);
    *ret_status = (ferry_stream_status){
        .sent_bytes = atomic_load_explicit(&stream->sent_bytes, memory_order_relaxed),
        .queued_bytes = word & FERRY__MEMORY_MASK,
        .queued_file_bytes = atomic_load(&admission->source_bytes),
        .queued_requests = (uint32_t)((word & FERRY__REQUESTS_MASK) / FERRY__ONE_REQUEST),
        .pending_reads = (visits & FERRY__READS_MASK) / FERRY__ONE_READ,
        .received_bytes =
            incoming != NULL ? atomic_load_explicit(&incoming->received, memory_order_relaxed) : 0,
        .error = error_of(stream),
    };
    return 0;
}
