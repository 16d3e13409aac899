/* SPDX-License-Identifier: MIT */
#include "transport/stream/making.h"

#include "core/clock.h"
#include "core/hooks.h"
#include "core/reserved.h"
#include "core/sum.h"
#include "transport/stream/detached.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/*
 * Larger copies are blocks of their own: a promise that is kept keeps its request's memory, and
 * that must not be much. What is larger than a block is several, so that its memory is kept for the
 * next one, too: malloc(3) would give it to the kernel, and get it anew each time. (A part for each
 * is a thousandth of the copy.) Owners do not keep as much as the largest copies need, though.
 */
enum { MOST_INLINE = 1024, PIECE = FERRY__64K_BYTES, MOST_IN_PIECES = 8 << 20 };

/* More parts would take gigabytes. So few cannot overflow a size. */
enum { MOST_PARTS = INT_MAX / 64 };

static int plan(ferry__plan *sum, uint64_t bytes)
{
    return __builtin_add_overflow(sum->planned_bytes, bytes, &sum->planned_bytes) ? -EOVERFLOW : 0;
}

/* Whether it is copied to several blocks. Each part of a message socket's is a message, though. */
static bool is_in_pieces(const ferry_stream *stream, const ferry_part *part)
{
    return part->length > PIECE && part->length <= MOST_IN_PIECES && !stream->link.is_message;
}

static int add_copy_needs(ferry__plan *sum, const ferry_stream *stream, const ferry_part *part)
{
    size_t last = part->length;
    if (is_in_pieces(stream, part)) {
        sum->parts += (part->length - 1) / PIECE;
        last = (part->length - 1) % PIECE + 1;
    }
    if (last > MOST_INLINE)
        return 0;
    /* 32 bits: there may be many copies of one piece of memory */
    return __builtin_add_overflow(sum->size, last, &sum->size) ? -EOVERFLOW : 0;
}

static int add_memory_needs(ferry__plan *sum, const ferry_stream *stream, const ferry_part *part)
{
    if (part->data == NULL && part->length > 0)
        return -EINVAL;
    int error = part->kind == FERRY_PART_COPY ? add_copy_needs(sum, stream, part) : 0;
    if (error != 0)
        return error;
    sum->cost.memory_bytes += part->length;
    return plan(sum, part->length);
}

/* What each kind of part that is no memory is a source of: a line for each. */
static const ferry__source_type *const source_types[] = {
    [FERRY_PART_FILE] = &ferry__source_file,
    [FERRY_PART_GENERATE] = &ferry__source_generator,
};

/* NULL: memory. */
static const ferry__source_type *source_type_of(const ferry_part *part)
{
    size_t count = sizeof source_types / sizeof source_types[0];
    return (size_t)part->kind < count ? source_types[part->kind] : NULL;
}

static int add_source_needs(ferry__plan *sum, const ferry_part *part,
                            const ferry__source_type *type)
{
    ferry__source_needs needs = {0};
    int error = type->plan(part, &needs);
    if (error != 0)
        return error;
    sum->sources++;
    sum->calls_back |= type->calls_back;
    if (__builtin_add_overflow(sum->size, needs.store_bytes, &sum->size))
        return -EOVERFLOW;
    return plan(sum, (uint64_t)needs.length);
}

static int add_part_needs(ferry__plan *sum, const ferry_stream *stream, const ferry_part *part)
{
    if (FERRY__IS_NEWER(part))
        return -E2BIG;
    const ferry__source_type *type = source_type_of(part);
    if (type != NULL)
        return add_source_needs(sum, part, type);
    switch (part->kind) {
    case FERRY_PART_GIVE:
        sum->calls_back = true;
        return add_memory_needs(sum, stream, part);
    case FERRY_PART_COPY:
    case FERRY_PART_BORROW:
        return add_memory_needs(sum, stream, part);
    default:
        return -EINVAL;
    }
}

