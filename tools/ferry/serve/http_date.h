/* SPDX-License-Identifier: MIT */
/*
 * Dates as HTTP writes them (RFC 9110, 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT", and the two older
 * forms that are to be understood. No locale and no time zone has a part in it.
 */
#ifndef TOOLS_FERRY_SERVE_HTTP_DATE_H
#define TOOLS_FERRY_SERVE_HTTP_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_DATE_LENGTH = 29 }; /* of each date that is written, without a NUL */

/* Writes a date, HTTP_DATE_LENGTH bytes and no NUL. @param seconds since 1970, cut to the years 0
 * to 9999, which can be written. */
void http_date_format(int64_t seconds, char *buffer);

/*
 * Reads a date in any of the three forms. @param ret_seconds since 1970. @return whether it is one.
 */
bool http_date_parse(const char *text, size_t length, int64_t *ret_seconds);

/*
 * The date of now. It is written once a second and thread, so asking costs next to nothing.
 * @param ret_seconds the same moment, in seconds since 1970; may be NULL.
 * @return HTTP_DATE_LENGTH bytes, valid until the same thread asks again.
 */
const char *http_date_now(int64_t *ret_seconds);

#endif
