/* SPDX-License-Identifier: MIT */
#include "transport/send/blocking.h"

#include "core/clock.h"

/*
 * How long a piece may take, where a timer is set. The kernel begins the time limit anew with each
 * part that it hands on: 330 ms were seen, with the smallest buffers. Urgent mail waits for no more
 * than one such part.
 */
#define LONGEST_PIECE_NS (400 * FERRY__NS_PER_MS)

/* What a call that waits moves at most: with a peer that is just fast enough for it not to come out
 * by itself, as many waits. More would gain nothing. */
enum {
    MOST_PIECES = 16,
    MOST_WITH_PROGRESS = 2 /* where it is told how far it is */
};

/* Whether a call could wait, now or soon. */
static bool could_wait(const ferry_stream *stream)
{
    return stream->link.patience != NULL && stream->owner->start_error == 0 &&
           ferry__link_is_plain(&stream->link) && !ferry__stream_awaits(stream, FERRY__RECEIVING) &&
           !stream->reading_is_due;
}

static bool is_progress_told(const ferry_stream *stream)
{
    const ferry__request *head = stream->queue.first;
    return head != NULL && ferry__request_tells_progress(head);
}

/* How much a call can be given: it must be out before the next timer. */
static size_t choose_bytes(const ferry_stream *stream)
{
    int64_t most = is_progress_told(stream) ? MOST_WITH_PROGRESS : MOST_PIECES;
    int64_t when = ferry__owner_next_timer(stream->owner);
    int64_t in_time = when != FERRY__NEVER
                          ? (when - ferry__stream_turn_time(stream)) / LONGEST_PIECE_NS
                          : INT64_MAX;
    int64_t pieces = in_time < most ? in_time : most;
    return pieces > 0 ? (size_t)pieces * FERRY__PIECE_BYTES : 0;
}

/* The socket blocks before that is announced: an exit that came first would be undone. */
static bool enter_call(ferry_stream *stream)
{
    ferry__patience *patience = stream->link.patience;
    if (!ferry__patience_begin(patience))
        return false;
    if (ferry__owner_enter_call(stream->owner, &patience->exit))
        return true;
    ferry__patience_end(patience, true); /* mail that has just come may have used the exit */
    return false;
}

bool ferry__blocking_begin(ferry_stream *stream, size_t *chunk)
{
    ferry__patience *patience = stream->link.patience;
    if (patience == NULL || !patience->is_wanted)
        return false;
    size_t most = could_wait(stream) ? choose_bytes(stream) : 0;
    patience->has_waited = most > 0 && enter_call(stream);
    if (!patience->has_waited) {
        ferry__patience_rest(patience);
        return false;
    }
    if (most < *chunk)
        *chunk = most;
    return true;
}

void ferry__blocking_end(ferry_stream *stream)
{
    ferry__patience *patience = stream->link.patience;
    patience->was_got_out = ferry__owner_leave_call(stream->owner);
    ferry__patience_end(patience, patience->was_got_out);
}

/* Whether something has left the socket since the last look, or this is the first. */
static bool has_moved(ferry_stream *stream)
{
    ferry__patience *patience = stream->link.patience;
    int64_t inside = ferry__link_unacked(&stream->link);
    bool is_news = inside >= 0 && (!patience->has_mark || inside != patience->mark);
    patience->has_mark = true;
    patience->mark = inside;
    return is_news;
}

bool ferry__blocking_goes_on(ferry_stream *stream)
{
    enum { SOON = FERRY__PATIENCE_MS / 2 };
    ferry__patience *patience = stream->link.patience;
    if (patience == NULL || !could_wait(stream))
        return false;
    if (!patience->is_wanted) {
        patience->is_wanted = true;
        return true;
    }
    bool has_waited = patience->has_waited;
    patience->has_waited = false; /* this one, and not what else finds the socket full */
    if (!has_waited || patience->was_got_out)
        return has_waited;
    /* One that came back at once has not waited: somebody else has set O_NONBLOCK. */
    int64_t lasted = ferry__clock_now() - ferry__stream_turn_time(stream);
    return lasted >= SOON * FERRY__NS_PER_MS && has_moved(stream);
}

void ferry__blocking_note_move(ferry_stream *stream)
{
    if (stream->link.patience != NULL)
        stream->link.patience->has_mark = false;
}

void ferry__blocking_rest(ferry_stream *stream)
{
    ferry__patience *patience = stream->link.patience;
    if (patience == NULL)
        return;
    patience->is_wanted = false;
    patience->has_mark = false;
    ferry__patience_rest(patience);
}
