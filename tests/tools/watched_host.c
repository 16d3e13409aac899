/* SPDX-License-Identifier: MIT */
/*
 * A host that ThreadSanitizer or helgrind watches, and that has ferry as an ordinary library: all
 * that its callbacks touch is plain memory, and only ferry orders who does when. Correct, so
 * nothing may be reported; with the argument "racy" it has one race of its own, which must be.
 */
#include <ferry/ferry.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { ROUNDS = 200 };

static ferry_stream *make_stream(ferry_service *service, int *ret_theirs)
{
    int ends[2];
    ferry_stream *stream;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    must(ferry_stream_adopt(service, ends[0], NULL, &stream) == 0);
    *ret_theirs = ends[1];
    return stream;
}

static void end_stream(ferry_stream *stream, int theirs)
{
    ferry_promise *closed;
    must(ferry_stream_close(stream, &closed) == 0);
    must(ferry_promise_await(closed, -1, NULL) == 0);
    ferry_promise_unref(closed);
    ferry_stream_unref(stream);
    close(theirs);
}

static void take(int theirs, size_t count)
{
    char buffer[4096];
    while (count > 0) {
        ssize_t got = read(theirs, buffer, count < sizeof buffer ? count : sizeof buffer);
        must(got > 0);
        count -= (size_t)got;
    }
}

/* ---- submits, callbacks on the owner, memory that is given ----------------------------------- */

static void note_sent(ferry_promise *, const ferry_result *result, void *arg)
{
    *(uint64_t *)arg += result->sent;
}

static void give_back(void *data, void *arg)
{
    memset(data, 0, 100);
    free(data);
    ++*(int *)arg;
}

static void give_memory(ferry_service *service)
{
    int theirs, *given = malloc(sizeof *given);
    uint64_t *sent = malloc(sizeof *sent);
    ferry_stream *stream = make_stream(service, &theirs);
    *given = 0, *sent = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char *data = malloc(100);
        memset(data, i, 100);
        ferry_promise *promise;
        ferry_request_options options = {
            .on_owner = note_sent, .on_owner_holds_queue = true, .on_owner_arg = sent};
        ferry_part part = ferry_part_give(data, 100, give_back, given);
        must(ferry_stream_send(stream, &part, 1, &options, &promise) == 0);
        must(ferry_promise_await(promise, -1, NULL) == 0);
        ferry_promise_unref(promise);
        must(*given == i + 1 && *sent == 100u * (unsigned)(i + 1));
        *sent += 0; /* ours to write now */
        take(theirs, 100);
    }
    free(given);
    free(sent);
    end_stream(stream, theirs);
}

/* ---- generators ------------------------------------------------------------------------------ */

typedef struct well {
    ferry_stream *stream;
    pthread_mutex_t mutex;
    int drawn;    /* the generator's alone */
    int prepared; /* under mutex */
} well;

static int64_t draw(void *buffer, size_t, void *arg)
{
    well *self = arg;
    pthread_mutex_lock(&self->mutex);
    int prepared = self->prepared;
    pthread_mutex_unlock(&self->mutex);
    if (self->drawn == prepared)
        return prepared == ROUNDS ? 0 : -EAGAIN;
    self->drawn++;
    memset(buffer, 'x', 1);
    return 1;
}

static void *prepare(void *arg)
{
    well *self = arg;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&self->mutex);
        self->prepared++;
        pthread_mutex_unlock(&self->mutex);
        ferry_stream_wake_generator(self->stream);
    }
    return NULL;
}

static void generate(ferry_service *service)
{
    int theirs;
    well *self = calloc(1, sizeof *self);
    pthread_mutex_init(&self->mutex, NULL);
    self->stream = make_stream(service, &theirs);
    ferry_part part = ferry_part_generate(draw, self, FERRY_TO_END, NULL);
    ferry_promise *promise;
    pthread_t thread;
    must(ferry_stream_send(self->stream, &part, 1, NULL, &promise) == 0);
    must(pthread_create(&thread, NULL, prepare, self) == 0);
    must(ferry_promise_await(promise, -1, NULL) == 0);
    must(self->drawn == ROUNDS);
    ferry_promise_unref(promise);
    must(pthread_join(thread, NULL) == 0);
    take(theirs, ROUNDS);
    end_stream(self->stream, theirs);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}

/* ---- readers --------------------------------------------------------------------------------- */

typedef struct heard {
    size_t bytes;
    ferry_promise *ended;
} heard;

static size_t hear(ferry_stream *stream, const void *data, size_t length, bool, void *arg)
{
    heard *self = arg;
    self->bytes += length;
    must(ferry_stream_write(stream, data, length, NULL, NULL) == 0);
    return length;
}

static void hear_end(ferry_stream *, int, void *arg)
{
    heard *self = arg;
    must(ferry_promise_settle(self->ended, NULL) == 0);
}

static void read_with_a_handler(ferry_service *service, bool on_owner)
{
    int theirs;
    heard *self = calloc(1, sizeof *self);
    ferry_stream *stream = make_stream(service, &theirs);
    must(ferry_promise_create(&self->ended) == 0);
    ferry_reader reader = {
        .on_read = hear, .on_end = hear_end, .arg = self, .on_owner = on_owner, .keep_open = true};
    must(ferry_stream_set_reader(stream, &reader) == 0);
    for (int i = 0; i < ROUNDS; i++)
        must(write(theirs, "0123456789", 10) == 10);
    must(shutdown(theirs, SHUT_WR) == 0);
    must(ferry_promise_await(self->ended, -1, NULL) == 0);
    must(self->bytes == ROUNDS * 10);
    ferry_promise_unref(self->ended);
    free(self);
    take(theirs, ROUNDS * 10);
    end_stream(stream, theirs);
}

