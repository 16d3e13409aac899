/* SPDX-License-Identifier: MIT */
/*
 * A subscriber: a reader that the program has set, and its side of the intake. One that lives on
 * another thread gets bytes on loan, one loan at a time, and gives back what it did not take:
 *
 *   owner                                     home thread
 *   lends: fills in, posts to the inbox  ──▶  offers them to the reader, unless a command is under
 *                                             way by now, or the stream is closed
 *   takes back what is left              ◀──  posts to the owner; where the stream has ended there
 *                                             is nobody to give them to, and they are dropped
 *   posts the end, after the last loan   ──▶  calls on_end, unless it was replaced by now; lets go
 *                                             of the stream
 *
 * The socket may have more. Then the thread that has the loan may receive it, behind what is left,
 * and puts the loan behind its inbox's other mail again. So bulk takes no trip between threads.
 * Meanwhile the owner receives nothing, and its epoll set does not heed what comes. The loan goes
 * back once the kernel has nothing more, or the reader may not be called. A peer of bulk is often
 * about to send more, and the way to the owner and back is long: so the thread looks out for that
 * first. The owner forbids all of it before it closes the fd or posts the end.
 *
 * The owner waits for no loan when a stream is to end: the thread may never run its inbox. Both
 * mails keep the subscriber, and so the stream's memory. An inbox is in order, so the end comes
 * last.
 *
 * A subscriber holds one of the program's references to its stream, until its end was told or it
 * was replaced.
 */
#ifndef FERRY_TRANSPORT_READ_SUBSCRIBER_H
#define FERRY_TRANSPORT_READ_SUBSCRIBER_H

#include "core/inbox.h"
#include "core/lookout.h"
#include "transport/edge/bytes.h"

#include <ferry/read.h>

#include <pthread.h>
#include <sys/types.h>

/* What is asked of the kernel where it is to be kept. For a subscriber it grows up to the other
 * number, while it comes back full: larger loans are fewer calls. */
enum { FERRY__PORTION = 16 * 1024, FERRY__MOST_PORTION = 256 * 1024 };

/* What to ask for next: a full one may be too small for what comes, one that is not half full is
 * too large. */
static inline size_t ferry__portion_after(size_t portion, size_t asked, size_t got)
{
    if (asked == portion && got == asked && asked < FERRY__MOST_PORTION)
        return 2 * asked;
    return got < asked / 2 && portion > FERRY__PORTION ? portion / 2 : portion;
}

typedef struct ferry__subscriber {
    atomic_uint refs; /* the intake's, or a command's before; and each mail's that is under way */

    /* Set when it is made. */
    ferry_stream *stream; /* a reference to its memory */
    ferry_reader reader;  /* with the defaults filled in */
    ferry__inbox *home;   /* where it is called, a reference; NULL: on the owner */

    /* The loan: the side's that has it. */
    ferry__mail loan_mail;
    ferry__mail return_mail; /* its deliver is the intake's, who lends */
    ferry__bytes bytes;
    int64_t shots;        /* calls that may be made; -1: no limit */
    int64_t used_shots;   /* that were made, once it has come back */
    unsigned wishes;      /* the intake's, when it was made */
    unsigned resumptions; /* the intake's, when it was made */
    unsigned commands;    /* the intake's, when it was made: it is valid until there are more */
    const atomic_uint *all_commands; /* the intake's count; set when this has come to the intake */
    bool at_end;                     /* no bytes come behind these */
    size_t taken;                    /* how many of bytes the last calls have taken */
    size_t consumed;                 /* how many were taken before that, since it was lent */
    size_t portion;                  /* how much to ask the kernel for */
    ferry__lookout lookout;          /* for more of bulk */
    ssize_t came;                    /* what the kernel said last; more than 0: it may have more */
    bool was_declined;               /* the reader took nothing of what is left */
    bool was_last;                   /* it was told then that nothing comes behind it */
    bool is_gone;                    /* its thread has ended: it cannot be called any more */

    /* Under the mutex where the thread looks; only the owner writes. */
    pthread_mutex_t receiving;
    bool may_receive; /* the thread that has the loan, from the stream's fd */

    /* The end: the owner's until it is posted. */
    ferry__mail end_mail;
    int error;
    unsigned number; /* among the intake's readers: it is told unless there are later ones */
    const atomic_uint *all_readers; /* the intake's count of them; set with the number */
    bool is_replaced;               /* its arg alone is to be released */
    bool was_told;                  /* on_end was called, or is being called */
} ferry__subscriber;

/* Any thread. Makes one, with one reference, and takes all it holds. @return 0, -ENOMEM. */
int ferry__subscriber_create(ferry_stream *stream, const ferry_reader *reader, ferry__inbox *home,
                             ferry__subscriber **ret_subscriber);
void ferry__subscriber_unref(ferry__subscriber *subscriber);

/* The owner. Another reader was set: lets go of this one, behind its last call. */
void ferry__subscriber_replace(ferry__subscriber *subscriber);

/* Gives back all it holds, without telling it: no call of it is under way. */
void ferry__subscriber_give_up(ferry__subscriber *subscriber);

/* Gives back what it holds but its arg, without telling it: it never got to the owner. */
void ferry__subscriber_discard(ferry__subscriber *subscriber);

/*
 * The thread that it lives on. Offers bytes to the reader, high_bytes of them at most, again and
 * again while it takes some and may be called. @return how many it took. @param shots counted down.
 */
size_t ferry__subscriber_offer(ferry__subscriber *subscriber, const unsigned char *data,
                               size_t length);

/*
 * The owner, where it lives on another thread. Posts the loan that is filled in. It comes back by
 * return_mail, with a reference. @param may_receive its thread receives what follows meanwhile.
 */
void ferry__subscriber_lend(ferry__subscriber *subscriber, bool may_receive);

/* The owner. From here on the thread that has the loan receives nothing, and does not keep it. */
void ferry__subscriber_forbid(ferry__subscriber *subscriber);

/* The owner. Tells it the end, here or by mail, and gives back what it holds. */
void ferry__subscriber_end(ferry__subscriber *subscriber, int error);

#endif
