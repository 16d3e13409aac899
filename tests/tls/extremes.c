/* SPDX-License-Identifier: MIT */
/* Each number of TLS's options, at its extremes. */
#include "tests/tls/scene.h"

#include <limits.h>

typedef struct expectation {
    int64_t value;
    int error;
} expectation;

typedef struct row {
    const char *number;
    int (*try)(const scene *s, int64_t value);
    expectation expected[8];
} row;

static int adopt(const scene *s, const ferry_tls_options *tls)
{
    const ferry_stream_options options = {.tls = tls};
    pair both = tcp_pair();
    ferry_stream *stream;
    int error = ferry_stream_adopt(s->service, both.ours, &options, &stream);
    if (error == 0)
        (void)ferry_stream_unref(stream);
    else
        close_ours(&both);
    close_theirs(&both);
    return error;
}

static int try_timeout(const scene *s, int64_t value)
{
    return adopt(s, &(ferry_tls_options){.context = s->server, .handshake_timeout_ms = value});
}

static int try_received_length(const scene *s, int64_t value)
{
    static const char words[65536];
    return adopt(s, &(ferry_tls_options){
                        .context = s->server, .received = words, .received_length = (size_t)value});
}

#define ROW(number, try, ...)                                                                      \
    {                                                                                              \
        number, try,                                                                               \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define END                                                                                        \
    {                                                                                              \
        0, 1                                                                                       \
    }

static const row table[] = {
    ROW("ferry_tls_options.handshake_timeout_ms", try_timeout, {0, 0}, {1, 0}, {INT_MAX, 0},
        {INT64_MAX, 0}, {-1, -EINVAL}, {INT64_MIN, -EINVAL}, END),
    ROW("ferry_tls_options.received_length", try_received_length, {0, 0}, {1, 0}, {65536, 0},
        {65537, -EINVAL}, {INT64_MAX, -EINVAL}, {-1, -EINVAL}, END),
};

PROMISE_EITHER(extremes, every_number_is_taken_or_refused_as_documented_at_its_extremes)
{
    AT_END(end_scene) scene *s = scene_open((scene_wish){.placement = placement});
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (const expectation *each = table[i].expected; each->error <= 0; each++)
            check_eq(table[i].try(s, each->value), each->error);
}
