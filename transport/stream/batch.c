/* SPDX-License-Identifier: MIT */
#include "transport/stream/batch.h"

#include "core/handover.h"
#include "core/hooks.h"
#include "core/libc.h"
#include "core/thread.h"
#include "transport/stream/making.h"

#include <errno.h>
#include <string.h>

/*
 * ferry__batch_counts.claims: 24 bits of position, 24 of writes, 3 of the slot, FERRY__OPENING.
 * Positions in any batch end at END, so a small one begins far from 0. The fields have room for
 * what thousands of threads add to a batch that is closed.
 */
enum { END = FERRY__LARGE_BYTES };
#define ONE_WRITE (UINT64_C(1) << 24)
#define ONE_SLOT  (UINT64_C(1) << 48)

/* batch.state */
enum {
    IS_KNOWN = 1,  /* how far it was claimed */
    IS_WHOLE = 2,  /* all of that is committed: nobody but its owner touches it */
    IS_AWAITED = 4 /* the owner waits for one of these */
};

/* What a batch is besides a request of one part. It lies behind that part. */
typedef struct batch {
    atomic_uint state;
    uint32_t writes; /* how many, */
    uint32_t bytes;  /* and of how many bytes, once that is known */
    uint32_t begin;  /* the position of its first byte */
    uint32_t slot;   /* where writers find it; FERRY__BATCHES_OPEN: nowhere */
    bool is_counted; /* the owner's: its writes are counted in the stream's order */
    _Alignas(16) unsigned char data[];
} batch;

/* What lies before a batch's bytes. */
enum { HEAD = sizeof(ferry__request) + sizeof(ferry__part) + sizeof(batch) };

static batch *batch_of(ferry__request *request)
{
    return (batch *)(void *)&request->parts[1];
}

static size_t position_of(uint64_t claims)
{
    return (size_t)(claims & (ONE_WRITE - 1));
}

static unsigned slot_of(uint64_t claims)
{
    return (unsigned)(claims / ONE_SLOT % FERRY__BATCHES_OPEN);
}

static uint32_t writes_of(uint64_t claims)
{
    return (uint32_t)(claims / ONE_WRITE % (ONE_SLOT / ONE_WRITE));
}

/* Also if it is full to the last byte: nobody has told yet how far it was claimed. */
static bool is_open(uint64_t claims)
{
    return position_of(claims) <= END;
}

/* ---- sizes ----------------------------------------------------------------------------------- */

/* The least room is that of a block in which a request without a batch would be. */
enum { LEAST_ROOM = FERRY__SPARE_BYTES - HEAD, MOST_ROOM = FERRY__LARGE_BYTES - HEAD, STEP = 4 };

/* Else what was committed, and is not all, could look as if nothing were. */
_Static_assert(MOST_ROOM <= UINT16_MAX, "ferry__batch_counts.committed can count it");

/* A batch was closed. The next one gets more room if it was full, and less if it was nearly empty:
 * so memory that is not used is no more than some of that which is. */
static void choose_room(ferry__batches *batches, size_t had, size_t used, bool is_full)
{
    size_t room = had;
    if (is_full)
        room = had < MOST_ROOM / STEP ? had * STEP : MOST_ROOM;
    else if (used < had / STEP)
        room = had > LEAST_ROOM * STEP ? had / STEP : LEAST_ROOM;
    atomic_store_explicit(&batches->room, (unsigned)room, memory_order_relaxed);
}

/* The block that it will be. @param slot FERRY__BATCHES_OPEN: no other write will find it. */
static ferry__spare_kind choose_memory(const ferry__batches *batches, size_t length, uint32_t slot)
{
    size_t room = atomic_load_explicit(&batches->room, memory_order_relaxed);
    if (slot == FERRY__BATCHES_OPEN)
        room = LEAST_ROOM;
    return ferry__spare_kind_for(HEAD + (room > length ? room : length));
}

/* ---- claiming -------------------------------------------------------------------------------- */

