/* SPDX-License-Identifier: MIT */
/* How far a peer has come, seen from our end. */
#include "tests/support.h"
#include "transport/edge/outlet.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

enum { KIB = 1024, LOOKS = 1000 };

/* ---- what the tests are made of -------------------------------------------------------------- */

/* Whether this kernel and its sandbox answer sock_diag for a family; asked without the code that is
 * tested. For no socket in no state, so the answer is an end of list or an error. */
static bool sock_diag_answers(int family)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body; /* a unix_diag_req is shorter and begins alike */
    } question = {.header = {.nlmsg_len = sizeof question,
                             .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                             .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                  .body = {.sdiag_family = (__u8)family,
                           .sdiag_protocol = family == AF_UNIX ? 0 : IPPROTO_TCP}};
    struct nlmsghdr reply[64];
    int diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    bool answers = diag >= 0 && send(diag, &question, sizeof question, 0) > 0 &&
                   recv(diag, reply, sizeof reply, MSG_DONTWAIT) > 0 &&
                   reply[0].nlmsg_type == NLMSG_DONE;
    if (diag >= 0)
        close(diag);
    if (!answers)
        fprintf(stderr, "not tested: sock_diag does not answer for address family %d\n", family);
    return answers;
}

static uint64_t fill(int fd)
{
    static const char data[64 * KIB];
    check(fcntl(fd, F_SETFL, O_WRONLY | O_NONBLOCK) == 0);
    uint64_t bytes = 0;
    for (ssize_t count; (count = write(fd, data, sizeof data)) > 0;)
        bytes += (uint64_t)count;
    check_eq(errno, EAGAIN);
    return bytes;
}

static void write_exactly(int fd, size_t size)
{
    AT_END(free_memory) char *data = calloc(1, size);
    check_eq(write(fd, data, size), size);
}

static void wait_until_unacked_is(int fd, int64_t expected)
{
    while (ferry__outlet_unacked(fd, ferry__outlet_kind_of(fd)) != expected)
        (void)sched_yield();
}

/* Waits until what is under way inside the kernel has arrived. */
static void wait_for_rest(int fd)
{
    ferry__outlet_kind kind = ferry__outlet_kind_of(fd);
    ferry__outlet last = ferry__outlet_look_closely(fd, kind, 0, NULL);
    for (unsigned alike = 0; alike < LOOKS; alike++) {
        ferry__outlet now = ferry__outlet_look_closely(fd, kind, 0, NULL);
        if (ferry__outlet_has_moved(&last, &now))
            alike = 0;
        last = now;
    }
}

/* What a close look tells of the peer's unread bytes. */
static int64_t unread_by_peer(int fd, ferry__outlet_kind kind)
{
    return ferry__outlet_look_closely(fd, kind, 0, NULL).unread;
}

static void check_nothing_moves(int fd)
{
    ferry__outlet_kind kind = ferry__outlet_kind_of(fd);
    ferry__outlet first = ferry__outlet_look_closely(fd, kind, 0, NULL);
    for (unsigned i = 0; i < LOOKS; i++) {
        ferry__outlet cheap = ferry__outlet_look(fd, kind);
        ferry__outlet close = ferry__outlet_look_closely(fd, kind, 0, NULL);
        check(!ferry__outlet_has_moved(&first, &cheap));
        check(!ferry__outlet_has_moved(&cheap, &close));
        check(!ferry__outlet_has_moved(&first, &close));
    }
}

static void check_each_kilobyte_read_shows(pair both, unsigned kilobytes)
{
    ferry__outlet_kind kind = ferry__outlet_kind_of(both.ours);
    for (unsigned i = 0; i < kilobytes; i++) {
        ferry__outlet before = ferry__outlet_look_closely(both.ours, kind, 0, NULL);
        read_away(both.theirs, KIB);
        ferry__outlet now = ferry__outlet_look_closely(both.ours, kind, 0, NULL);
        check(ferry__outlet_has_moved(&before, &now));
    }
}

/* A listener on a port of its own, on the loopback address of a family. */
static int listen_on(int family, struct sockaddr_in6 *ret_address, socklen_t *ret_size)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *ret_address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    *ret_size = family == AF_INET ? sizeof v4 : sizeof *ret_address;
    if (family == AF_INET)
        memcpy(ret_address, &v4, sizeof v4);
    int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return -1; /* a kernel without IPv6 */
    if (bind(listener, (struct sockaddr *)ret_address, *ret_size) < 0) {
        check_eq(errno, EADDRNOTAVAIL); /* IPv6 switched off */
        close(listener);
        return -1;
    }
    check_eq(listen(listener, 2), 0);
    check_eq(getsockname(listener, (struct sockaddr *)ret_address, ret_size), 0);
    return listener;
}

