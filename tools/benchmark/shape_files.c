/* SPDX-License-Identifier: MIT */
/*
 * Small files, each behind a head, as answers of a server are: a file that is open, sent again and
 * again. Beside send(2) with MSG_MORE and sendfile(2), and beside reading it into the memory that
 * has the head and one send(2).
 */
#include "shape_kinds.h"

#include "page_cached.h"
#include "peer_stream.h"

#include <errno.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_BYTES = 200, LARGEST = 64 * 1024 };
static const char head[HEAD_BYTES] = "HTTP/1.1 200 OK\r\n";

static size_t all_bytes(const shape_run *what)
{
    return what->operations * (HEAD_BYTES + what->of->bytes);
}

/* ---- system calls ---------------------------------------------------------------------------- */

static int send_all(int fd, const char *data, size_t length, int flags)
{
    while (length > 0) {
        ssize_t count = send(fd, data, length, flags | MSG_NOSIGNAL);
        if (count < 0)
            return -errno;
        data += count;
        length -= (size_t)count;
    }
    return 0;
}

static int send_in_two(int fd, int file, size_t length)
{
    int error = send_all(fd, head, HEAD_BYTES, MSG_MORE);
    for (off_t at = 0; error == 0 && (size_t)at < length;)
        error = sendfile(fd, file, &at, length - (size_t)at) < 0 ? -errno : 0;
    return error;
}

static int send_in_one(int fd, int file, size_t length)
{
    static char data[HEAD_BYTES + LARGEST];
    memcpy(data, head, HEAD_BYTES);
    if (pread(file, &data[HEAD_BYTES], length, 0) != (ssize_t)length)
        return -ENODATA;
    return send_all(fd, data, HEAD_BYTES + length, 0);
}

static int with_calls(const shape_run *what, int (*send_one)(int fd, int file, size_t length),
                      double ret_figures[FIGURES])
{
    int file = page_cached_file(what->of->bytes);
    int fd = file < 0 ? file : peer_connect(what->peer);
    if (fd < 0)
        return fd;
    int error = 0;
    stopwatch watch = stopwatch_start();
    for (size_t i = 0; i < what->operations && error == 0; i++)
        error = send_one(fd, file, what->of->bytes);
    (void)close(fd);
    int check = peer_check(what->peer, all_bytes(what));
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error != 0 ? error : check;
}

static int with_sendfile(const shape_run *what, double ret_figures[FIGURES])
{
    return with_calls(what, send_in_two, ret_figures);
}

static int with_pread(const shape_run *what, double ret_figures[FIGURES])
{
    return with_calls(what, send_in_one, ret_figures);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

/* Sends them all over the stream, and waits where it may not be further ahead. */
typedef int submit_all(const shape_run *what, ferry_stream *stream, ferry_shared_file *file);

enum { WINDOW = 64 };

/* The last one of a window has a promise, which is awaited when the next window is full. */
static int submit_in_windows(const shape_run *what, ferry_stream *stream, ferry_shared_file *file)
{
    const ferry_part parts[] = {ferry_part_copy(head, HEAD_BYTES),
                                ferry_part_file(ferry_file_shared(file))};
    ferry_promise *previous = NULL;
    int error = 0;
    for (size_t i = 1; i <= what->operations && error == 0; i++) {
        ferry_promise *last = NULL;
        bool ends_window = i % WINDOW == 0;
        error = ferry_stream_send(stream, parts, 2, NULL, ends_window ? &last : NULL);
        if (!ends_window || error != 0)
            continue;
        if (previous != NULL)
            error = peer_stream_settle(previous, HEAD_BYTES + what->of->bytes);
        previous = last;
    }
    (void)ferry_promise_unref(previous);
    return error;
}

/* Each has a promise. For each the oldest one of a window is awaited. */
static int submit_one_by_one(const shape_run *what, ferry_stream *stream, ferry_shared_file *file)
{
    const ferry_part parts[] = {ferry_part_copy(head, HEAD_BYTES),
                                ferry_part_file(ferry_file_shared(file))};
    ferry_promise *window[WINDOW] = {NULL};
    int error = 0;
    for (size_t i = 0; i < what->operations + WINDOW && error == 0; i++) {
        ferry_promise **place = &window[i % WINDOW];
        if (*place != NULL)
            error = peer_stream_settle(*place, HEAD_BYTES + what->of->bytes);
        *place = NULL;
        if (error == 0 && i < what->operations)
            error = ferry_stream_send(stream, parts, 2, NULL, place);
    }
    return error;
}

static int open_shared(size_t length, ferry_shared_file **ret_shared)
{
    int fd = page_cached_file(length);
    if (fd < 0)
        return fd;
    ferry_file file = ferry_file_fd(fd);
    file.offset = 0;
    return ferry_shared_file_open(&file, ret_shared);
}

static int with_stream(const shape_run *what, submit_all *submit, double ret_figures[FIGURES])
{
    ferry_shared_file *file;
    int error = open_shared(what->of->bytes, &file);
    if (error != 0)
        return error;
    peer_stream over = {0};
    error = peer_stream_init(&over, what->peer, FERRY_PLACEMENT_SHARED);
    if (error == 0)
        error = peer_stream_open(&over);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = submit(what, over.stream, file);
    int check = peer_stream_close(&over, all_bytes(what));
    shape_give(what, stopwatch_read(&watch), ret_figures);
    return error != 0 ? error : check;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    return with_stream(what, submit_in_windows, ret_figures);
}

static int with_ferry_one_by_one(const shape_run *what, double ret_figures[FIGURES])
{
    return with_stream(what, submit_one_by_one, ret_figures);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define FILES(title, text, length, times)                                                          \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("files/s"), .operations = times,             \
        .bytes = length,                                                                           \
        .ways = {{"send() and sendfile()", with_sendfile},                                         \
                 {"pread() and send()", with_pread},                                               \
                 {"ferry", with_ferry}},                                                           \
    }

const shape shape_files[] = {
    FILES("files-1k", "a head and a file of 1 KiB, TCP", 1024, 200 * 1000),
    FILES("files-16k", "a head and a file of 16 KiB, TCP", 16 * 1024, 60 * 1000),
    {
        .name = "files-awaited",
        .summary = "a head and a file of 1 KiB, TCP, and the oldest of 64 is awaited for each",
        SHAPE_FIGURES("files/s"),
        .operations = 200 * 1000,
        .bytes = 1024,
        .ways = {{"one promise a window", with_ferry}, {"ferry", with_ferry_one_by_one}},
    },
    {0},
};
