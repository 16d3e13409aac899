/* SPDX-License-Identifier: MIT */
/* Fetching: one HTTP GET, to see that a server does what it is about to be measured at. */
#ifndef BENCHMARK_FETCH_H
#define BENCHMARK_FETCH_H

#include <stddef.h>

/* Writes a request for /name. @return its length, or -ENAMETOOLONG if it does not fit. */
enum { FETCH_REQUEST_BYTES = 256 };
int fetch_write_request(const char *name, char ret_request[FETCH_REQUEST_BYTES]);

/* Connects to 127.0.0.1. @return the socket, or a negative errno. */
int fetch_connect(unsigned port);

/*
 * Connects, and asks for /name.
 * @param receive_bytes of the socket's buffer, as for SO_RCVBUF; 0: as the system has it.
 * @return the socket, or a negative errno.
 */
int fetch_begin(unsigned port, const char *name, int receive_bytes);

/*
 * Gets /name and checks the answer: status 200, the length in the head, and every byte.
 * @return 0; -EBADMSG, and says so, if the answer is another; or another negative errno.
 */
int fetch_check(unsigned port, const char *name, const char *expected, size_t length);

#endif
