/* SPDX-License-Identifier: MIT */
#include "tests/notes.h"

static size_t choose(const notes *self, const unsigned char *data, size_t length)
{
    if (self->delimiter != 0) {
        const unsigned char *found = memchr(data, self->delimiter, length);
        return found != NULL ? (size_t)(found - data) + 1 : 0;
    }
    if (self->least == 0)
        return length;
    return length >= self->least ? self->least : 0;
}

size_t notes_read(ferry_stream *, const void *data, size_t length, bool at_end, void *arg)
{
    notes *self = arg;
    check(length > 0);
    check_eq(atomic_load(&self->ends), 0);
    self->saw_end |= at_end;
    self->thread = pthread_self();
    if (length > self->longest)
        self->longest = length;
    size_t size = choose(self, data, length), count = atomic_load(&self->count);
    if (count < sizeof self->taken) {
        size_t room = sizeof self->taken - count;
        memcpy(self->taken + count, data, size < room ? size : room);
    }
    atomic_store(&self->count, count + size);
    atomic_fetch_add(&self->calls, 1);
    return size;
}

void notes_end(ferry_stream *, int error, void *arg)
{
    notes *self = arg;
    self->error = error;
    atomic_fetch_add(&self->ends, 1);
    atomic_store(&self->is_over, true);
}

ferry_reader notes_reader(notes *self, bool on_owner)
{
    return (ferry_reader){
        .on_read = notes_read, .on_end = notes_end, .arg = self, .on_owner = on_owner};
}

void notes_set_with(ferry_stream *stream, notes *self, ferry_reader wanted)
{
    wanted.on_read = wanted.on_read != NULL ? wanted.on_read : notes_read;
    wanted.on_end = wanted.on_end != NULL ? wanted.on_end : notes_end;
    wanted.arg = self;
    check_eq(ferry_stream_set_reader(stream, &wanted), 0);
}

void notes_set(ferry_stream *stream, notes *self, bool on_owner)
{
    notes_set_with(stream, self, (ferry_reader){.on_owner = on_owner});
}

void notes_await(notes *self, size_t count)
{
    while (atomic_load(&self->count) < count)
        (void)ferry_inbox_run(10);
}

void notes_await_end(notes *self)
{
    while (!atomic_load(&self->is_over))
        (void)ferry_inbox_run(10);
}

void run_until_quiet(void)
{
    do
        wait_until_asleep();
    while (ferry_inbox_run(0) > 0);
}

void send_text(int fd, const char *text)
{
    check_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (long long)strlen(text));
}

ferry_promise *submit_read(ferry_stream *stream, ferry_read read)
{
    ferry_promise *promise;
    check_eq(ferry_stream_read(stream, &read, NULL, &promise), 0);
    return promise;
}

size_t fill_up(int fd)
{
    static const char zeros[4096];
    size_t sum = 0;
    do {
        ssize_t count;
        while ((count = send(fd, zeros, sizeof zeros, MSG_DONTWAIT | MSG_NOSIGNAL)) > 0)
            sum += (size_t)count;
        check(sum < 64 << 20); /* no socket's buffers hold so much: it is read */
        check_eq(errno, EAGAIN);
        wait_until_asleep(); /* and then there may be room again */
    } while (send(fd, zeros, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 && ++sum);
    return sum;
}
