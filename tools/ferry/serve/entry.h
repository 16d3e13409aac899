/* SPDX-License-Identifier: MIT */
/*
 * One file that is ready to be sent: opened, its validators and fields written down. A small file
 * is kept in memory together with the head of its answer; a larger one as a file of ferry's that
 * many requests share, so that none of them has to open it.
 *
 * An entry belongs to one thread. Parts that were made of it live on without it.
 */
#ifndef TOOLS_FERRY_SERVE_ENTRY_H
#define TOOLS_FERRY_SERVE_ENTRY_H

#include "conditions.h"
#include "image.h"
#include "site.h"

#include <ferry/file.h>
#include <ferry/part.h>
#include <sys/types.h>

/* A file of this size is cheaper to copy out of memory than to send by a system call of its own. */
enum {
    ENTRY_SMALL_BYTES = 16 * 1024,
    ENTRY_FICKLE_BYTES = 4 * 1024 * 1024 /* files without a length, as in /proc, are shorter */
};

/* What tells whether a path still names the same version of the same file. */
struct identity {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
    struct timespec changed;
};

struct entry {
    struct identity identity;
    uint64_t size;             /* bytes of the file, as many as are sent */
    bool is_fickle;            /* nothing vouches for these bytes: there are no validators */
    bool is_tagged;            /* it has an ETag */
    bool is_dated;             /* it has a Last-Modified */
    bool is_provisional;       /* in another second it is to be loaded anew */
    ferry_shared_file *shared; /* NULL: the file is in the image */
    struct image *image;       /* the head of its answer in HTTP/1.1 that keeps the connection */
    const char *file;          /* its path below the root */
    const char *type;          /* its Content-Type; the site's */
    struct slice fields;       /* lines that the head of each answer with its bytes has */
    struct slice validator_fields; /* those of them that a 304 has, too */
    struct validators validators;  /* the validators, for comparing */
    struct slice version;          /* the tag's version, also while there is no tag */
    int64_t checked_s;             /* when it was last known to be the path's */
    char text[];                   /* file, fields */
};

/*
 * Opens a file. @param file its path below the root.
 * @return 0; -EISDIR: it is a directory; -EFBIG: it has no length, and no end; -EAGAIN: it cannot
 *         be opened or read now without waiting; as tree_open.
 */
int entry_create(const struct site *site, const char *file, struct entry **ret_entry);

void entry_free(struct entry *entry); /* takes NULL */

/* Whether its path still names it. Looks once a second at most. */
bool entry_is_valid(const struct site *site, struct entry *entry, int64_t now_s);

/* Makes a part of its answer's head, and with has_body of all that is in memory. */
ferry_part entry_image_part(struct entry *entry, bool has_body);

/* Makes a part of its bytes. @param length at least one. */
ferry_part entry_part(struct entry *entry, uint64_t first, uint64_t length);

#endif
