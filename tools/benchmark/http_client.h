/* SPDX-License-Identifier: MIT */
/*
 * An HTTP client for what wrk(1) cannot do: HEAD, unix sockets, how long the first request of each
 * connection takes. It asks for one file again and again, over connections that stay, in one
 * thread.
 */
#ifndef BENCHMARK_HTTP_CLIENT_H
#define BENCHMARK_HTTP_CLIENT_H

#include <sys/socket.h>

typedef struct http_client {
    const struct sockaddr *server;
    socklen_t server_size;
    const char *method;
    const char *name; /* of the file */
    unsigned connections;
    unsigned duration_s;
} http_client;

typedef struct http_client_result {
    double requests;
    double requests_per_s;
    double p99_ms; /* of the time from asking to the answer's last byte; of a first request from the
                      attempt to connect */
} http_client_result;

/*
 * Opens all connections at once, and runs until its time is up, and there are as many answers as
 * connections.
 * @return 0; -ETIMEDOUT: that took a minute; -EBADMSG: an answer was no success; or another
 *         negative errno.
 */
int http_client_run(const http_client *what, http_client_result *ret_result);

#endif
