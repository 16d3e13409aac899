/* SPDX-License-Identifier: MIT */
/*
 * Echo: many connections that each send, wait for it to come back, and send again. Read on the
 * stream's owner, and by the thread that set the reader; beside one thread with an epoll set.
 */
#include "shape_kinds.h"

#include "echo.h"
#include "peer_stream.h"

#include <ferry/ferry.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROOM_BYTES = 256 * 1024 }; /* more than a message */

/* ---- a thread -------------------------------------------------------------------------------- */

/* It goes on until the process ends. */
static void *be_thread(void *context)
{
    (void)complain("echo", echo_answer(*(const int *)context, NULL));
    exit(EXIT_FAILURE);
}

static int start_thread(int *listener)
{
    pthread_t thread;
    return -pthread_create(&thread, NULL, be_thread, listener);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static size_t echo(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)at_end;
    (void)arg;
    (void)ferry_stream_write(stream, data, length, NULL, NULL);
    return length;
}

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener;
    const ferry_reader reader = {
        .on_read = echo, .on_owner = arg != NULL, .high_bytes = ROOM_BYTES};
    (void)ferry_stream_set_reader(stream, &reader);
}

static int start_ferry(int listener, bool on_owner)
{
    ferry_service *service;
    int error = service_with_one_owner(&service);
    if (error != 0)
        return error;
    char address[16];
    (void)snprintf(address, sizeof address, "fd:%d", listener);
    static bool is_on_owner = true; /* what the argument points to, if so */
    const ferry_listen_options options = {
        .on_stream = on_stream,
        .on_stream_arg = on_owner ? &is_on_owner : NULL,
        .on_owner = on_owner,
        .stream = &(ferry_stream_options){.no_delay = true},
    };
    ferry_listener *listening;
    return ferry_listen(service, address, &options, &listening);
}

static int start_on_owner(int *listener)
{
    return start_ferry(*listener, true);
}

/* The thread that reads: it goes on until the process ends. */
static void *read_at_home(void *context)
{
    int error = start_ferry(*(const int *)context, false);
    while (error >= 0)
        error = ferry_inbox_run(-1);
    (void)complain("echo", error);
    exit(EXIT_FAILURE);
}

static int start_at_home(int *listener)
{
    pthread_t thread;
    return -pthread_create(&thread, NULL, read_at_home, listener);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static int with_thread(const shape_run *what, double ret_figures[FIGURES])
{
    return shape_serve(what, echo_call, start_thread, ret_figures);
}

static int with_owner(const shape_run *what, double ret_figures[FIGURES])
{
    return shape_serve(what, echo_call, start_on_owner, ret_figures);
}

static int with_home(const shape_run *what, double ret_figures[FIGURES])
{
    return shape_serve(what, echo_call, start_at_home, ret_figures);
}

#define ECHO(title, text, length, times, how)                                                      \
    {                                                                                              \
        .name = title, .summary = text, SHAPE_FIGURES("echoes/s"), .operations = times,            \
        .count = 64, .bytes = length, .ways = {{"an epoll thread", with_thread}, {"ferry", how}},  \
    }

const shape shape_echo[] = {
    ECHO("echo-64", "echo of 64 bytes, 64 connections, on the owner", 64, 80 * 1000, with_owner),
    ECHO("echo-16k", "echo of 16 KiB, 64 connections, on the owner", 16 << 10, 20 * 1000,
         with_owner),
    ECHO("echo-home", "echo of 64 bytes, 64 connections, by the thread that set the reader", 64,
         80 * 1000, with_home),
    {0},
};
