/* SPDX-License-Identifier: MIT */
/* What each request is answered with. */
#ifndef TOOLS_FERRY_SERVE_ANSWER_H
#define TOOLS_FERRY_SERVE_ANSWER_H

#include "cache.h"
#include "response.h"

/* Answers a whole request. Takes nothing from the network, may wait for the disk. The answer holds
 * what it needs of the cache: send it, or drop it. If it is_later, ask for it again with the same
 * request, once what it has was sent. */
void answer_request(struct cache *cache, const struct request *request,
                    struct response *ret_response);

/* Answers with a page that says no more than the status; the connection is closed behind it.
 * @param request NULL: no request has come. */
void answer_status(const struct request *request, int status, struct response *ret_response);

#endif
