/* SPDX-License-Identifier: MIT */
/*
 * Sends each client a file, to each at the same rate, and to all together at four times that. Ends
 * when its standard input does.
 *
 *     rates 127.0.0.1:8000 FILE BYTES_PER_S
 */
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct offer {
    const char *path;
    uint64_t bytes_per_s;
    ferry_limiter *all; /* the parent of each client's own */
} offer;

/* On the stream's owner, before anything is sent. */
static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener;
    const offer *plan = arg;
    const ferry_file file = ferry_file_at(plan->path);
    const ferry_limiter_options options = {.bytes_per_s = plan->bytes_per_s, .parent = plan->all};
    ferry_limiter *own;
    if (ferry_limiter_create(&options, &own) < 0)
        return; /* nobody keeps the stream: it is closed */
    (void)ferry_stream_set_limiter(stream, own);
    (void)ferry_limiter_unref(own); /* the stream has a reference */
    /* Nobody keeps the stream: it is closed behind the file. */
    (void)ferry_stream_sendfile(stream, &file, NULL, NULL);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    offer plan = {argv[2], strtoull(argv[3], NULL, 10), NULL};
    const ferry_limiter_options together = {.bytes_per_s = 4 * plan.bytes_per_s};
    const ferry_listen_options options = {
        .on_stream = on_stream, .on_stream_arg = &plan, .on_owner = true};
    ferry_service *service;
    ferry_listener *listener;
    if (ferry_limiter_create(&together, &plan.all) < 0 ||
        ferry_service_create(NULL, &service) < 0 ||
        ferry_listen(service, argv[1], &options, &listener) < 0)
        return 1;
    while (getchar() != EOF)
        continue;
    (void)ferry_service_stop(service, -1);
    (void)ferry_listener_unref(listener), ferry_service_destroy(service);
    (void)ferry_limiter_unref(plan.all);
    return 0;
}
