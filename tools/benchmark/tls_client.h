/* SPDX-License-Identifier: MIT */
/*
 * A client of a server of files over TLS: threads that each connect, ask for a file, read it to the
 * end, and begin anew, in full handshakes or in resumed ones. wrk(1) does not resume.
 */
#ifndef BENCHMARK_TLS_CLIENT_H
#define BENCHMARK_TLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tls_client {
    unsigned port;
    const char *name; /* of the file */
    size_t length;    /* of the file */
    unsigned threads;
    unsigned duration_s;
    bool resumes;
} tls_client;

typedef struct tls_client_result {
    double requests;
    double requests_per_s;
} tls_client_result;

/* @return 0; -EBADMSG: an answer was another; -ENOMSG: a handshake was not resumed, or was; or
 *         another negative errno. */
int tls_client_run(const tls_client *what, tls_client_result *ret_result);

#endif