static int add_needs(ferry__plan *sum, const ferry_stream *stream, const ferry_part parts[],
                     size_t count)
{
    if (parts == NULL && count > 0)
        return -EINVAL;
    if (count > MOST_PARTS)
        return -EOVERFLOW;
    sum->parts = count;
    for (size_t i = 0; i < count; i++) {
        int error = add_part_needs(sum, stream, &parts[i]);
        if (error != 0)
            return error;
    }
    if (sum->parts > MOST_PARTS)
        return -EOVERFLOW;
    bool overflow =
        __builtin_add_overflow(sum->size, sum->parts * sizeof(ferry__part), &sum->size) ||
        __builtin_add_overflow(sum->size, sum->sources * sizeof(ferry__source), &sum->size);
    return overflow ? -EOVERFLOW : 0;
}

static void free_memory(void *data, void *arg)
{
    (void)arg;
    free(data);
}

/* Where the pieces of a request's allocation lie. */
typedef struct layout {
    ferry__part *parts;     /* the next part; moves on */
    ferry__source *sources; /* the next source; moves on */
    unsigned char *store;   /* where the next copy goes; moves on */
    ferry_stream *stream;   /* whose request it is */
} layout;

/* @param arg what kind of block it is. */
static void release_copy(void *data, void *arg)
{
    ferry__spare_give_back((ferry__spare_kind)(uintptr_t)arg, data);
}

/* The next part, in memory that is not the request's to release. */
static ferry__part *add_memory(layout *rest, const void *data, size_t length)
{
    ferry__part *part = rest->parts++;
    part->sent = 0;
    part->left = length;
    part->source = NULL;
    part->memory.data = data;
    part->memory.release = NULL;
    return part;
}

/* A copy: in a block or, if it is small, in the request's own memory, of which less is left. */
static int add_copy(layout *rest, const void *data, size_t length)
{
    if (length <= MOST_INLINE) {
        (void)add_memory(rest, memcpy(rest->store, data, length), length);
        rest->store += length;
        return 0;
    }
    ferry__spare_kind kind = ferry__spare_kind_for(length);
    void *copy = ferry__owner_take_spare(rest->stream->owner, kind, length);
    if (copy == NULL)
        return -ENOMEM;
    ferry__part *part = add_memory(rest, memcpy(copy, data, length), length);
    part->memory.release = release_copy;
    part->memory.release_arg = (void *)(uintptr_t)kind;
    return 0;
}

static int take_copy(const ferry_part *wanted, layout *rest)
{
    size_t most = is_in_pieces(rest->stream, wanted) ? PIECE : SIZE_MAX;
    const unsigned char *data = wanted->data;
    for (size_t left = wanted->length; left > 0;) {
        size_t piece = left < most ? left : most;
        int error = add_copy(rest, data, piece);
        if (error != 0)
            return error;
        data += piece;
        left -= piece;
    }
    return 0;
}

static void take_memory(const ferry_part *wanted, layout *rest)
{
    ferry__part *part = add_memory(rest, wanted->data, wanted->length);
    if (wanted->kind == FERRY_PART_GIVE) {
        part->memory.release = wanted->release != NULL ? wanted->release : free_memory;
        part->memory.release_arg = wanted->arg;
    }
}

static int take_source(const ferry_part *wanted, const ferry__source_type *type, layout *rest)
{
    ferry__source *source = rest->sources++;
    int error = type->take(source, wanted, &rest->store, rest->stream->link.calls);
    if (error != 0)
        return error;
    int64_t length = source->asked_length;
    add_memory(rest, NULL, length > 0 ? (uint64_t)length : 0)->source = source;
    return 0;
}

/* Fills in what a part of the program's comes to. */
static int take_part(const ferry_part *wanted, layout *rest)
{
    const ferry__source_type *type = source_type_of(wanted);
    if (type != NULL)
        return take_source(wanted, type, rest);
    if (wanted->kind == FERRY_PART_COPY && wanted->length > 0)
        return take_copy(wanted, rest);
    take_memory(wanted, rest);
    return 0;
}

static void close_sources(ferry__request *request, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (request->parts[i].source != NULL)
            ferry__source_close(request->parts[i].source);
    }
}

/* Undoes what was copied or duplicated. The caller keeps what it gave. @param end of the parts. */
static void give_back_parts(ferry__request *request, const ferry__part *end)
{
    for (ferry__part *part = request->parts; part != end; part++) {
        if (part->source != NULL)
            part->source->type->give_back(part->source);
        else if (part->memory.release == release_copy)
            release_copy((void *)part->memory.data, part->memory.release_arg);
    }
}