static int connect_to(const struct sockaddr_in6 *address, socklen_t size)
{
    int fd = socket(((const struct sockaddr *)address)->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(fd >= 0);
    check_eq(connect(fd, (const struct sockaddr *)address, size), 0);
    return fd;
}

static int accept_on(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    check(fd >= 0);
    return fd;
}

/* ---- a peer that reads ----------------------------------------------------------------------- */

PROMISE(outlet, close_look_tells_a_unix_peers_unread_bytes_exactly)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
    if (!sock_diag_answers(AF_UNIX))
        return;
    for (unsigned i = 0; i < 2; i++) {
        AT_END(close_pair) pair both = unix_pair(types[i]);
        check_eq(unread_by_peer(both.ours, FERRY__OUTLET_UNIX), 0);
        for (unsigned written = 1; written <= 10; written++) {
            write_exactly(both.ours, KIB);
            check_eq(unread_by_peer(both.ours, FERRY__OUTLET_UNIX), written * KIB);
        }
        read_away(both.theirs, 3 * KIB);
        check_eq(unread_by_peer(both.ours, FERRY__OUTLET_UNIX), 7 * KIB);
    }
}

PROMISE(outlet, each_kilobyte_that_a_unix_peer_reads_shows_in_a_close_look)
{
    if (!sock_diag_answers(AF_UNIX))
        return;
    AT_END(close_pair) pair both = unix_pair(SOCK_STREAM);
    uint64_t bytes = fill(both.ours);
    check_each_kilobyte_read_shows(both, (unsigned)(bytes / KIB));
}

PROMISE(outlet, each_kilobyte_that_a_tcp_peer_reads_shows_in_a_close_look)
{
    if (!sock_diag_answers(AF_INET))
        return;
    AT_END(close_pair) pair both = tcp_pair();
    (void)fill(both.ours);
    wait_for_rest(both.ours);
    check_each_kilobyte_read_shows(both, 200);
}

PROMISE(outlet, tcp_peer_is_found_by_ipv4_ipv6_and_mapped_addresses)
{
    static const struct {
        int family;
        bool mapped;
    } ways[] = {{AF_INET, false}, {AF_INET6, false}, {AF_INET, true}};
    for (unsigned i = 0; i < 3; i++) {
        struct sockaddr_in6 address;
        socklen_t size;
        int listener = listen_on(ways[i].family, &address, &size);
        if (listener < 0 || !sock_diag_answers(ways[i].family)) {
            fprintf(stderr, "not tested: address family %d\n", ways[i].family);
            close(listener);
            continue;
        }
        if (ways[i].mapped) {
            in_port_t port = ((struct sockaddr_in *)&address)->sin_port;
            address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
            check_eq(inet_pton(AF_INET6, "::ffff:127.0.0.1", &address.sin6_addr), 1);
            size = sizeof address;
        }
        pair both = {.ours = connect_to(&address, size)};
        both.theirs = accept_on(listener);
        write_exactly(both.ours, 5 * KIB);
        write_exactly(both.theirs, 3 * KIB);
        wait_until_unacked_is(both.ours, 0);
        wait_until_unacked_is(both.theirs, 0);
        check_eq(unread_by_peer(both.ours, FERRY__OUTLET_TCP), 5 * KIB);
        check_eq(unread_by_peer(both.theirs, FERRY__OUTLET_TCP), 3 * KIB);
        read_away(both.theirs, KIB);
        check_eq(unread_by_peer(both.ours, FERRY__OUTLET_TCP), 4 * KIB);
        close_pair(&both);
        close(listener);
    }
}

PROMISE(outlet, pipe_tells_its_unread_bytes_at_either_look)
{
    AT_END(close_pair) pair both = pipe_pair();
    write_exactly(both.ours, 5 * KIB);
    check_eq(ferry__outlet_unacked(both.ours, FERRY__OUTLET_PIPE), 5 * KIB);
    ferry__outlet before = ferry__outlet_look(both.ours, FERRY__OUTLET_PIPE);
    read_away(both.theirs, KIB);
    ferry__outlet now = ferry__outlet_look(both.ours, FERRY__OUTLET_PIPE);
    check_eq(now.unread, 4 * KIB);
    check(ferry__outlet_has_moved(&before, &now));
    check_eq(unread_by_peer(both.ours, FERRY__OUTLET_PIPE), 4 * KIB);
}

