/* SPDX-License-Identifier: MIT */
/*
 * Gives a file away in a libuv loop, until so many clients have it: each that connects gets it, and
 * its checksum behind it, as sum(1) has it. libuv's thread pool works that out meanwhile: a promise
 * of the program's own, which each transfer is joined with.
 *
 *     libuv unix:/tmp/file.socket libuv.c 1 & nc -U /tmp/file.socket
 */
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

static uv_work_t work; /* its data is the file's name */
static ferry_promise *summed;
static unsigned sum;
static int wanted, served;

static void add_up(uv_work_t *request) /* on a thread of the pool; all else runs in the loop */
{
    FILE *file = fopen(request->data, "rb");
    if (file == NULL)
        return; /* the transfers will tell */
    for (int byte; (byte = getc(file)) != EOF;)
        sum = ((sum >> 1) + (sum << 15) + (unsigned)byte) & 0xffff;
    (void)fclose(file);
}

static void have_added_up(uv_work_t *request, int status)
{
    (void)request;
    const ferry_outcome outcome = {.result.error = status}; /* libuv's are negative errnos, too */
    (void)ferry_promise_settle(summed, &outcome);
}

static void finish(ferry_promise *both, const ferry_result *result, void *arg)
{
    (void)both;
    ferry_stream *stream = arg;
    char line[256];
    int length = snprintf(line, sizeof line, "%05u\n", sum);
    served += result->error == 0;
    if (result->error == 0) /* who gets no sum knows that he has not got it all */
        (void)ferry_stream_write(stream, line, (size_t)length, NULL, NULL);
    (void)ferry_stream_unref(stream); /* closes it after what is queued */
    (void)ferry_result_format(result, line, sizeof line);
    (void)printf("%s\n", line);
}

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener, (void)arg;
    const ferry_file file = ferry_file_at(work.data);
    ferry_promise *parts[2] = {NULL, NULL}, *both = NULL;
    if (ferry_stream_sendfile(stream, &file, NULL, &parts[0]) == 0 &&
        ferry_promise_without_cancel(summed, &parts[1]) == 0 && /* it is the other clients', too */
        ferry_promise_all(parts, 2, &both) == 0 &&
        ferry_promise_observe(both, finish, stream, NULL) == 0)
        (void)ferry_stream_ref(stream);
    (void)ferry_promise_unref(both), (void)ferry_promise_unref(parts[0]);
    (void)ferry_promise_unref(parts[1]);
}

static void on_inbox(uv_poll_t *inbox, int status, int events)
{
    (void)inbox, (void)status, (void)events;
    (void)ferry_inbox_run(0);
}

static void on_timer(uv_timer_t *timer)
{
    (void)timer;
    (void)printf("%d of %d\n", served, wanted);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_poll_t inbox;
    uv_timer_t timer;
    ferry_service *service;
    ferry_listener *listener;
    const ferry_listen_options options = {.on_stream = on_stream};
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 4 || (wanted = atoi(argv[3])) < 1 ||
        uv_poll_init(loop, &inbox, ferry_inbox_get_fd()) < 0 || ferry_promise_create(&summed) < 0 ||
        ferry_service_create(NULL, &service) < 0 ||
        ferry_listen(service, argv[1], &options, &listener) < 0)
        return 1;
    (void)uv_poll_start(&inbox, UV_READABLE, on_inbox);
    (void)uv_timer_init(loop, &timer), (void)uv_timer_start(&timer, on_timer, 200, 200);
    work.data = argv[2], (void)uv_queue_work(loop, &work, add_up, have_added_up);
    while (served < wanted)
        (void)uv_run(loop, UV_RUN_ONCE);
    (void)ferry_listener_unref(listener);
    (void)ferry_service_stop(service, 5000); /* the last ones are still being sent to */
    ferry_service_destroy(service);
    (void)ferry_promise_unref(summed);
}
