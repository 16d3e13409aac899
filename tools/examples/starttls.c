/* SPDX-License-Identifier: MIT */
/*
 * A protocol of lines that begins in clear and goes on encrypted, as SMTP does. Who then shows a
 * certificate that CA has signed is called by its name.
 *
 *     starttls SOCKET cert.pem key.pem CA
 *     openssl s_client -starttls smtp -crlf -unix SOCKET -CAfile ca.pem -cert client.pem
 */
#include <ferry/ferry.h>
#include <ferry/tls.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool get_line(ferry_stream *stream, char *line, size_t size)
{
    const ferry_read read = {.data = line,
                             .size = size - 1,
                             .mode = FERRY_READ_UNTIL,
                             .delimiter = "\n",
                             .delimiter_length = 1};
    ferry_promise *promise;
    ferry_result result;
    if (stream == NULL || ferry_stream_read(stream, &read, NULL, &promise) < 0)
        return false;
    (void)ferry_promise_await(promise, -1, &result);
    (void)ferry_promise_unref(promise);
    line[result.sent] = '\0';
    return result.error == 0 && result.sent > 0; /* 0: the end */
}

/* Ends the stream; the connection goes on. @return its next stream; NULL: it is closed. */
static ferry_stream *encrypt(ferry_service *service, ferry_stream *clear,
                             ferry_tls_context *context)
{
    ferry_tls_options tls = {.context = context};
    const ferry_stream_options options = {.tls = &tls};
    ferry_stream *stream = NULL;
    ferry_promise *detached;
    if (ferry_stream_detach(clear, &detached) == 0) { /* behind what was said */
        (void)ferry_promise_await(detached, -1, NULL);
        /* What came behind STARTTLS is TLS. If it is not, the handshake fails, as it has to. */
        (void)ferry_promise_get_unread(detached, &tls.received, &tls.received_length);
        int fd = ferry_promise_get_fd(detached);
        if (fd >= 0 && ferry_stream_adopt(service, fd, &options, &stream) < 0)
            (void)close(fd);
        (void)ferry_promise_unref(detached);
    }
    (void)ferry_stream_unref(clear);
    return stream;
}

static void serve(ferry_service *service, ferry_stream *stream, ferry_tls_context *context)
{
    char line[256], answer[300];
    ferry_tls_info peer;
    (void)ferry_stream_write(stream, "220 here\r\n", 10, NULL, NULL);
    while (get_line(stream, line, sizeof line)) {
        if (strncmp(line, "STARTTLS", 8) == 0) {
            (void)ferry_stream_write(stream, "220 go ahead\r\n", 14, NULL, NULL);
            stream = encrypt(service, stream, context);
        } else if (ferry_tls_get_info(stream, &peer) == 0) {
            int length = snprintf(answer, sizeof answer, "250 hello, %s\r\n", peer.subject);
            (void)ferry_stream_write(stream, answer, (size_t)length, NULL, NULL);
        } else {
            (void)ferry_stream_write(stream, "250 STARTTLS\r\n", 14, NULL, NULL);
        }
    }
    (void)ferry_stream_unref(stream); /* closes it, if nobody has */
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 5 || strlen(argv[1]) >= sizeof address.sun_path)
        return 2;
    (void)strcpy(address.sun_path, argv[1]);
    const ferry_tls_certificate certificate = {.chain_file = argv[2], .key_file = argv[3]};
    const ferry_tls_server_options server = {.certificates = &certificate,
                                             .certificate_count = 1,
                                             .client_certificate = FERRY_TLS_CLIENT_MUST_SHOW,
                                             .trust = {.ca_file = argv[4]}};
    ferry_tls_context *context;
    ferry_service *service;
    ferry_stream *stream;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (ferry_tls_server_create(&server, NULL, &context) < 0 ||
        ferry_service_create(NULL, &service) < 0 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 8) < 0)
        return 1;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;)
        if (ferry_stream_adopt(service, fd, NULL, &stream) == 0)
            serve(service, stream, context);
    return 1;
}