/* ---- many peers at once ---------------------------------------------------------------------- */

/* Takes a whole survey. @return how many steps that took. */
static unsigned take_survey(ferry__survey *survey)
{
    static struct nlmsghdr memory[64 * KIB / sizeof(struct nlmsghdr)];
    unsigned steps = 1;
    ferry__survey_begin(survey, 1);
    while (!ferry__survey_go_on(survey, memory, sizeof memory))
        steps++;
    return steps;
}

PROMISE(outlet, survey_tells_of_all_unix_peers_what_close_looks_tell_of_each)
{
    enum { PAIRS = 400 }; /* more than fit into one answer */
    if (!sock_diag_answers(AF_UNIX))
        return;
    pair pairs[PAIRS];
    for (unsigned i = 0; i < PAIRS; i++) {
        pairs[i] = unix_pair(SOCK_STREAM);
        write_exactly(pairs[i].ours, i + 1);
    }
    ferry__survey survey = FERRY__SURVEY_NONE;
    check(take_survey(&survey) > 2);
    for (unsigned i = 0; i < PAIRS; i++) {
        read_away(pairs[i].theirs, i + 1); /* so what is told is as of the survey */
        ferry__outlet all =
            ferry__outlet_look_closely(pairs[i].ours, FERRY__OUTLET_UNIX, 0, &survey);
        check_eq(all.unread, i + 1);
        ferry__outlet one = ferry__outlet_look_closely(pairs[i].ours, FERRY__OUTLET_UNIX, 0, NULL);
        check_eq(one.unread, 0);
        check_eq(all.peer, one.peer);
        close_pair(&pairs[i]);
    }
    ferry__survey_drop(&survey);
}

PROMISE(outlet, peer_that_a_survey_does_not_know_is_asked_for_by_itself)
{
    if (!sock_diag_answers(AF_UNIX))
        return;
    ferry__survey survey = FERRY__SURVEY_NONE;
    (void)take_survey(&survey);
    AT_END(close_pair) pair both = unix_pair(SOCK_STREAM);
    write_exactly(both.ours, KIB);
    check_eq(ferry__outlet_look_closely(both.ours, FERRY__OUTLET_UNIX, 0, &survey).unread, KIB);
    ferry__survey_begin(&survey, 1); /* which goes on */
    check_eq(ferry__outlet_look_closely(both.ours, FERRY__OUTLET_UNIX, 0, &survey).unread, KIB);
    ferry__survey_drop(&survey);
}

/* ---- a peer that does not -------------------------------------------------------------------- */

PROMISE(outlet, nothing_moves_while_nobody_reads)
{
    pair waiting[] = {unix_pair(SOCK_STREAM), pipe_pair(), tcp_pair()};
    (void)fill(waiting[0].ours);
    (void)fill(waiting[1].ours);
    /* Not filled: once all is acknowledged, TCP has nothing left that could move by itself. */
    write_exactly(waiting[2].ours, 10 * KIB);
    wait_until_unacked_is(waiting[2].ours, 0);
    for (unsigned i = 0; i < 3; i++) {
        check_nothing_moves(waiting[i].ours);
        close_pair(&waiting[i]);
    }
}

PROMISE(outlet, full_tcp_queue_comes_to_rest_with_some_sent_and_some_not)
{
    AT_END(close_pair) pair both = tcp_pair();
    uint64_t bytes = fill(both.ours);
    wait_for_rest(both.ours); /* or for ever */
    int64_t unsent = ferry__outlet_unsent(both.ours, FERRY__OUTLET_TCP);
    check(unsent > 0);
    check(ferry__outlet_unacked(both.ours, FERRY__OUTLET_TCP) >= unsent);
    check(unsent < (int64_t)bytes);
}

/* ---- what has arrived, and what never will --------------------------------------------------- */

