/* SPDX-License-Identifier: MIT */
/*
 * Sends a file while another program still writes it. The writer is done when standard input ends.
 *
 *     : >image; cp /dev/cdrom image | growing image 192.0.2.1:9000
 */
#include <errno.h>
#include <ferry/ferry.h>
#include <stdio.h>

/* Follows the file until the writer is done. Then sends what is left. */
static int send_growing(ferry_stream *stream, const char *path)
{
    ferry_file file = ferry_file_at(path);
    ferry_promise *following, *rest;
    ferry_result result = {0};
    file.flags = FERRY_FILE_FOLLOW;
    file.offset = 0;
    int error = ferry_stream_sendfile(stream, &file, NULL, &following);
    if (error != 0)
        return error;
    while (getchar() != EOF)
        continue;
    (void)ferry_promise_cancel(following); /* the file has its last byte: now it ends somewhere */
    (void)ferry_promise_await(following, -1, &result);
    (void)ferry_promise_unref(following);
    if (result.error != -ECANCELED)
        return result.error;
    file.flags = 0;
    file.offset = (int64_t)result.sent;
    error = ferry_stream_sendfile(stream, &file, NULL, &rest);
    if (error == 0)
        (void)ferry_promise_await(rest, -1, &result), (void)ferry_promise_unref(rest);
    return error != 0 ? error : result.error;
}

int main(int argc, char **argv)
{
    /* What a cancel leaves in the middle is taken up right there: the stream goes on. */
    const ferry_stream_options stream_options = {.framing = FERRY_FRAMING_CONTINUE};
    const ferry_connect_options options = {.stream = &stream_options};
    ferry_service *service;
    ferry_promise *connected;
    ferry_stream *stream;
    ferry_result result;
    if (argc != 3 || ferry_service_create(NULL, &service) < 0 ||
        ferry_connect(service, argv[2], &options, &connected) < 0)
        return 2;
    (void)ferry_promise_await(connected, -1, &result);
    int error = result.error;
    if (error == 0)
        error = ferry_promise_get_stream(connected, &stream);
    if (error == 0)
        error = send_growing(stream, argv[1]), (void)ferry_stream_unref(stream);
    (void)printf("%s\n", ferry_error_name(error));
    (void)ferry_service_stop(service, -1); /* nobody keeps the stream: it is being closed */
    (void)ferry_promise_unref(connected), ferry_service_destroy(service);
    return error == 0 ? 0 : 1;
}