static int take_parts(ferry__request *request, const ferry_part parts[], size_t count, layout rest)
{
    for (size_t i = 0; i < count; i++) {
        int error = take_part(&parts[i], &rest);
        if (error != 0) {
            give_back_parts(request, rest.parts);
            return error;
        }
    }
    request->part_count = (uint32_t)(rest.parts - request->parts); /* at most MOST_PARTS */
    return 0;
}

/* Sets the fields that the owner reads before it writes them. */
static void init_progress(ferry__request *request, bool has_sources)
{
    request->stage = FERRY__POSTED;
    request->cancel_came = false;
    request->is_prepared = !has_sources; /* memory is there: nothing to open, nothing to recount */
    request->has_begun = false;
    request->prepare_error = 0;
    request->current = 0;
}

static bool needs_progress(const ferry_request_options *options)
{
    return options->on_progress != NULL || options->on_progress_release != NULL;
}

/* What its extras take, progress included; 0: it needs none. */
static size_t count_extras(const ferry_request_options *options)
{
    if (needs_progress(options))
        return sizeof(ferry__extras) + sizeof(ferry__progress);
    bool has_any = options->timeout_ms != 0 || options->completion != FERRY_COMPLETION_ACCEPTED ||
                   options->on_owner_release != NULL;
    return has_any ? sizeof(ferry__extras) : 0;
}

static void init_extras(ferry__request *request, ferry__extras *extras,
                        const ferry_request_options *options, ferry__inbox *home)
{
    *extras = (ferry__extras){
        .request = request,
        .completion = options->completion,
        .deadline_timer.deadline =
            options->timeout_ms != 0 ? ferry__clock_deadline(options->timeout_ms) : FERRY__NEVER,
        .on_owner_release = options->on_owner_release,
    };
    if (needs_progress(options)) {
        extras->progress = (ferry__progress *)(void *)(extras + 1);
        ferry__progress_init(extras->progress, &request->promise, options, home);
    }
    request->extras = extras;
}

/* Of what nothing calls off. */
static const ferry__promise_type end_type = {.destroy = ferry__request_destroy};

/* @param types those of its direction; NULL: nothing calls it off. */
static const ferry__promise_type *choose_type(ferry__request_kind kind,
                                              const ferry__request_types *types,
                                              const ferry_request_options *options)
{
    if (types == NULL)
        return kind == FERRY__CLOSE ? &ferry__close_type : &end_type;
    return needs_progress(options) ? &types->with_progress.promise : &types->any.promise;
}

/* Each stream has a close, before it has an owner, and mostly idle: it takes what it needs. */
static ferry__spare_kind choose_memory(ferry__request_kind kind, size_t size)
{
    return kind == FERRY__CLOSE ? FERRY__NO_SPARE : ferry__spare_kind_for(size);
}

uint64_t ferry__request_estimate(const ferry_part parts[], size_t count)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const ferry__source_type *type = source_type_of(&parts[i]);
        if (type != NULL)
            sum = ferry__sum(sum, type->estimate(&parts[i]));
    }
    return sum <= INT64_MAX ? sum : INT64_MAX;
}

static const ferry_request_options no_options;

/* Whether it is a small copy without options, as most requests by far are. */
static bool is_plain(const ferry_part parts[], size_t count, const ferry_request_options *options)
{
    return options == NULL && count == 1 && parts != NULL && parts->kind == FERRY_PART_COPY &&
           parts->length <= MOST_INLINE && parts->data != NULL && !FERRY__IS_NEWER(parts);
}

static const ferry__plan plain_plan = {.size = sizeof(ferry__request) + sizeof(ferry__part),
                                       .parts = 1};