PROMISE(outlet, nothing_is_unacked_once_all_was_read)
{
    pair pairs[] = {unix_pair(SOCK_STREAM), unix_pair(SOCK_SEQPACKET), pipe_pair(), tcp_pair()};
    for (unsigned i = 0; i < 4; i++) {
        ferry__outlet_kind kind = ferry__outlet_kind_of(pairs[i].ours);
        check_eq(ferry__outlet_unacked(pairs[i].ours, kind), 0);
        write_exactly(pairs[i].ours, 8 * KIB);
        check(kind == FERRY__OUTLET_TCP || ferry__outlet_unacked(pairs[i].ours, kind) > 0);
        for (unsigned read_bytes = 0; read_bytes < 8 * KIB;) {
            char data[8 * KIB]; /* a whole packet */
            read_bytes += (unsigned)read(pairs[i].theirs, data, sizeof data);
        }
        wait_until_unacked_is(pairs[i].ours, 0);
        check_eq(ferry__outlet_unsent(pairs[i].ours, kind), 0);
        close_pair(&pairs[i]);
    }
}

PROMISE(outlet, what_has_no_queue_has_nothing_unacked)
{
    static const char *const paths[] = {"/dev/null", "/dev/ptmx", "/etc/passwd"};
    for (unsigned i = 0; i < 3; i++) {
        AT_END(close_fd) int fd = open(paths[i], O_RDONLY | O_CLOEXEC | O_NOCTTY);
        check(fd >= 0);
        check_eq(ferry__outlet_kind_of(fd), FERRY__OUTLET_OTHER);
        check_eq(ferry__outlet_unacked(fd, FERRY__OUTLET_OTHER), 0);
        check_nothing_moves(fd);
    }
    check_eq(ferry__outlet_unacked(-1, FERRY__OUTLET_OTHER), -EBADF);
}

PROMISE(outlet, reset_tcp_connection_is_gone_and_a_stalled_one_is_not)
{
    AT_END(close_pair) pair both = tcp_pair();
    (void)fill(both.ours);
    check(!ferry__outlet_is_gone(both.ours, FERRY__OUTLET_TCP));
    close_with_reset(both.theirs);
    while (!ferry__outlet_is_gone(both.ours, FERRY__OUTLET_TCP))
        (void)sched_yield();
    close(both.ours);
    both = unix_pair(SOCK_STREAM);
    check(!ferry__outlet_is_gone(both.ours, FERRY__OUTLET_UNIX));
}

/* ---- what a close look must not do ----------------------------------------------------------- */

/*
 * The kernel, asked for a socket that is not there, offers one that listens on the port: then a
 * connection that waits to be accepted would pass for an unread byte. Here our connection is one
 * that the listener answered and then forgot, as its queue was full, while our end still stands.
 */
PROMISE(outlet, close_look_takes_no_listener_for_the_peer)
{
    struct sockaddr_in6 address;
    socklen_t size;
    AT_END(close_fd) int listener = listen_on(AF_INET, &address, &size);
    /* What was answered stays until it sends data, and not for long. */
    set_socket_option(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
    set_socket_option(listener, IPPROTO_TCP, TCP_SYNCNT, 1);
    check_eq(listen(listener, 0), 0); /* room for one connection */
    AT_END(close_fd) int forgotten = connect_to(&address, size);
    AT_END(close_fd) int waiting = connect_to(&address, size);
    write_exactly(waiting, 1);
    wait_readable(listener);
    int64_t unread; /* 0 as long as the kernel remembers */
    while ((unread = unread_by_peer(forgotten, FERRY__OUTLET_TCP)) == 0)
        usleep(1000);
    check_eq(unread, -1);
}

PROMISE(outlet, close_look_is_as_the_cheap_one_where_sock_diag_cannot_be_had)
{
    pair pairs[] = {unix_pair(SOCK_STREAM), tcp_pair()};
    struct rlimit original, none;
    check_eq(getrlimit(RLIMIT_NOFILE, &original), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = original.rlim_max};
    for (unsigned i = 0; i < 2; i++) {
        ferry__outlet_kind kind = ferry__outlet_kind_of(pairs[i].ours);
        write_exactly(pairs[i].ours, KIB);
        if (kind == FERRY__OUTLET_TCP)
            wait_until_unacked_is(pairs[i].ours, 0);
        ferry__outlet known = ferry__outlet_look_closely(pairs[i].ours, kind, 0, NULL);
        check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        ferry__outlet refused = ferry__outlet_look_closely(pairs[i].ours, kind, 0, NULL);
        check_eq(setrlimit(RLIMIT_NOFILE, &original), 0);
        check_eq(refused.unread, -1);
        check(!ferry__outlet_has_moved(&known, &refused));
        check(!ferry__outlet_has_moved(&refused, &known));
        close_pair(&pairs[i]);
    }
}