static bool is(batch *self, unsigned state)
{
    return (atomic_load(&self->state) & state) != 0;
}

/* The owner may wait for this. Once it is whole, it may be gone. */
static void tell(ferry_stream *stream, batch *self, unsigned news)
{
    if ((atomic_fetch_or(&self->state, news) & IS_AWAITED) != 0)
        ferry_stream_wake_generator(stream);
}

/* W0 */
static void become_whole(ferry_stream *stream, ferry__batches *batches, unsigned slot, batch *self)
{
    atomic_store(&batches->open[slot], NULL);
    tell(stream, self, IS_KNOWN | IS_WHOLE);
}

/* @return what is committed then, less what is told to be claimed. */
static unsigned add(ferry_stream *stream, unsigned slot, unsigned more)
{
    return (uint16_t)(atomic_fetch_add(&stream->batch_counts.committed[slot], more) + more);
}

/* C2 */
static void commit(ferry_stream *stream, ferry__batches *batches, unsigned slot, batch *self,
                   size_t length)
{
    ferry__handed_over(&self->state);
    if (add(stream, slot, (unsigned)length) == 0)
        become_whole(stream, batches, slot, self);
}

static batch *find(ferry__batches *batches, uint64_t claims)
{
    return batch_of(atomic_load(&batches->open[slot_of(claims)]));
}

/* K0. Mostly all of it is committed: then nobody else touches it any more. */
static void tell_extent(ferry_stream *stream, ferry__batches *batches, uint64_t claims,
                        bool is_full)
{
    batch *closed = find(batches, claims);
    unsigned slot = slot_of(claims);
    unsigned claimed = (unsigned)position_of(claims) - closed->begin;
    closed->bytes = claimed;
    closed->writes = writes_of(claims);
    choose_room(batches, END - closed->begin, claimed, is_full);
    ferry__handed_over(&closed->state);
    bool is_all = atomic_load(&stream->batch_counts.committed[slot]) == claimed;
    if (!is_all) {
        tell(stream, closed, IS_KNOWN);
        is_all = add(stream, slot, -claimed) == 0;
    }
    if (is_all)
        become_whole(stream, batches, slot, closed);
}

void ferry__batch_tell_full(ferry_stream *stream, ferry__batches *batches, uint64_t claims)
{
    tell_extent(stream, batches, claims, true);
}

ferry__claim ferry__batch_claim(ferry_stream *stream, size_t length, uint64_t *ret_claims)
{
    *ret_claims = atomic_fetch_add(&stream->batch_counts.claims, ONE_WRITE + length);
    if (position_of(*ret_claims) + length <= END)
        return FERRY__CLAIMED;
    return is_open(*ret_claims) ? FERRY__FIRST_WITHOUT_ROOM : FERRY__WITHOUT_ROOM;
}

