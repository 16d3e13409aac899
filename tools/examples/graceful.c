/* SPDX-License-Identifier: MIT */
/*
 * Sends each client a file. SIGTERM and SIGINT end it in order: nobody new is let in, what is under
 * way has 10 seconds, and it says how many clients were cut off.
 *
 *     graceful unix:/tmp/graceful.socket FILE
 */
#include <ferry/ferry.h>
#include <signal.h>
#include <stdio.h>

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *path)
{
    (void)listener;
    const ferry_file file = ferry_file_at(path);
    (void)ferry_stream_sendfile(stream, &file, NULL, NULL);
    /* Nobody keeps the stream: it is closed behind the file. */
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    sigset_t ends; /* blocked on this thread; on ferry's own, all signals are */
    int number;
    (void)sigemptyset(&ends), (void)sigaddset(&ends, SIGTERM), (void)sigaddset(&ends, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &ends, NULL);

    /* A confirmed close: a stream has ended in order once its client has read everything. */
    const ferry_stream_options stream = {.close_timeout_ms = 5000};
    const ferry_listen_options options = {
        .on_stream = on_stream, .on_stream_arg = argv[2], .on_owner = true, .stream = &stream};
    ferry_service *service;
    ferry_listener *listener;
    if (ferry_service_create(NULL, &service) < 0 ||
        ferry_listen(service, argv[1], &options, &listener) < 0)
        return 1;
    (void)sigwait(&ends, &number);

    int cut_off = ferry_service_stop(service, 10000); /* closes the listener and all streams */
    (void)printf("%d cut off\n", cut_off);
    (void)ferry_listener_unref(listener), ferry_service_destroy(service);
    return cut_off == 0 ? 0 : 1;
}
