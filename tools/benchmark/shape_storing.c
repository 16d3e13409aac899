/* SPDX-License-Identifier: MIT */
/*
 * Storing what comes: records of one size, each to its place in a file, beside recv(2) and
 * pwrite(2). The last of a window has a promise, which is awaited when the next window is full.
 */
#include "shape_kinds.h"

#include "helper.h"
#include "page_cached.h"
#include "peer_stream.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WINDOW = 64, LARGEST = 64 * 1024, FILE_BYTES = 16 << 20 };

/* Where a record goes to: the file is written again and again. */
static off_t place_of(const shape_run *what, size_t record)
{
    return (off_t)(record * what->of->bytes % FILE_BYTES);
}

/* A way to store them all that the source sends. */
typedef int store_all(const shape_run *what, int fd, int file);

static int run(const shape_run *what, store_all *store, double ret_figures[FIGURES])
{
    pid_t source;
    int file = page_cached_file(FILE_BYTES);
    if (file < 0)
        return file;
    int fd = helper_start_source(what->of->route, what->operations * what->of->bytes, &source);
    if (fd < 0)
        return fd;
    stopwatch watch = stopwatch_start();
    int error = store(what, fd, file);
    shape_give(what, stopwatch_read(&watch), ret_figures);
    int rest = helper_join(source);
    return error != 0 ? error : rest;
}

/* ---- recv(2) and pwrite(2) ------------------------------------------------------------------- */

static int store_one(int fd, int file, size_t length, off_t place)
{
    static char data[LARGEST];
    ssize_t came = recv(fd, data, length, MSG_WAITALL);
    if (came != (ssize_t)length)
        return came < 0 ? -errno : -ENODATA;
    ssize_t written = pwrite(file, data, length, place);
    return written == (ssize_t)length ? 0 : written < 0 ? -errno : -EIO;
}

static int store_by_calls(const shape_run *what, int fd, int file)
{
    int error = 0;
    for (size_t i = 0; i < what->operations && error == 0; i++)
        error = store_one(fd, file, what->of->bytes, place_of(what, i));
    (void)close(fd);
    return error;
}

static int with_calls(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, store_by_calls, ret_figures);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

/* @param promise NULL: of no window so far. */
static int settle(const shape_run *what, ferry_promise *promise)
{
    return promise != NULL ? peer_stream_settle(promise, what->of->bytes) : 0;
}

static int submit(const shape_run *what, ferry_stream *stream, int file, size_t record,
                  ferry_promise **ret_promise)
{
    ferry_file place = ferry_file_fd(file);
    place.flags = FERRY_FD_BORROW;
    place.offset = place_of(what, record);
    place.length = (int64_t)what->of->bytes;
    return ferry_stream_read_to_file(stream, &place, NULL, ret_promise);
}

static int store_in_windows(const shape_run *what, ferry_stream *stream, int file)
{
    ferry_promise *previous = NULL;
    int error = 0;
    for (size_t i = 1; i <= what->operations && error == 0; i++) {
        ferry_promise *last = NULL;
        bool ends_window = i % WINDOW == 0 || i == what->operations;
        error = submit(what, stream, file, i - 1, ends_window ? &last : NULL);
        if (last == NULL)
            continue;
        if (error == 0)
            error = settle(what, previous);
        previous = last;
    }
    int rest = settle(what, previous);
    return error != 0 ? error : rest;
}

static int store_by_ferry(const shape_run *what, int fd, int file)
{
    ferry_service *service;
    ferry_stream *stream;
    int error = service_with_one_owner(&service);
    if (error != 0)
        return error;
    error = ferry_stream_adopt(service, fd, NULL, &stream);
    if (error == 0) {
        error = store_in_windows(what, stream, file);
        ferry_stream_unref(stream);
    }
    ferry_service_destroy(service);
    return error;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    return run(what, store_by_ferry, ret_figures);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define STORING(title, text, length, times)                                                        \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("records/s"), .operations = times,           \
        .bytes = length, .route = ROUTE_UNIX,                                                      \
        .ways = {{"recv() and pwrite()", with_calls}, {"ferry", with_ferry}},                      \
    }

const shape shape_storing[] = {
    STORING("storing-1k", "records of 1 KiB, each to its place in a file, a unix socket", 1 << 10,
            200 * 1000),
    STORING("storing-64k", "records of 64 KiB, each to its place in a file, a unix socket",
            64 << 10, 20 * 1000),
    {0},
};