/* So that it is this core's, and no other's, by the time it is written to. */
static void ask_for(const unsigned char *line)
{
#ifdef __x86_64__
    /* The builtin asks to read only: the compiler does not know that all of 64 bits take this. */
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/*
 * A batch's memory was last with an owner, on another core. Each line of it comes over when it is
 * first written to, and C2 waits for that: it took longer than all else of a write. So each write
 * asks for what will be written some writes later. @param room from place to the batch's end.
 */
static void ask_ahead(const unsigned char *place, size_t length, size_t room)
{
    enum { AHEAD = 512, LINE = 64 };
    for (size_t at = AHEAD; at < AHEAD + length && at < room; at += LINE)
        ask_for(place + at);
}

void ferry__batch_fill(ferry_stream *stream, ferry__batches *batches, uint64_t claims,
                       const void *data, size_t length)
{
    batch *open = find(batches, claims);
    ferry__taken_over(&stream->batch_counts);
    unsigned char *place = open->data + (position_of(claims) - open->begin);
    ask_ahead(place, length, END - position_of(claims));
    memcpy(place, data, length);
    commit(stream, batches, slot_of(claims), open, length);
}

/* Writes to the batch that is open. @return whether there is one, with room. */
static bool write_to_open(ferry_stream *stream, ferry__batches *batches, const void *data,
                          size_t length)
{
    /* Looked at first, so that those who find it closed add nothing. */
    if (!is_open(atomic_load_explicit(&stream->batch_counts.claims, memory_order_relaxed)))
        return false;
    uint64_t claims;
    switch (ferry__batch_claim(stream, length, &claims)) {
    case FERRY__CLAIMED:
        ferry__batch_fill(stream, batches, claims, data, length);
        return true;
    case FERRY__FIRST_WITHOUT_ROOM:
        ferry__batch_tell_full(stream, batches, claims);
        return false;
    case FERRY__WITHOUT_ROOM:
        break;
    }
    return false;
}

/* A writer's core gets one line of memory for all three. malloc(3)'s is aligned to 16, so in one
 * stream of four the last begins another line. */
_Static_assert(offsetof(ferry_stream, admission.word) % 16 == 0 &&
                   offsetof(ferry_stream, batch_counts.claims) ==
                       offsetof(ferry_stream, admission.word) + 8 &&
                   offsetof(ferry_stream, batch_counts.committed) ==
                       offsetof(ferry_stream, admission.word) + 16,
               "what writers count lies side by side");

/* ---- opening and closing --------------------------------------------------------------------- */

static ferry__batches *get_batches(ferry_stream *stream)
{
    ferry__batches *batches = atomic_load(&stream->batches), *none = NULL;
    if (batches != NULL)
        return batches;
    batches = ferry__allocate_zeroed(sizeof *batches);
    if (batches == NULL)
        return NULL;
    atomic_init(&batches->room, LEAST_ROOM);
    batches->opening = (pthread_mutex_t)FERRY__BRIEF_MUTEX;
    ferry__handed_over(batches);
    if (atomic_compare_exchange_strong(&stream->batches, &none, batches))
        return batches;
    (void)pthread_mutex_destroy(&batches->opening);
    ferry__release(batches);
    return none;
}

static void lock(ferry__batches *batches)
{
    ferry__taken_over(batches); /* a sanitizer sees the mutex, and not how it came here */
    (void)pthread_mutex_lock(&batches->opening);
}

/* A place where writers would find a batch, or FERRY__BATCHES_OPEN. */
static uint32_t find_slot(ferry__batches *batches)
{
    uint32_t slot = 0;
    while (slot < FERRY__BATCHES_OPEN && atomic_load(&batches->open[slot]) != NULL)
        slot++;
    return slot;
}

/* Makes one with a write in it, which is not committed. */
static ferry__request *create(ferry_stream *stream, const void *data, size_t length,
                              ferry__spare_kind memory, uint32_t slot)
{
    ferry__request *request = ferry__request_create_batch(stream, memory);
    if (request == NULL)
        return NULL;
    batch *self = batch_of(request);
    atomic_init(&self->state, 0);
    self->begin = (uint32_t)(END - (ferry__spare_bytes(memory) - HEAD));
    self->slot = slot;
    self->is_counted = false;
    request->parts[0].memory.data = memcpy(self->data, data, length);
    return request;
}

/* With the mutex. Posts a batch and opens it; without a slot it is posted as it is. */
static void post_and_open(ferry_stream *stream, ferry__batches *batches, ferry__request *request,
                          size_t length)
{
    batch *self = batch_of(request);
    ferry__batch_counts *counts = &stream->batch_counts;
    bool has_slot = self->slot != FERRY__BATCHES_OPEN;
    if (has_slot) {
        atomic_store(&batches->open[self->slot], request);
        atomic_store(&counts->committed[self->slot], 0);
        atomic_store(&counts->claims, FERRY__OPENING | (END + 1));
    } else {
        self->writes = 1;
        self->bytes = (uint32_t)length;
        atomic_init(&self->state, IS_KNOWN | IS_WHOLE);
        ferry__handed_over(&self->state);
    }
    ferry__owner_post_unhurried(stream->owner, &request->mail);
    if (!has_slot)
        return;
    ferry__handed_over(counts);
    atomic_store(&counts->claims, self->slot * ONE_SLOT + ONE_WRITE + self->begin + length);
    if (is(self, IS_AWAITED)) /* it could not be closed while it was being opened */
        ferry_stream_wake_generator(stream);
    commit(stream, batches, self->slot, self, length);
}

/* For a write that found no room: in a new batch, unless somebody else has made one meanwhile. */
static int write_to_new(ferry_stream *stream, ferry__batches *batches, const void *data,
                        size_t length, ferry__deliver *deliver)
{
    if (write_to_open(stream, batches, data, length))
        return 0;
    uint32_t slot = find_slot(batches);
    ferry__spare_kind memory = choose_memory(batches, length, slot);
    ferry__request *request = create(stream, data, length, memory, slot);
    if (request == NULL)
        return -ENOMEM;
    request->mail.deliver = deliver;
    post_and_open(stream, batches, request, length);
    return 0;
}

int ferry__batch_write(ferry_stream *stream, const void *data, size_t length,
                       ferry__deliver *deliver)
{
    ferry__batches *batches = get_batches(stream);
    if (batches == NULL)
        return -ENOMEM;
    if (write_to_open(stream, batches, data, length))
        return 0;
    lock(batches);
    int error = write_to_new(stream, batches, data, length, deliver);
    (void)pthread_mutex_unlock(&batches->opening);
    return error;
}

static void close_open(ferry_stream *stream, ferry__batches *batches)
{
    uint64_t claims = atomic_fetch_add(&stream->batch_counts.claims, END + 1); /* O0 */
    if (is_open(claims))
        tell_extent(stream, batches, claims, false);
}

void ferry__batch_close(ferry_stream *stream, ferry__batches *batches)
{
    uint64_t claims = atomic_load(&stream->batch_counts.claims);
    if (!is_open(claims) && (claims & FERRY__OPENING) == 0)
        return;
    lock(batches);
    if (is_open(atomic_load(&stream->batch_counts.claims)))
        close_open(stream, batches);
    (void)pthread_mutex_unlock(&batches->opening);
}

/* ---- the owner ------------------------------------------------------------------------------- */

/* Closes a batch, if nobody has. @return whether it is known how far it was claimed. */
static bool close_batch(ferry_stream *stream, batch *self)
{
    if (is(self, IS_KNOWN))
        return true;
    uint64_t claims = atomic_load(&stream->batch_counts.claims);
    if (is_open(claims) && slot_of(claims) == self->slot)
        close_open(stream, atomic_load(&stream->batches));
    return is(self, IS_KNOWN);
}

bool ferry__batch_count(ferry__request *request)
{
    batch *self = batch_of(request);
    ferry_stream *stream = request->stream;
    if (self->is_counted)
        return true;
    if (!close_batch(stream, self)) {
        (void)atomic_fetch_or(&self->state, IS_AWAITED);
        if (!close_batch(stream, self)) /* else it was told, or opened, just now */
            return false;
    }
    self->is_counted = true;
    stream->next_sequence += self->writes - 1;
    return true;
}

bool ferry__batch_take(ferry__request *request)
{
    batch *self = batch_of(request);
    if (request->is_prepared)
        return true;
    /* What is behind it has no number yet. It gets that first, in mail that is due. */
    if (!self->is_counted && request->next != NULL)
        return false;
    if (!ferry__batch_count(request))
        return false;
    if (!is(self, IS_WHOLE) && (atomic_fetch_or(&self->state, IS_AWAITED) & IS_WHOLE) == 0)
        return false;
    ferry__taken_over(&self->state);
    request->is_prepared = true;
    request->parts[0].left = self->bytes;
    request->admitted = self->writes * FERRY__ONE_REQUEST + self->bytes;
    return true;
}
