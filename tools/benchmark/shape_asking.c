/* SPDX-License-Identifier: MIT */
/*
 * Asking: 64-byte writes of one thread that ask for something each: to be told, a time limit,
 * progress, confirmation. Beside the same writes, forgotten.
 */
#include "shape_kinds.h"

#include "peer_stream.h"

enum { WRITE_BYTES = 64, WINDOW = 256 /* promises at a time */ };

/* What each write asks for. */
typedef struct wish {
    ferry_request_options options;
    bool has_promise;
} wish;

static const wish nothing = {.options.room_timeout_ms = -1};

/* ---- the writes ------------------------------------------------------------------------------ */

static int await_all(ferry_promise *promises[], size_t count)
{
    int error = 0;
    for (size_t i = 0; i < count; i++) {
        int its = peer_stream_settle(promises[i], WRITE_BYTES);
        error = error != 0 ? error : its;
    }
    return error;
}

/* @param ret_promises NULL: nobody will ask. */
static int submit(ferry_stream *stream, const wish *each, size_t count,
                  ferry_promise *ret_promises[])
{
    static const char payload[WRITE_BYTES];
    int error = 0;
    for (size_t i = 0; i < count && error == 0; i++)
        error = ferry_stream_write(stream, payload, WRITE_BYTES, &each->options,
                                   ret_promises != NULL ? &ret_promises[i] : NULL);
    return error;
}

/* Progress is told on this thread, when it listens. */
static int listen_to_progress(void)
{
    int count;
    do
        count = ferry_inbox_run(0);
    while (count > 0);
    return count;
}

static int write_all(const shape_run *what, ferry_stream *stream, const wish *each)
{
    ferry_promise *promises[WINDOW];
    int error = 0;
    for (size_t done = 0; done < what->operations && error == 0; done += WINDOW) {
        error = submit(stream, each, WINDOW, each->has_promise ? promises : NULL);
        if (error == 0 && each->has_promise)
            error = await_all(promises, WINDOW);
        if (error == 0 && each->options.on_progress != NULL)
            error = listen_to_progress();
    }
    return error;
}

static int run(const shape_run *what, const wish *each, double ret_figures[FIGURES])
{
    peer_stream over = {0};
    int error = peer_stream_init(&over, what->peer, FERRY_PLACEMENT_DEDICATED);
    if (error == 0)
        error = peer_stream_open(&over);
    if (error != 0)
        return error;
    size_t windows = (what->operations + WINDOW - 1) / WINDOW;
    stopwatch watch = stopwatch_start();
    error = write_all(what, over.stream, each);
    int check = peer_stream_close(&over, windows * WINDOW * WRITE_BYTES);
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error != 0 ? error : check;
}

static int forgotten(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, &nothing, ret_figures);
}

static int asking(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, what->of->detail, ret_figures);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static void on_settled(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise;
    (void)result;
    (void)arg;
}

static void on_progress(ferry_promise *promise, uint64_t sent_bytes, void *arg)
{
    (void)promise;
    (void)sent_bytes;
    (void)arg;
}

static const wish to_be_told = {.options = {.room_timeout_ms = -1, .on_owner = on_settled}};
static const wish to_be_told_first = {
    .options = {.room_timeout_ms = -1, .on_owner = on_settled, .on_owner_holds_queue = true}};
static const wish a_limit = {.options = {.room_timeout_ms = -1, .timeout_ms = 60000}};
static const wish progress = {.options = {.room_timeout_ms = -1, .on_progress = on_progress}};
static const wish confirmation = {
    .options = {.room_timeout_ms = -1, .completion = FERRY_COMPLETION_DRAINED},
    .has_promise = true};

#define ASKING(title, text, what)                                                                  \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("writes/s"), .operations = 200 * 1000,       \
        .detail = what, .ways = {{"the same, forgotten", forgotten}, {"ferry", asking}},           \
    }

const shape shape_asking[] = {
    ASKING("asking-told", "64-byte writes, a callback on the owner each, which may lag",
           &to_be_told),
    ASKING("asking-told-first", "64-byte writes, a callback each before what follows is sent",
           &to_be_told_first),
    ASKING("asking-limit", "64-byte writes, a time limit each", &a_limit),
    ASKING("asking-progress", "64-byte writes, progress told of each", &progress),
    ASKING("asking-drained", "64-byte writes, drained, a promise each, 256 at a time",
           &confirmation),
    {0},
};