int ferry__request_plan(const ferry_stream *stream, const ferry_part parts[], size_t count,
                        const ferry_request_options *options, ferry__plan *ret_plan)
{
    if (is_plain(parts, count, options)) {
        *ret_plan = plain_plan;
        ret_plan->size += parts->length;
        ret_plan->planned_bytes = (int64_t)parts->length;
        ret_plan->cost.memory_bytes = parts->length;
        return 0;
    }
    int error = ferry__request_check_options(options);
    if (error != 0)
        return error;
    *ret_plan = (ferry__plan){.size = sizeof(ferry__request), .calls_back = options != NULL};
    ret_plan->size += options != NULL ? count_extras(options) : 0;
    error = add_needs(ret_plan, stream, parts, count);
    if (error != 0)
        return error;
    ferry__cost *cost = &ret_plan->cost;
    cost->source_bytes = (uint64_t)ret_plan->planned_bytes - cost->memory_bytes;
    return 0;
}

/* What the options of a request come to. */
typedef struct terms {
    const ferry_request_options *options; /* never NULL */
    size_t extras_bytes;
    ferry__label *label; /* a copy, or NULL */
} terms;

/* @return 0, or -ENOMEM. */
static inline int read_options(const ferry_request_options *options, terms *ret_terms)
{
    if (options == NULL)
        options = &no_options;
    *ret_terms = (terms){options, options != &no_options ? count_extras(options) : 0, NULL};
    return options->label != NULL ? ferry__label_create(options->label, &ret_terms->label) : 0;
}

/* Sets everything but its parts and their cost. It does so field by field: zeroing the whole,
 * observers included, would make a small write dearer. Takes the label.
 * @param extras where they are, if it needs any. */
__attribute__((always_inline)) static inline void init(
    ferry__request *request, const ferry__promise_type *type, ferry__spare_kind memory,
    ferry_stream *stream, ferry__request_kind kind, const terms *agreed, ferry__inbox *home,
    ferry__extras *extras)
{
    ferry__promise_init(&request->promise, home, type);
    request->promise.spare_kind = memory;
    atomic_store_explicit(&request->promise.label, agreed->label, memory_order_relaxed);
    request->stream = stream;
    request->kind = kind;
    request->is_told_first =
        agreed->options->on_owner != NULL && agreed->options->on_owner_holds_queue;
    request->on_owner = agreed->options->on_owner;
    request->on_owner_arg = agreed->options->on_owner_arg;
    request->is_batch = false;
    request->extras = NULL;
    if (agreed->extras_bytes > 0)
        init_extras(request, extras, agreed->options, home);
}

int ferry__request_create(ferry_stream *stream, ferry__request_kind kind,
                          const ferry__request_types *types, const ferry_part parts[], size_t count,
                          const ferry__plan *plan, const ferry_request_options *options,
                          ferry__inbox *home, ferry__request **ret_request)
{
    terms agreed;
    int error = read_options(options, &agreed);
    if (error != 0)
        return error;
    ferry__spare_kind memory = choose_memory(kind, plan->size);
    ferry__request *request = ferry__owner_take_spare(stream->owner, memory, plan->size);
    if (request == NULL) {
        ferry__label_free(agreed.label);
        return -ENOMEM;
    }
    ferry__extras *extras = (ferry__extras *)(void *)&request->parts[plan->parts];
    ferry__source *sources = (ferry__source *)(void *)((char *)extras + agreed.extras_bytes);
    layout rest = {request->parts, sources, (unsigned char *)(sources + plan->sources), stream};
    error = take_parts(request, parts, count, rest);
    if (error != 0) {
        ferry__label_free(agreed.label);
        ferry__spare_give_back(memory, request);
        return error;
    }
    init(request, choose_type(kind, types, agreed.options), memory, stream, kind, &agreed, home,
         extras);
    request->admitted = FERRY__ONE_REQUEST + plan->cost.memory_bytes;
    request->source_bytes = plan->cost.source_bytes;
    init_progress(request, plan->sources > 0);
    *ret_request = request;
    return 0;
}

ferry__request *ferry__request_create_batch(ferry_stream *stream, ferry__spare_kind memory)
{
    static const terms plain = {.options = &no_options};
    ferry__request *request =
        ferry__owner_take_spare(stream->owner, memory, ferry__spare_bytes(memory));
    if (request == NULL)
        return NULL;
    init(request, &end_type, memory, stream, FERRY__SEND, &plain, NULL, NULL);
    request->is_batch = true;
    request->part_count = 1;
    request->parts[0] = (ferry__part){0};
    request->admitted = request->source_bytes = 0;
    init_progress(request, true);
    return request;
}

