/* SPDX-License-Identifier: MIT */
/* Telling the program that the queue has filled up, or emptied. */
#ifndef FERRY_TRANSPORT_SEND_WATERMARK_H
#define FERRY_TRANSPORT_SEND_WATERMARK_H

#include "transport/stream/stream.h"

/* These are for a stream that has one. */

/* Any thread, at adoption. */
int ferry__watermark_init(ferry_stream *stream);

/* The owner: looks, and tells. */
void ferry__watermark_look(ferry_stream *stream);

/*
 * Any thread, after a write that has brought the owner no mail: whether the queue has reached the
 * high mark, and the owner may not know. Then it has to be woken.
 */
bool ferry__watermark_is_news(const ferry_stream *stream);

#endif