/* ---- promises that pass values from thread to thread ----------------------------------------- */

static void free_value(void *value)
{
    *(int *)value = -1;
    free(value);
}

static void *settle_with_value(void *arg)
{
    int *value = malloc(sizeof *value);
    *value = 42;
    ferry_outcome outcome = {.value = value, .release = free_value};
    must(ferry_promise_settle(arg, &outcome) == 0);
    ferry_promise_unref(arg);
    return NULL;
}

static ferry_promise *look_at_value(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    *(int *)arg += *(int *)outcome->value;
    return NULL;
}

static void pass_values(void)
{
    int sum = 0;
    for (int i = 0; i < ROUNDS; i++) {
        ferry_promise *promise, *derived;
        pthread_t thread;
        must(ferry_promise_create(&promise) == 0);
        must(pthread_create(&thread, NULL, settle_with_value, ferry_promise_ref(promise)) == 0);
        must(pthread_detach(thread) == 0);
        must(ferry_promise_then(promise, look_at_value, &sum, &derived) == 0);
        must(ferry_promise_await(derived, -1, NULL) == 0);
        must(*(int *)ferry_promise_get_value(promise) == 42);
        ferry_promise_unref(promise);
        ferry_promise_unref(derived);
    }
    must(sum == 42 * ROUNDS);
}

/* ---- listening and connecting ---------------------------------------------------------------- */

static void count_stream(ferry_listener *, ferry_stream *stream, void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1); /* of several owners, which ferry does not order */
    must(ferry_stream_write(stream, "hello", 5, NULL, NULL) == 0);
}

static void ignore_line(const char *, void *) {}

static void listen_and_connect(ferry_service *service)
{
    atomic_int *count = calloc(1, sizeof *count);
    char address[64], memory[5];
    ferry_listener *listener;
    ferry_listen_options options = {
        .on_stream = count_stream, .on_stream_arg = count, .on_owner = true};
    must(ferry_listen(service, "127.0.0.1:0", &options, &listener) == 0);
    must(ferry_listener_get_address(listener, address, sizeof address) > 0);
    for (int i = 0; i < ROUNDS / 10; i++) {
        ferry_promise *connected, *said;
        ferry_stream *stream;
        ferry_read all = {.data = memory, .size = sizeof memory, .mode = FERRY_READ_EXACTLY};
        must(ferry_connect(service, address, NULL, &connected) == 0);
        must(ferry_promise_await(connected, -1, NULL) == 0);
        must(ferry_promise_get_stream(connected, &stream) == 0);
        must(ferry_stream_read(stream, &all, NULL, &said) == 0);
        must(ferry_service_dump(service, ignore_line, NULL) == 0);
        must(ferry_promise_await(said, -1, NULL) == 0);
        must(memcmp(memory, "hello", sizeof memory) == 0);
        ferry_promise_unref(said);
        ferry_promise_unref(connected);
        ferry_stream_unref(stream);
    }
    ferry_promise *closed;
    must(ferry_listener_close(listener, &closed) == 0);
    must(ferry_promise_await(closed, -1, NULL) == 0);
    must(atomic_load(count) == ROUNDS / 10);
    free(count);
    ferry_promise_unref(closed);
    ferry_listener_unref(listener);
}

/* ---- many threads, and spare memory that goes round ------------------------------------------ */

/* Of the first half few have a promise: the writes between those share a request. Of the others
 * half have one: spare blocks go round. */
static void *submit_many(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        bool has_promise = i % (i < ROUNDS / 2 ? 64 : 2) == 0;
        ferry_promise *promise;
        must(ferry_stream_write(arg, "0123456789", 10, NULL, has_promise ? &promise : NULL) == 0);
        if (has_promise)
            ferry_promise_unref(promise);
    }
    return NULL;
}

static void submit_from_many_threads(ferry_service *service)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    int theirs;
    ferry_stream *stream = make_stream(service, &theirs);
    for (int i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, submit_many, stream) == 0);
    take(theirs, THREADS * ROUNDS * 10);
    for (int i = 0; i < THREADS; i++)
        must(pthread_join(threads[i], NULL) == 0);
    end_stream(stream, theirs);
}

/* ---- a real race ----------------------------------------------------------------------------- */

static void race(ferry_service *service)
{
    int theirs;
    static uint64_t sent;
    ferry_stream *stream = make_stream(service, &theirs);
    ferry_request_options options = {
        .on_owner = note_sent, .on_owner_holds_queue = true, .on_owner_arg = &sent};
    must(ferry_stream_write(stream, "x", 1, &options, NULL) == 0);
    sent++; /* while the owner may do so, too */
    take(theirs, 1);
    end_stream(stream, theirs);
}

int main(int argc, char **argv)
{
    for (int placement = FERRY_PLACEMENT_DEDICATED; placement <= FERRY_PLACEMENT_SHARED;
         placement++) {
        ferry_service_options options = {.placement = (ferry_placement)placement,
                                         .shared_owners = 2};
        ferry_service *service;
        must(ferry_service_create(&options, &service) == 0);
        if (argc > 1 && strcmp(argv[1], "racy") == 0) {
            race(service);
        } else {
            give_memory(service);
            generate(service);
            read_with_a_handler(service, true);
            read_with_a_handler(service, false);
            pass_values();
            listen_and_connect(service);
            submit_from_many_threads(service);
        }
        ferry_service_destroy(service);
    }
    return 0;
}
