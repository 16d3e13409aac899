/* SPDX-License-Identifier: MIT */
/*
 * Listens; each client names files, in one line; it gets them in that order, then "EOF", and the
 * connection is closed once all of it has been sent. What became of it is told on this thread.
 * SIGTERM or Ctrl-C ends it once what is under way has been sent, in 5 seconds at most.
 *
 *     sender unix:/tmp/sender.socket &
 *     echo "a.txt b.txt" | nc -U /tmp/sender.socket
 */
#include <ferry/ferry.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t is_over;

static void end(int number)
{
    (void)number;
    is_over = true;
}

static void tell(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise, (void)arg;
    char line[256];
    (void)ferry_result_format(result, line, sizeof line);
    (void)printf("%s\n", line);
}

/* Every submit returns at once: the owner of the stream carries them out, in this order. */
static void answer(ferry_stream *stream, char *names)
{
    ferry_promise *sent;
    for (char *rest, *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest)) {
        const ferry_file file = ferry_file_at(name);
        if (ferry_stream_sendfile(stream, &file, NULL, &sent) == 0)
            (void)ferry_promise_observe(sent, tell, NULL, NULL), (void)ferry_promise_unref(sent);
    }
    (void)ferry_stream_write(stream, "EOF", 3, NULL, NULL);
    (void)ferry_stream_close(stream, NULL);
}

static size_t on_read(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)at_end, (void)arg;
    char line[1024];
    const char *end = memchr(data, '\n', length);
    if (end == NULL || length > sizeof line)
        return 0; /* the rest of the line is still to come; all that was sent so far is kept */
    size_t size = (size_t)(end - (const char *)data);
    memcpy(line, data, size);
    line[size] = '\0';
    answer(stream, line);
    return size + 1;
}

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener, (void)arg;
    const ferry_reader reader = {.on_read = on_read, .high_bytes = 1024};
    (void)ferry_stream_set_reader(stream, &reader); /* which also keeps the stream open */
}

int main(int argc, char **argv)
{
    ferry_service *service;
    ferry_listener *listener;
    const ferry_listen_options options = {.on_stream = on_stream};
    (void)signal(SIGINT, end), (void)signal(SIGTERM, end);
    if (argc != 2 || ferry_service_create(NULL, &service) < 0 ||
        ferry_listen(service, argv[1], &options, &listener) < 0)
        return 1;
    char address[128];
    (void)ferry_listener_get_address(listener, address, sizeof address);
    (void)fprintf(stderr, "listening on %s\n", address);
    while (!is_over && ferry_inbox_run(200) >= 0)
        (void)fflush(stdout);
    (void)ferry_service_stop(service, 5000);
    (void)ferry_listener_unref(listener), ferry_service_destroy(service);
    return 0;
}
