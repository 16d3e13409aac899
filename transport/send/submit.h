/* SPDX-License-Identifier: MIT */
#ifndef FERRY_TRANSPORT_SEND_SUBMIT_H
#define FERRY_TRANSPORT_SEND_SUBMIT_H

#include "transport/stream/stream.h"

/*
 * Any thread. Does what ferry_stream_send does, beyond the stream's limits. @param leftover gets
 * what the last part, if it is a source, has read and not sent. It is the owner's until the request
 * settles.
 */
int ferry__stream_send_relayed(ferry_stream *stream, const ferry_part parts[], size_t count,
                               const ferry_request_options *options, ferry__leftover *leftover,
                               ferry_promise **ret_promise);

#endif
