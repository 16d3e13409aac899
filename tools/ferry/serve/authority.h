/* SPDX-License-Identifier: MIT */
/* Who is asked: a host's name or address, and perhaps a port (RFC 3986, 3.2). */
#ifndef TOOLS_FERRY_SERVE_AUTHORITY_H
#define TOOLS_FERRY_SERVE_AUTHORITY_H

#include "slice.h"

/*
 * Whether a text could be one: "example.org", "example.org:80", "192.0.2.1:", "[::1]:80". It is
 * stricter than the RFC, as hosts are not named so: no user, no comma, no empty label of a name but
 * the last, no zone, no port beyond 65535.
 */
bool authority_is_valid(struct slice text);

#endif
