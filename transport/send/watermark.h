/* SPDX-License-Identifier: MIT */
/* Telling the program that the queue has filled up, or emptied. */
#ifndef FERRY_TRANSPORT_SEND_WATERMARK_H
#define FERRY_TRANSPORT_SEND_WATERMARK_H

#include "transport/stream/stream.h"

/* For a stream that has one. The first: any thread, at adoption. The others: the owner. */
int ferry__watermark_init(ferry_stream *stream);
void ferry__watermark_look(ferry_stream *stream);

#endif
