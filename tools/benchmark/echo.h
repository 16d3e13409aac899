/* SPDX-License-Identifier: MIT */
/*
 * Echo: what sends messages and waits until they have come back, and what sends them back; each
 * over many connections, in one thread.
 */
#ifndef BENCHMARK_ECHO_H
#define BENCHMARK_ECHO_H

#include "shape.h"

/* Of a TCP connection: small messages are not held back. */
void echo_send_at_once(int fd);

/*
 * Calls: over the run's count of connections, a message of its bytes on each, and the next one when
 * that is back, until its operations are done. For helper_start.
 * @param run a shape_run
 */
int echo_call(int listener, void *run);

/* The same, with a connection for each message. */
int echo_call_anew(int listener, void *run);

/* Answers: sends back whatever comes, until the process ends. @return a negative errno */
int echo_answer(int listener, void *unused);

#endif
