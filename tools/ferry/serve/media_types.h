/* SPDX-License-Identifier: MIT */
/*
 * Which Content-Type a file has, by its name.
 *
 * The list is the system's /etc/mime.types. Debian's package media-types keeps it up to date with
 * what IANA registers; a list of ours would not be for long. If there is no such file, in a
 * container say, a dozen types are known that every site needs. If the web means something else by
 * an extension, ".ts" say, that is corrected here. It is read once, and never changes.
 */
#ifndef TOOLS_FERRY_SERVE_MEDIA_TYPES_H
#define TOOLS_FERRY_SERVE_MEDIA_TYPES_H

struct media_types;

/* Where the system has it. */
#define MEDIA_TYPES_PATH "/etc/mime.types"

/*
 * Reads a list: lines of a type and the extensions that it has, without their dot; '#' begins a
 * comment. If a list cannot be read, the dozen is left.
 * @return the types, to be given to media_types_free; NULL: out of memory.
 */
struct media_types *media_types_load(const char *path);

/* @return the type of a file by its name; "application/octet-stream" if that says nothing.
 * Valid as long as the types are. Threads: any. */
const char *media_types_find(const struct media_types *types, const char *path);

void media_types_free(struct media_types *types);

#endif