static size_t round_up(size_t size, size_t alignment)
{
    return (size + alignment - 1) / alignment * alignment;
}

int ferry__request_create_read(ferry_stream *stream, const ferry__request_types *types, size_t size,
                               const ferry_request_options *options, ferry__inbox *home,
                               ferry__request **ret_request)
{
    terms agreed;
    int error = read_options(options, &agreed);
    if (error != 0)
        return error;
    size_t extras_at = round_up(sizeof(ferry__request) + size, _Alignof(ferry__extras));
    size_t bytes = extras_at + agreed.extras_bytes;
    ferry__spare_kind memory = ferry__spare_kind_for(bytes);
    ferry__request *request = ferry__owner_take_spare(stream->owner, memory, bytes);
    if (request == NULL) {
        ferry__label_free(agreed.label);
        return -ENOMEM;
    }
    ferry__extras *extras = (ferry__extras *)(void *)((char *)request + extras_at);
    init(request, choose_type(FERRY__READ, types, agreed.options), memory, stream, FERRY__READ,
         &agreed, home, extras);
    request->part_count = 0;
    request->admitted = request->source_bytes = 0;
    init_progress(request, false);
    *ret_request = request;
    return 0;
}

/* ---- on the owner ---------------------------------------------------------------------------- */

/* How many bytes its sources have, now that they are open. -EOVERFLOW: together with the bytes in
 * memory they are more than can be counted. */
static int add_up_sources(const ferry__request *request, uint64_t *ret_bytes)
{
    int64_t all = 0;
    *ret_bytes = 0;
    for (size_t i = 0; i < request->part_count; i++) {
        const ferry__part *part = &request->parts[i];
        if (__builtin_add_overflow(all, part->left, &all))
            return -EOVERFLOW;
        if (part->source != NULL)
            *ret_bytes += part->left;
    }
    return 0;
}

/* Its sources have turned out to be so long. */
static void recount(ferry__request *request, uint64_t bytes)
{
    if (bytes != request->source_bytes)
        request->source_bytes =
            ferry__admission_recount(&request->stream->admission, request->source_bytes, bytes);
}

int ferry__request_open(ferry__request *request)
{
    request->is_prepared = true;
    ferry__stream_do(request->stream, "opening files");
    for (size_t i = 0; i < request->part_count; i++) {
        ferry__part *part = &request->parts[i];
        if (part->source == NULL)
            continue;
        uint64_t length;
        request->prepare_error = part->source->type->open(part->source, request->stream->link.calls,
                                                          &length, &request->prepare_phase);
        if (request->prepare_error != 0)
            break;
        part->left = length;
    }
    if (request->prepare_error != 0)
        return request->prepare_error;
    uint64_t bytes;
    request->prepare_phase = FERRY_PHASE_SOURCE;
    request->prepare_error = add_up_sources(request, &bytes);
    if (request->prepare_error == 0)
        recount(request, bytes);
    return request->prepare_error;
}

void ferry__request_undo_open(ferry__request *request)
{
    for (size_t i = request->part_count; i-- > 0;) {
        if (request->parts[i].source != NULL)
            ferry__source_undo_open(request->parts[i].source);
    }
    request->is_prepared = false;
    request->prepare_error = 0;
}

void ferry__request_release_parts(ferry__request *request)
{
    bool has_sources = false;
    /* Last first: if two parts used one fd's position, the earlier one sets it last. */
    for (size_t i = request->part_count; i-- > 0;) {
        ferry__part *part = &request->parts[i];
        request->promise.result.remaining += part->left;
        if (part->source != NULL) {
            request->promise.result.remaining += ferry__source_unsent(part->source);
            ferry__source_settle(part->source, part->sent, request->stream->link.calls);
            has_sources = true;
        } else if (part->memory.release != NULL) {
            ferry__stream_do(request->stream, "releasing memory");
            part->memory.release((void *)part->memory.data, part->memory.release_arg);
        }
    }
    /* Only now: parts may share an fd that one of them was given. */
    if (has_sources) {
        ferry__stream_do(request->stream, "closing files");
        close_sources(request, request->part_count);
    }
}
