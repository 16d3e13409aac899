/* SPDX-License-Identifier: MIT */
/* What a stream tells of itself, and what a program may hang on it. */
#include "tests/support.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

/* ---- its addresses --------------------------------------------------------------------------- */

static void name_of(int fd, char text[64])
{
    struct sockaddr_in name;
    socklen_t size = sizeof name;
    check_eq(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    snprintf(text, 64, "127.0.0.1:%u", ntohs(name.sin_port));
}

PROMISE_BOTH(asking, both_ends_of_a_connection_have_their_addresses)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    char expected[64], told[64];
    name_of(s.ours, expected);
    check_eq(ferry_stream_get_local(s.stream, told, sizeof told), strlen(expected));
    check(strcmp(told, expected) == 0);
    check_eq(ferry_stream_get_local(s.stream, told, 4), strlen(expected)); /* cut short */
    check(strcmp(told, "127") == 0);
    check_eq(ferry_stream_get_local(s.stream, NULL, 0), strlen(expected));
    name_of(s.theirs, expected);
    check_eq(ferry_stream_get_peer(s.stream, told, sizeof told), strlen(expected));
    check(strcmp(told, expected) == 0);
}

PROMISE_EITHER(asking, local_address_goes_with_the_socket_and_the_peers_stays)
{
    AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
    char told[64];
    check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
    check_eq(ferry_stream_get_local(s.stream, told, sizeof told), -ESHUTDOWN);
    check(ferry_stream_get_peer(s.stream, told, sizeof told) > 0);
    check_eq(ferry_stream_get_local(NULL, told, sizeof told), -EINVAL);
    check_eq(ferry_stream_get_local(s.stream, NULL, 1), -EINVAL);
}

PROMISE_EITHER(asking, credentials_are_those_of_the_process_at_a_unix_sockets_other_end)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    AT_END(stage_end) stage tcp = stage_open(placement, tcp_pair());
    AT_END(stage_end) stage pipe = stage_open(placement, pipe_pair());
    ferry_credentials who;
    check_eq(ferry_stream_get_credentials(s.stream, &who), 0);
    check_eq(who.pid, getpid());
    check_eq(who.uid, getuid());
    check_eq(who.gid, getgid());
    check_eq(ferry_stream_get_credentials(tcp.stream, &who), -EOPNOTSUPP);
    check_eq(ferry_stream_get_credentials(pipe.stream, &who), -ENOTSOCK);
    check_eq(ferry_stream_get_credentials(NULL, &who), -EINVAL);
    check_eq(ferry_stream_get_credentials(s.stream, NULL), -EINVAL);
    check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
    check_eq(ferry_stream_get_credentials(s.stream, &who), -ESHUTDOWN);
}

static void *ask_again_and_again(void *arg)
{
    char told[64];
    while (ferry_stream_get_local(arg, told, sizeof told) != -ESHUTDOWN)
        check(strncmp(told, "127.0.0.1:", 10) == 0);
    return NULL;
}

PROMISE_BOTH(asking, socket_may_be_closed_while_other_threads_ask_for_its_address)
{
    for (unsigned i = 0; i < 50; i++) {
        AT_END(stage_end) stage s = stage_open(placement, tcp_pair());
        pthread_t askers[2];
        start_threads(askers, 2, ask_again_and_again, s.stream);
        check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
        join_threads(askers, 2);
    }
}

/* ---- its fd ---------------------------------------------------------------------------------- */

static atomic_int used;

static void set_priority(ferry_stream *stream, int fd, void *arg)
{
    const int priority = 5;
    check(stream == arg);
    if (fd >= 0)
        check_eq(setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority), 0);
    (void)ferry_stream_write(stream, "used", 4, NULL, NULL); /* it may submit */
    atomic_store(&used, fd);
}

PROMISE_BOTH(asking, fd_is_used_on_the_owner_before_what_is_queued_has_left)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    ferry_promise *stuck = submit_stuck(s.stream, s.theirs);
    int priority = 0;
    socklen_t size = sizeof priority;
    atomic_store(&used, -2);
    check_eq(ferry_stream_use_fd(s.stream, set_priority, s.stream), 0);
    while (atomic_load(&used) == -2)
        sched_yield();
    check_eq(atomic_load(&used), s.ours);
    check_eq(getsockopt(s.ours, SOL_SOCKET, SO_PRIORITY, &priority, &size), 0);
    check_eq(priority, 5);
    check_eq(ferry_promise_await(stuck, 0, NULL), -ETIMEDOUT);
    reader *peer = reader_start(stage_take(&s), false);
    check_eq(outcome(stuck).error, 0);
    check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
    check_eq(reader_end(peer), STUCK_BYTES + 4);
}

PROMISE_BOTH(asking, use_of_the_fd_is_called_or_refused_also_beside_a_close)
{
    for (unsigned i = 0; i < 100; i++) {
        AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
        atomic_store(&used, -2);
        ferry_promise *closed = submit_close(s.stream);
        int error = ferry_stream_use_fd(s.stream, set_priority, s.stream);
        check(error == 0 || error == -ESHUTDOWN);
        check_eq(outcome(closed).error, 0);
        check_eq(atomic_load(&used) != -2, error == 0);
    }
}

PROMISE_EITHER(asking, use_of_the_fd_that_cannot_be_is_refused)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    check_eq(ferry_stream_use_fd(NULL, set_priority, NULL), -EINVAL);
    check_eq(ferry_stream_use_fd(s.stream, NULL, NULL), -EINVAL);
    fail_allocation(1);
    check_eq(ferry_stream_use_fd(s.stream, set_priority, s.stream), -ENOMEM);
    allow_allocations();
    check_eq(close_stream(ferry_stream_ref(s.stream)).error, 0);
    check_eq(ferry_stream_use_fd(s.stream, set_priority, s.stream), -ESHUTDOWN);
}

/* ---- the program's data ---------------------------------------------------------------------- */

static void note_release(void *, void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
}

PROMISE_EITHER(asking, data_of_the_programs_is_found_again_and_released_with_the_stream)
{
    AT_END(stage_end) stage s = stage_open(placement, unix_pair(SOCK_STREAM));
    atomic_int first = 0, second = 0;
    check(ferry_stream_get_data(s.stream) == NULL);
    ferry_stream_set_data(s.stream, &first, note_release);
    check(ferry_stream_get_data(s.stream) == &first);
    ferry_stream_set_data(s.stream, &second, note_release);
    check(ferry_stream_get_data(s.stream) == &second);
    check_eq(atomic_load(&first), 1);
    stage_destroy(&s);
    check(ferry_stream_get_data(s.stream) == &second); /* it may have ended */
    check_eq(atomic_load(&second), 0);
    s.stream = ferry_stream_unref(s.stream);
    check_eq(atomic_load(&second), 1);
    ferry_stream_set_data(NULL, NULL, NULL);
    check(ferry_stream_get_data(NULL) == NULL);
}
