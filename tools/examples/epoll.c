/* SPDX-License-Identifier: MIT */
/*
 * A file server in a plain epoll loop. Each client names files of the working directory, one a
 * line, and gets them; the loop has a timer and signals beside it. SIGTERM or Ctrl-C ends it once
 * what is under way has been sent, in 2 seconds at most.
 *
 *     epoll unix:/tmp/files.socket &
 *     echo epoll.c | nc -N -U /tmp/files.socket
 */
#include <ferry/ferry.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* This, and all that ferry calls here, runs inside ferry_inbox_run: in the loop, on its thread. */
static void tell(ferry_promise *promise, const ferry_result *result, void *arg)
{
    (void)promise, (void)arg;
    char line[256];
    (void)ferry_result_format(result, line, sizeof line);
    (void)printf("%s\n", line);
}

static size_t on_read(ferry_stream *stream, const void *data, size_t length, bool at_end, void *arg)
{
    (void)at_end, (void)arg;
    char name[1024]; /* the reader is offered no more at once */
    const char *line = data, *end = memchr(line, '\n', length);
    if (end == NULL)
        return 0; /* the rest of the line is still to come */
    (void)snprintf(name, sizeof name, "%.*s", (int)(end - line), line);
    ferry_promise *sent;
    ferry_file file = ferry_file_at(name);
    file.flags = FERRY_FILE_BENEATH;
    if (ferry_stream_sendfile(stream, &file, NULL, &sent) == 0) { /* which never waits */
        (void)ferry_promise_observe(sent, tell, NULL, NULL);
        (void)ferry_promise_unref(sent);
    }
    return (size_t)(end - line) + 1;
}

/* The reader keeps the stream open, and closes it when the client has ended and has got it all. */
static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener, (void)arg;
    const ferry_reader reader = {.on_read = on_read, .high_bytes = 1024};
    (void)ferry_stream_set_reader(stream, &reader);
}

static void tick(int timer, ferry_service *service)
{
    uint64_t expirations;
    ferry_service_status status;
    if (read(timer, &expirations, sizeof expirations) > 0 &&
        ferry_service_get_status(service, &status) == 0)
        (void)printf("%zu clients\n", status.streams);
}

static bool watch(int loop, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return fd >= 0 && epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) == 0;
}

int main(int argc, char **argv)
{
    ferry_service *service;
    ferry_listener *listener;
    const ferry_listen_options options = {.on_stream = on_stream};
    const struct itimerspec often = {{0, 200000000}, {0, 200000000}};
    sigset_t ends;
    (void)sigemptyset(&ends), (void)sigaddset(&ends, SIGINT), (void)sigaddset(&ends, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ends, NULL), (void)setvbuf(stdout, NULL, _IOLBF, 0);
    int loop = epoll_create1(EPOLL_CLOEXEC), signals = signalfd(-1, &ends, SFD_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), inbox = ferry_inbox_get_fd();
    if (argc != 2 || !watch(loop, inbox) || !watch(loop, signals) || !watch(loop, timer) ||
        timerfd_settime(timer, 0, &often, NULL) < 0 || ferry_service_create(NULL, &service) < 0 ||
        ferry_listen(service, argv[1], &options, &listener) < 0)
        return 1;
    for (bool is_over = false; !is_over;) {
        struct epoll_event event;
        if (epoll_wait(loop, &event, 1, -1) != 1)
            continue; /* interrupted */
        if (event.data.fd == inbox)
            (void)ferry_inbox_run(0); /* what is there; for what comes later the loop wakes again */
        else if (event.data.fd == timer)
            tick(timer, service);
        else
            is_over = true;
    }
    if (ferry_service_stop(service, 2000) > 0) /* it sends what is queued, and closes everything */
        (void)printf("not every client has got it all\n");
    (void)ferry_listener_unref(listener), ferry_service_destroy(service);
    (void)ferry_inbox_run(0); /* tells of what was not sent by then */
}
