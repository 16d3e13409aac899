/* SPDX-License-Identifier: MIT */
/*
 * Sends each client a file over TLS, until its input ends.
 *
 *     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
 *             -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem
 *     encrypted 127.0.0.1:4433 cert.pem key.pem FILE
 *     openssl s_client -quiet -connect 127.0.0.1:4433 -CAfile cert.pem -verify_return_error
 */
#include <ferry/ferry.h>
#include <ferry/tls.h>
#include <stdio.h>
#include <unistd.h>

static void on_stream(ferry_listener *listener, ferry_stream *stream, void *path)
{
    (void)listener;
    const ferry_file file = ferry_file_at(path);
    (void)ferry_stream_sendfile(stream, &file, NULL, NULL);
    /* Nobody keeps the stream: it is closed behind the file, in TLS and then in TCP. */
}

static void on_failure(ferry_stream *stream, const ferry_tls_failure *failure, void *arg)
{
    (void)stream, (void)arg;
    (void)fprintf(stderr, "no handshake: %s\n", failure->text);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    const ferry_tls_certificate certificate = {.chain_file = argv[2], .key_file = argv[3]};
    const ferry_tls_server_options server = {
        .certificates = &certificate, .certificate_count = 1, .on_failure = on_failure};
    ferry_tls_context *context;
    ferry_tls_failure failure;
    if (ferry_tls_server_create(&server, &failure, &context) < 0) {
        (void)fprintf(stderr, "%s\n", failure.text);
        return 1;
    }

    const ferry_tls_options tls = {.context = context};
    const ferry_stream_options stream = {.tls = &tls};
    const ferry_listen_options options = {
        .on_stream = on_stream, .on_stream_arg = argv[4], .on_owner = true, .stream = &stream};
    ferry_service *service;
    ferry_listener *listener;
    if (ferry_service_create(NULL, &service) < 0 ||
        ferry_listen(service, argv[1], &options, &listener) < 0)
        return 1;
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;

    int cut_off = ferry_service_stop(service, 10000);
    (void)ferry_listener_unref(listener), ferry_service_destroy(service);
    (void)ferry_tls_context_unref(context);
    return cut_off == 0 ? 0 : 1;
}
