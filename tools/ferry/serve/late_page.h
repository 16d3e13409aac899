/* SPDX-License-Identifier: MIT */
/*
 * The answer that shows a directory. It is made when its turn to be sent has come, not when it is
 * asked for. Then it takes a listing of this second, or has the lister read one, and copies the
 * page piece by piece as it leaves. So at most one of the answers that wait on a connection has a
 * listing in memory.
 */
#ifndef TOOLS_FERRY_SERVE_LATE_PAGE_H
#define TOOLS_FERRY_SERVE_LATE_PAGE_H

#include "response.h"
#include "site.h"

#include <ferry/result.h>
#include <ferry/stream.h>

struct late_page;

/* Writes an answer that says why there is no page. */
typedef void late_page_explain(struct response *response, int error);

/*
 * @param response what the answer's head depends on; not kept. @return a reference; NULL: no
 *        memory.
 */
struct late_page *late_page_create(const struct site *site, const char *path,
                                   const struct response *response, late_page_explain *explain);

struct late_page *late_page_ref(struct late_page *page);
struct late_page *late_page_unref(struct late_page *page); /* takes NULL; @return NULL */

/* The only part of the answer. Takes: a reference, once it is sent. */
ferry_part late_page_part(struct late_page *page);

/* Says on which stream it is about to be sent: that is resumed. */
void late_page_send_on(struct late_page *page, ferry_stream *stream);

/* To be called once it has settled: its status, and how many bytes of its content have left. */
int late_page_status(const struct late_page *page);
uint64_t late_page_sent(const struct late_page *page, const ferry_result *result);

#endif
