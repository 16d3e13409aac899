/* SPDX-License-Identifier: MIT */
/*
 * A channel: how a relay's bytes get from one owner to another where no fd can be handed over,
 * since from's link gives its bytes to nobody else. from's owner puts in what it has received; to's
 * request takes it out, as the bytes of a generator (ferry/part.h).
 *
 *   from's owner                                     to's owner
 *   put: all at once, where nothing is in it  ──▶    take: some of it
 *                                             ◀──    empty: has from's next turn put more
 *   end: nothing more comes, and why          ──▶    take: that, once it is empty
 *
 * So what is under way is one receive's bytes, and as many that wait to be put. from is read no
 * faster than to's peer reads.
 */
#ifndef FERRY_TRANSPORT_SEND_CHANNEL_H
#define FERRY_TRANSPORT_SEND_CHANNEL_H

#include "transport/edge/bytes.h"
#include "transport/stream/stream.h"

#include <pthread.h>

/* Both streams are kept for as long as it is open. */
typedef struct ferry__channel {
    ferry_stream *from, *to; /* set when it is opened */
    pthread_mutex_t mutex;   /* over the rest */
    ferry__bytes bytes;
    bool has_ended;
    int error;           /* why it has; 0: the peer's end of file */
    bool is_dry;         /* to waits for it */
    bool is_mail_posted; /* more_mail is under way */
    ferry__mail more_mail;
} ferry__channel;

/* from's owner, before anything else. */
void ferry__channel_open(ferry__channel *channel, ferry_stream *from, ferry_stream *to);

/* from's owner. Takes all of bytes, if there is room. Whether there was: else from's reading
 * direction has a turn once there is. */
bool ferry__channel_put(ferry__channel *channel, ferry__bytes *bytes);

/* from's owner. Nothing is put any more, because of this error; 0: the peer's end of file. */
void ferry__channel_end(ferry__channel *channel, int error);

/* to's owner: a ferry_generator, whose arg is a channel. */
int64_t ferry__channel_take(void *buffer, size_t size, void *channel);

/* from's owner, once to's request has settled, and has been heard of by to's owner's mail: then no
 * mail of the channel's is under way any more. Gives what was not taken. */
ferry__bytes ferry__channel_close(ferry__channel *channel);

#endif
