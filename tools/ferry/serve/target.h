/* SPDX-License-Identifier: MIT */
/*
 * What a request asks for: its target, decoded and brought into one form, so that each file has one
 * name here. The path is relative to the directory that is served, and cannot leave it by "..".
 * tree.h sees to it that it cannot leave it by symbolic links either.
 */
#ifndef TOOLS_FERRY_SERVE_TARGET_H
#define TOOLS_FERRY_SERVE_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct target {
    char path[PATH_MAX]; /* "a/b", or "a/b/" for what a directory was asked for; "": the root */
    size_t length;       /* of the path */
    bool is_directory;   /* it is the root, or ends in a slash */
    bool is_hidden;      /* a segment begins with a dot */
    const char *query;   /* from its '?' on, in the target as it came */
    size_t query_length; /* 0: none */
};

/*
 * Takes a target apart: "/path?query" or "http://host/path?query".
 *
 * Percent-encoding is decoded, once; an encoded slash is a slash. "." and ".." are followed.
 * Slashes in a row are one. "+" is a plus sign. A fragment should not be there, and is cut off.
 * Bytes beyond ASCII should have been encoded, but some clients send them as they are: they stay.
 *
 * Borrows: text, for as long as query is used.
 * @return 0; or the status to answer: 400: malformed encoding, a NUL, ".." beyond the root, no
 *         path, a host that is none; 414: the path is longer than any that can be opened.
 */
int target_parse(const char *text, size_t length, struct target *ret_target);

#endif
