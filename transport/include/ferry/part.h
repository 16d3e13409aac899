/* SPDX-License-Identifier: MIT */
/*
 * Parts: what a compound request (ferry_stream_send) is made of. The parts of one request leave
 * contiguously and in order; no other request's bytes come between them.
 *
 *     const ferry_part parts[] = {
 *         ferry_part_copy(head, head_length),
 *         ferry_part_file(ferry_file_at("/srv/data.bin")),
 *         ferry_part_give(tail, tail_length, free_tail, NULL),
 *     };
 *     ferry_stream_send(stream, parts, 3, NULL, &promise);
 */
#ifndef FERRY_PART_H
#define FERRY_PART_H

#include <ferry/file.h>

FERRY_BEGIN

/* What a part is, and who owns its memory. */
typedef enum ferry_part_kind {
    FERRY_PART_COPY,    /* memory that is copied at submit: yours again at once */
    FERRY_PART_BORROW,  /* memory that stays yours: leave it unchanged until the request settles */
    FERRY_PART_GIVE,    /* memory that is ferry's once the submit returned 0; then it is released */
    FERRY_PART_FILE,    /* a range of a file */
    FERRY_PART_GENERATE /* bytes that a function makes as they are needed */
} ferry_part_kind;

/*
 * Makes the next bytes of a part, up to size of them, in buffer. It is called on the stream's
 * owner, again and again, when the bytes before have left. It must not block. It may submit to any
 * stream.
 *
 * @return how many bytes it made; 0: that was all;
 * -EAGAIN: there are none yet. The stream waits until ferry_stream_wake_generator, other streams do
 *         not; then it is asked again.
 *         Another negative errno: it cannot go on. The request fails with that errno, in phase
 *         source. If it returns more than size, the request fails with -EOVERFLOW. If it returns a
 *         negative number that is no errno (below -4095), the request fails with -EINVAL.
 */
typedef int64_t ferry_generator(void *buffer, size_t size, void *arg);

typedef struct ferry_part {
    ferry_part_kind kind;
    const void *data;          /* memory: its first byte; may be NULL if length is 0 */
    size_t length;             /* memory: bytes */
    ferry_release *release;    /* given memory: called on any thread, before the request settles;
                               NULL: free(3). A generator: called with data NULL when the generator
                               is not needed any more; NULL: nothing is called */
    void *arg;                 /* handed to release, and to generate */
    ferry_file file;           /* a file part: which file */
    ferry_generator *generate; /* a generator part: the function that makes its bytes */
    int64_t generate_length;   /* a generator part: how many bytes, or FERRY_TO_END: until it says
                                  that was all */
    uint64_t reserved[2];      /* 0 */
} ferry_part;

/* Memory that is copied at submit. */
FERRY_API ferry_part ferry_part_copy(const void *data, size_t length);

/* Memory that the caller leaves unchanged until the request settles. */
FERRY_API ferry_part ferry_part_borrow(const void *data, size_t length);

/* Memory that ferry owns once the submit returned 0; a refused submit leaves it to the caller. */
FERRY_API ferry_part ferry_part_give(void *data, size_t length, ferry_release *release, void *arg);

/* A range of a file. */
FERRY_API ferry_part ferry_part_file(ferry_file file);

/*
 * What a function makes.
 * @param length how many bytes: it is not asked for more, and if it ends before, the request fails
 *        with -ENODATA in phase source. FERRY_TO_END: until it says that was all.
 * @param release called with arg once the part is over, before the request settles; not called if
 *        the submit fails. May be NULL.
 */
FERRY_API ferry_part ferry_part_generate(ferry_generator *generate, void *arg, int64_t length,
                                         ferry_release *release);

FERRY_END

#endif
