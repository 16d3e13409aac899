/* SPDX-License-Identifier: MIT */
/*
 * Connecting: a promise of a stream, whatever the address.
 *
 * Linked with --wrap=getaddrinfo: names that begin with "test." are answered by the test, as it
 * says; numbers, and the rest, by the library.
 */
#include "tests/support.h"
#include "transport/stream/stream.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/ioctl.h>

/* ---- a resolver of the test's ---------------------------------------------------------------- */

static struct {
    int error;              /* what it answers; 0: hosts */
    const char *hosts[20];  /* numeric, in order */
    atomic_bool is_held_up; /* it does not answer for now */
    atomic_uint asked;
} names = {.hosts = {"127.0.0.1"}};

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret_list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret_list);

static int answer(const char *port, struct addrinfo **ret_list)
{
    const struct addrinfo numeric = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo **end = ret_list;
    for (unsigned i = 0; names.hosts[i] != NULL; i++) {
        check_eq(__real_getaddrinfo(names.hosts[i], port, &numeric, end), 0);
        end = &(*end)->ai_next;
    }
    return 0;
}

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **ret_list)
{
    bool is_lookup =
        host != NULL && strncmp(host, "test.", 5) == 0 && (hints->ai_flags & AI_NUMERICHOST) == 0;
    if (!is_lookup)
        return __real_getaddrinfo(host, port, hints, ret_list);
    atomic_fetch_add(&names.asked, 1);
    while (atomic_load(&names.is_held_up))
        sched_yield();
    errno = ENFILE; /* EAI_SYSTEM's */
    return names.error != 0 ? names.error : answer(port, ret_list);
}

/* ---- servers --------------------------------------------------------------------------------- */

typedef struct server {
    int fd;
    unsigned port;
    char address[64]; /* as ferry_connect takes it */
    char name[64];    /* the same, to be looked up: test.name and its port */
} server;

enum { DEAF = -1 };

/* @param backlog DEAF: it has its port, so that nobody else does, but does not listen. */
static server server_at(const char *host, unsigned port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    server made = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    check_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    set_socket_option(made.fd, SOL_SOCKET, SO_REUSEADDR, 1);
    check_eq(bind(made.fd, (struct sockaddr *)&address, size), 0);
    if (backlog != DEAF)
        check_eq(listen(made.fd, backlog), 0);
    check_eq(getsockname(made.fd, (struct sockaddr *)&address, &size), 0);
    made.port = ntohs(address.sin_port);
    snprintf(made.address, sizeof made.address, "%s:%u", host, made.port);
    snprintf(made.name, sizeof made.name, "test.name:%u", made.port);
    return made;
}

static server server_start(void)
{
    return server_at("127.0.0.1", 0, 16);
}

static void server_stop(const server *self)
{
    close(self->fd);
}

/* Abstract, of this process's own. */
static server server_unix(int backlog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    server made = {.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    int length =
        snprintf(made.address, sizeof made.address, "unix:@ferry-test-connect-%d", (int)getpid());
    size_t name = (size_t)length - strlen("unix:");
    memcpy(address.sun_path, made.address + strlen("unix:"), name);
    address.sun_path[0] = '\0';
    check_eq(bind(made.fd, (struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name)),
             0);
    check_eq(listen(made.fd, backlog), 0);
    return made;
}

/* A service, and a server that it connects to. */
typedef struct host {
    ferry_service *service;
    server server;
} host;

static host host_begin(ferry_placement placement, server to)
{
    return (host){service_start(placement), to};
}

static void host_end(host *h)
{
    server_stop(&h->server);
    ferry_service_destroy(h->service);
}

/* Connections that nobody accepts: as many as make the next one wait. */
typedef struct crowd {
    int fds[8];
    unsigned count;
} crowd;

static crowd fill_backlog(const server *full)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    crowd made = {0};
    check_eq(getsockname(full->fd, (struct sockaddr *)&address, &size), 0);
    bool is_full = false;
    while (!is_full) {
        check(made.count < 8);
        int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        is_full = connect(fd, (struct sockaddr *)&address, size) < 0 && errno == EAGAIN;
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        /* Loopback connects within the call, or not for a second: until SYN is sent again. */
        is_full |= poll(&writable, 1, 200) == 0;
        made.fds[made.count++] = fd;
    }
    return made;
}

static void disperse(crowd *waiting)
{
    for (unsigned i = 0; i < waiting->count; i++)
        close(waiting->fds[i]);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static ferry_promise *connect_with(ferry_service *service, const char *address,
                                   ferry_connect_options options)
{
    ferry_promise *promise;
    check_eq(ferry_connect(service, address, &options, &promise), 0);
    return promise;
}

static ferry_promise *connect_with_faults(ferry_service *service, const char *address,
                                          ferry_faults *faults)
{
    const ferry_stream_options of_stream = {.faults = faults};
    return connect_with(service, address, (ferry_connect_options){.stream = &of_stream});
}

static ferry_promise *connect_to(ferry_service *service, const char *address)
{
    return connect_with(service, address, (ferry_connect_options){0});
}

static void check_connect(ferry_promise *promise, int error, ferry_phase phase)
{
    ferry_stream *none;
    check_outcome(ferry_promise_ref(promise), .error = error, .phase = phase);
    if (error != 0)
        check_eq(ferry_promise_get_stream(promise, &none), -ENODATA);
    ferry_promise_unref(promise);
}

static ferry_stream *stream_of(ferry_promise *promise)
{
    ferry_stream *stream;
    check_outcome(ferry_promise_ref(promise), .error = 0, .phase = FERRY_PHASE_DONE);
    check_eq(ferry_promise_get_stream(promise, &stream), 0);
    ferry_promise_unref(promise);
    return stream;
}

/* Accepts the connection of a stream, and sees that it is one. Drops the stream. */
static void check_connected(ferry_stream *stream, const server *to)
{
    char got[6] = "", peer[64];
    AT_END(close_fd) int fd = accept4(to->fd, NULL, NULL, SOCK_CLOEXEC);
    check(fd >= 0);
    check_eq(outcome(submit_write(stream, "hello", 5)).error, 0);
    check_eq(recv(fd, got, 5, MSG_WAITALL), 5);
    check(strcmp(got, "hello") == 0);
    check(ferry_stream_get_peer(stream, peer, sizeof peer) > 0);
    if (strlen(to->address) < 28)
        check(strcmp(peer, to->address) == 0);
    ferry_stream_unref(stream);
    check_eq(read(fd, got, 1), 0);
}

static void connect_and_talk(ferry_placement placement, server to)
{
    AT_END(host_end) host h = host_begin(placement, to);
    check_connected(stream_of(connect_to(h.service, to.address)), &to);
}

PROMISE_BOTH(connecting, number_gives_a_stream)
{
    connect_and_talk(placement, server_start());
}

PROMISE_BOTH(connecting, unix_socket_gives_a_stream)
{
    connect_and_talk(placement, server_unix(5));
}

PROMISE(connecting, no_host_is_this_host)
{
    AT_END(host_end) host h = host_begin(FERRY_PLACEMENT_SHARED, server_start());
    char address[20];
    snprintf(address, sizeof address, ":%u", h.server.port);
    check_connected(stream_of(connect_to(h.service, address)), &h.server);
}

/* How many threads look up a name. */
static unsigned count_lookups(void)
{
    unsigned count = 0;
    DIR *threads = opendir("/proc/self/task");
    for (const struct dirent *one; (one = readdir(threads)) != NULL;) {
        char path[300], name[16] = "";
        (void)snprintf(path, sizeof path, "/proc/self/task/%s/comm", one->d_name);
        FILE *file = fopen(path, "re");
        if (file == NULL)
            continue;
        count += fscanf(file, "%15s", name) == 1 && strcmp(name, "ferry-resolve") == 0;
        (void)fclose(file);
    }
    (void)closedir(threads);
    return count;
}

/* Pins: no_wait_on_an_owner. */
PROMISE_BOTH(connecting, name_is_looked_up_on_a_thread_that_is_there_only_meanwhile)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    unsigned threads = count_threads();
    atomic_store(&names.is_held_up, true);
    ferry_promise *promise = connect_to(h.service, h.server.name);
    while (atomic_load(&names.asked) == 0)
        sched_yield();
    check_eq(count_threads(), threads + 1);
    check_eq(count_lookups(), 1);
    check_eq(ferry_promise_await(promise, 0, NULL), -ETIMEDOUT);
    check_connected(stream_of(connect_to(h.service, h.server.address)),
                    &h.server); /* no owner waits for it */
    atomic_store(&names.is_held_up, false);
    check_connected(stream_of(promise), &h.server);
    while (count_lookups() > 0) /* those of dedicated streams are kept */
        sched_yield();
    check_eq(atomic_load(&names.asked), 1);
}

static void keep_stream(ferry_promise *promise, const ferry_result *result, void *arg)
{
    check_eq(result->error, 0);
    check(ferry__thread_current()->owner != NULL);
    ferry_stream *stream;
    check_eq(ferry_promise_get_stream(promise, &stream), 0);
    check_eq(ferry_stream_write(stream, "hello", 5, NULL, NULL), 0);
    atomic_store((_Atomic(ferry_stream *) *)arg, stream);
}

PROMISE_BOTH(connecting, callback_on_the_owner_gets_the_stream)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    _Atomic(ferry_stream *) stream = NULL;
    char got[6] = "";
    const ferry_connect_options options = {.on_owner = keep_stream, .on_owner_arg = &stream};
    check_eq(ferry_connect(h.service, h.server.address, &options, NULL), 0);
    AT_END(close_fd) int fd = accept4(h.server.fd, NULL, NULL, SOCK_CLOEXEC);
    check_eq(recv(fd, got, 5, MSG_WAITALL), 5);
    while (atomic_load(&stream) == NULL)
        sched_yield();
    ferry_stream_unref(atomic_load(&stream));
}

PROMISE_BOTH(connecting, stream_has_the_options_asked_for)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(NULL, 0, &faults), 0);
    const ferry_stream_options of_stream = {
        .limit_requests = 7, .no_delay = true, .faults = faults};
    ferry_stream *stream = stream_of(
        connect_with(h.service, h.server.address, (ferry_connect_options){.stream = &of_stream}));
    check_eq(stream->settings->options.limit_requests, 7);
    check(stream->link.has_no_delay);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_CONNECT), 1);
    check_connected(stream, &h.server);
    check(ferry_faults_get_calls(faults, FERRY_CALL_WRITE) >= 1);
}

PROMISE(connecting, promise_gives_its_stream_again_and_keeps_it)
{
    AT_END(host_end) host h = host_begin(FERRY_PLACEMENT_SHARED, server_start());
    ferry_promise *promise = connect_to(h.service, h.server.address);
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    ferry_stream *first, *second;
    check_eq(ferry_promise_get_stream(promise, &first), 0);
    ferry_stream_unref(first);
    check_eq(ferry_promise_get_stream(promise, &second), 0);
    check(first == second);
    ferry_promise_unref(promise);
    check_connected(second, &h.server);
}

PROMISE(connecting, only_its_own_promise_has_a_stream)
{
    AT_END(stage_end) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    ferry_stream *none;
    AT_END(drop_promise) ferry_promise *written = submit_write(s.stream, "x", 1);
    atomic_store(&names.is_held_up, true);
    AT_END(drop_promise) ferry_promise *pending = connect_to(s.service, "test.name:1");
    check_eq(ferry_promise_get_stream(written, &none), -EINVAL);
    check_eq(ferry_promise_get_stream(NULL, &none), -EINVAL);
    check_eq(ferry_promise_get_stream(pending, NULL), -EINVAL);
    check_eq(ferry_promise_get_stream(pending, &none), -EBUSY);
    check_eq(ferry_promise_cancel(pending), 0);
    atomic_store(&names.is_held_up, false);
}

/* ---- all addresses --------------------------------------------------------------------------- */

static void set_hosts(const char *const hosts[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        names.hosts[i] = hosts[i];
    names.hosts[count] = NULL;
}

PROMISE_BOTH(connecting, all_addresses_are_tried)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    set_hosts((const char *[]){"127.0.0.2", "127.0.0.3", "::1", "127.0.0.1"}, 4);
    check_connected(stream_of(connect_to(h.service, h.server.name)), &h.server);
}

PROMISE(connecting, address_that_does_not_answer_delays_the_next_by_a_quarter_of_a_second)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    /* In this order: others on this machine take their ports at 127.0.0.1. */
    AT_END(server_stop)
    server to = server_at("127.0.0.1", 0, 5), silent = server_at("127.0.0.2", to.port, 0);
    AT_END(disperse) crowd waiting = fill_backlog(&silent);
    set_hosts((const char *[]){"127.0.0.2", "127.0.0.1"}, 2);
    ferry_promise *promise = connect_to(service, to.name);
    ferry_result result;
    check_eq(ferry_promise_await(promise, -1, &result), 0);
    check(result.active_ns >= 250 * 1000 * 1000);
    check_connected(stream_of(promise), &to);
}

PROMISE(connecting, families_take_turns_and_16_addresses_are_enough)
{
    ferry__address address;
    ferry__endpoints found;
    check_eq(ferry__address_parse("test.name:80", &address), 0);
    set_hosts((const char *[]){"::1", "::2", "::3", "127.0.0.1", "127.0.0.2"}, 5);
    check_eq(ferry__address_resolve(&address, false, FERRY__EVERYWHERE, &found), 0);
    static const int families[] = {AF_INET6, AF_INET, AF_INET6, AF_INET, AF_INET6};
    check_eq(found.count, 5);
    for (unsigned i = 0; i < 5; i++)
        check_eq(found.list[i].address.any.sa_family, families[i]);
    for (unsigned i = 0; i < 19; i++)
        names.hosts[i] = "127.0.0.1";
    check_eq(ferry__address_resolve(&address, false, FERRY__EVERYWHERE, &found), 0);
    check_eq(found.count, 16);
}

PROMISE_BOTH(connecting, failure_says_what_came_closest)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    const ferry_fault script[] = {
        {FERRY_CALL_CONNECT, 1, 1, FERRY_FAULT_ERROR, ENETUNREACH},
        {FERRY_CALL_CONNECT, 2, 1, FERRY_FAULT_ERROR, ECONNREFUSED},
        {FERRY_CALL_CONNECT, 3, 1, FERRY_FAULT_ERROR, EHOSTUNREACH},
    };
    AT_END(drop_faults) ferry_faults *faults;
    check_eq(ferry_faults_create(script, 3, &faults), 0);
    set_hosts((const char *[]){"127.0.0.1", "127.0.0.2", "127.0.0.3"}, 3);
    check_connect(connect_with_faults(service, "test.name:1", faults), -ECONNREFUSED,
                  FERRY_PHASE_CONNECT);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_CONNECT), 3);
}

/* ---- failures -------------------------------------------------------------------------------- */

PROMISE_BOTH(connecting, refused_is_econnrefused)
{
    AT_END(host_end) host h = host_begin(placement, server_at("127.0.0.1", 0, DEAF));
    check_connect(connect_to(h.service, h.server.address), -ECONNREFUSED, FERRY_PHASE_CONNECT);
}

PROMISE(connecting, unix_path_that_is_missing_is_enoent)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    check_connect(connect_to(service, "unix:/nosuchdirectory/x"), -ENOENT, FERRY_PHASE_CONNECT);
}

PROMISE_BOTH(connecting, lookup_that_fails_is_an_errno_in_phase_resolve)
{
    static const int cases[][2] = {{EAI_NONAME, -ENXIO},          {EAI_NODATA, -ENXIO},
                                   {EAI_ADDRFAMILY, -ENXIO},      {EAI_SERVICE, -ENXIO},
                                   {EAI_AGAIN, -EAGAIN},          {EAI_FAIL, -EIO},
                                   {EAI_MEMORY, -ENOMEM},         {EAI_FAMILY, -EIO},
                                   {EAI_OVERFLOW, -ENAMETOOLONG}, {EAI_SYSTEM, -ENFILE}};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        names.error = cases[i][0];
        check_connect(connect_to(service, "test.invalid:80"), cases[i][1], FERRY_PHASE_RESOLVE);
    }
}

static void fail_by_script(ferry_placement placement, const char *address, ferry_fault fault,
                           ferry_phase phase)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(drop_faults) ferry_faults *faults = faults_of(fault);
    const ferry_stream_options of_stream = {
        .faults = faults, .high_watermark_bytes = 1, .on_watermark = ignore_watermark};
    check_connect(connect_with(service, address, (ferry_connect_options){.stream = &of_stream}),
                  -fault.error, phase);
    check_eq(ferry_faults_get_injected(faults), 1);
}

PROMISE_BOTH(connecting, without_a_thread_for_looking_up_it_fails_with_eagain)
{
    fail_by_script(placement, "test.name:80",
                   (ferry_fault){FERRY_CALL_THREAD, 1, 1, FERRY_FAULT_ERROR, EAGAIN},
                   FERRY_PHASE_RESOLVE);
}

PROMISE(connecting, stream_that_cannot_be_made_is_a_failure_in_phase_socket)
{
    /* It connects at once: the first call is for the stream's own epoll set. */
    AT_END(server_stop) server to = server_unix(5);
    fail_by_script(FERRY_PLACEMENT_DEDICATED, to.address,
                   (ferry_fault){FERRY_CALL_POLL, 1, 1, FERRY_FAULT_ERROR, EMFILE},
                   FERRY_PHASE_SOCKET);
    AT_END(close_fd) int fd = accept4(to.fd, NULL, NULL, SOCK_CLOEXEC);
    check_eq(read(fd, &(char){0}, 1), 0);
}

PROMISE(connecting, watch_that_cannot_be_made_is_a_failure_in_phase_connect)
{
    AT_END(server_stop) server to = server_at("127.0.0.1", 0, 0);
    AT_END(disperse) crowd waiting = fill_backlog(&to);
    fail_by_script(FERRY_PLACEMENT_SHARED, to.address,
                   (ferry_fault){FERRY_CALL_POLL, 1, 1, FERRY_FAULT_ERROR, ENOMEM},
                   FERRY_PHASE_CONNECT);
}

PROMISE(connecting, bad_input_is_refused)
{
    AT_END(destroy_service) ferry_service *service = service_start(FERRY_PLACEMENT_SHARED);
    const ferry_stream_options unlikely = {.close_timeout_ms = -1};
    const ferry_connect_options bad_stream = {.stream = &unlikely}, bad_time = {.timeout_ms = -1};
    ferry_promise *none = NULL;
    check_eq(ferry_connect(NULL, ":1", NULL, &none), -EINVAL);
    check_eq(ferry_connect(service, NULL, NULL, &none), -EINVAL);
    check_eq(ferry_connect(service, "nonsense", NULL, &none), -EINVAL);
    check_eq(ferry_connect(service, "systemd:0", NULL, &none), -EINVAL);
    check_eq(ferry_connect(service, "fd:999", NULL, &none), -EBADF);
    check_eq(ferry_connect(service, ":1", &bad_stream, &none), -EINVAL);
    check_eq(ferry_connect(service, ":1", &bad_time, &none), -EINVAL);
    check(none == NULL);
}

/* ---- fds ------------------------------------------------------------------------------------- */

PROMISE_BOTH(connecting, inherited_fd_becomes_a_stream)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(close_theirs) pair both = tcp_pair();
    char address[20], got[6] = "";
    fcntl(both.ours, F_SETFD, 0);
    snprintf(address, sizeof address, "fd:%d", both.ours);
    AT_END(drop_stream) ferry_stream *stream = stream_of(connect_to(service, address));
    check((fcntl(both.ours, F_GETFD) & FD_CLOEXEC) != 0);
    check_eq(outcome(submit_write(stream, "hello", 5)).error, 0);
    check_eq(recv(both.theirs, got, 5, MSG_WAITALL), 5);
}

PROMISE_BOTH(connecting, inherited_fd_of_no_use_is_closed_and_fails_in_phase_socket)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    server listening = server_start();
    char address[20];
    snprintf(address, sizeof address, "fd:%d", listening.fd);
    check_connect(connect_to(service, address), -EINVAL, FERRY_PHASE_SOCKET);
    check_eq(fcntl(listening.fd, F_GETFD), -1);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* On a busy machine the time may be up before it has come so far. */
static void check_out_of_time(ferry_service *service, const char *address, ferry_phase phase)
{
    ferry_result result = {0};
    for (int64_t ms = 30; result.phase != phase; ms *= 2) {
        result = outcome(connect_with(service, address, (ferry_connect_options){.timeout_ms = ms}));
        check_eq(result.error, -ETIMEDOUT);
    }
}

PROMISE_BOTH(connecting, deadline_passes_while_nobody_answers)
{
    AT_END(host_end) host h = host_begin(placement, server_at("127.0.0.1", 0, 0));
    AT_END(disperse) crowd waiting = fill_backlog(&h.server);
    check_out_of_time(h.service, h.server.address, FERRY_PHASE_CONNECT);
}

PROMISE_BOTH(connecting, deadline_passes_while_a_unix_backlog_is_full)
{
    AT_END(host_end) host h = host_begin(placement, server_unix(0));
    AT_END(disperse) crowd waiting = fill_backlog(&h.server);
    check_out_of_time(h.service, h.server.address, FERRY_PHASE_CONNECT);
}

PROMISE_BOTH(connecting, full_unix_backlog_is_waited_for)
{
    AT_END(host_end) host h = host_begin(placement, server_unix(0));
    AT_END(disperse) crowd waiting = fill_backlog(&h.server);
    ferry_promise *promise = connect_to(h.service, h.server.address);
    check_eq(ferry_promise_await(promise, 20, NULL), -ETIMEDOUT);
    for (unsigned i = 0; i + 1 < waiting.count; i++) /* the last one of the crowd did not get in */
        close(accept4(h.server.fd, NULL, NULL, SOCK_CLOEXEC));
    check_connected(stream_of(promise), &h.server);
}

PROMISE_BOTH(connecting, deadline_passes_while_a_name_is_looked_up)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    atomic_store(&names.is_held_up, true);
    check_out_of_time(service, "test.name:80", FERRY_PHASE_RESOLVE);
    atomic_store(&names.is_held_up, false);
}

/* ---- calling off ----------------------------------------------------------------------------- */

/* Pins: no_wait_on_an_owner. */
PROMISE_BOTH(connecting, cancel_settles_at_once_while_a_name_is_looked_up)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    atomic_store(&names.is_held_up, true);
    ferry_promise *promise = connect_to(service, "test.name:80");
    while (atomic_load(&names.asked) == 0)
        sched_yield();
    check_eq(ferry_promise_cancel(promise), 0);
    check_connect(promise, -ECANCELED, FERRY_PHASE_RESOLVE);
    atomic_store(&names.is_held_up, false);
}

PROMISE_BOTH(connecting, cancel_closes_the_sockets_that_wait_for_an_answer)
{
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    AT_END(server_stop) server silent = server_at("127.0.0.1", 0, 0), full = server_unix(0);
    AT_END(disperse) crowd waiting = fill_backlog(&silent), others = fill_backlog(&full);
    unsigned fds = count_fds();
    ferry_promise *tcp = connect_to(service, silent.address);
    ferry_promise *local = connect_to(service, full.address);
    while (count_fds() < fds + 2)
        sched_yield();
    check_eq(ferry_promise_cancel(tcp), 0);
    check_eq(ferry_promise_cancel(local), 0);
    check_connect(tcp, -ECANCELED, FERRY_PHASE_CONNECT);
    check_connect(local, -ECANCELED, FERRY_PHASE_CONNECT);
    check_eq(count_fds(), fds);
}

PROMISE_BOTH(connecting, cancel_at_any_moment_settles_once_and_leaves_no_fd)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    check_eq(fcntl(h.server.fd, F_SETFL, O_NONBLOCK), 0);
    for (unsigned round = 0; round < 200; round++) {
        char by_fd[20];
        AT_END(close_theirs) pair both = unix_pair(SOCK_STREAM);
        snprintf(by_fd, sizeof by_fd, "fd:%d", both.ours);
        const char *const addresses[] = {h.server.address, h.server.name, by_fd};
        ferry_promise *promises[3];
        for (unsigned i = 0; i < 3; i++)
            promises[i] = connect_to(h.service, addresses[i]);
        for (unsigned i = 0; i < round % 10; i++)
            sched_yield();
        for (unsigned i = 0; i < 3; i++) {
            int asked = ferry_promise_cancel(promises[i]);
            int error = outcome(promises[i]).error;
            check(error == 0 || (error == -ECANCELED && asked == 0));
        }
        for (int fd; (fd = accept4(h.server.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
            close(fd);
        check_eq(read(both.theirs, &(char){0}, 1), 0); /* closed, whatever the outcome */
    }
}

PROMISE_BOTH(connecting, connection_that_nobody_asks_for_is_closed)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    check_eq(ferry_connect(h.service, h.server.address, NULL, NULL), 0);
    AT_END(close_fd) int fd = accept4(h.server.fd, NULL, NULL, SOCK_CLOEXEC);
    check_eq(read(fd, &(char){0}, 1), 0);
    atomic_store(&names.is_held_up, true);
    ferry_promise_unref(connect_to(h.service, h.server.name));
    atomic_store(&names.is_held_up, false);
    AT_END(close_fd) int other = accept4(h.server.fd, NULL, NULL, SOCK_CLOEXEC);
    check_eq(read(other, &(char){0}, 1), 0);
}

static void *release_names(void *arg)
{
    ferry_promise *resolving = arg;
    /* It is settled while getaddrinfo is still at it; destroy waits for that. */
    check_eq(ferry_promise_await(resolving, -1, NULL), 0);
    atomic_store(&names.is_held_up, false);
    return NULL;
}

PROMISE_BOTH(connecting, destroy_ends_connects_at_every_stage)
{
    ferry_service *service = service_start(placement);
    AT_END(server_stop) server silent = server_at("127.0.0.1", 0, 0), full = server_unix(0);
    AT_END(disperse) crowd waiting = fill_backlog(&silent), others = fill_backlog(&full);
    atomic_store(&names.is_held_up, true);
    ferry_promise *resolving = connect_to(service, "test.name:80");
    ferry_promise *tcp = connect_to(service, silent.address);
    ferry_promise *local = connect_to(service, full.address);
    while (atomic_load(&names.asked) == 0)
        sched_yield();
    pthread_t thread = start_thread(release_names, resolving);
    ferry_service_destroy(service);
    join_thread(&thread);
    check_connect(resolving, -ECANCELED, FERRY_PHASE_RESOLVE);
    check_eq(ferry_promise_await(tcp, 0, NULL), 0);
    check_eq(outcome(tcp).error, -ECANCELED);
    check_eq(ferry_promise_await(local, 0, NULL), 0);
    check_eq(outcome(local).error, -ECANCELED);
}

PROMISE_BOTH(connecting, destroy_races_with_connects)
{
    enum { CONNECTS = 10, ROUNDS = 40 };
    AT_END(server_stop) server to = server_at("127.0.0.1", 0, 1000);
    for (unsigned round = 0; round < ROUNDS; round++) {
        ferry_service *service = service_start(placement);
        ferry_promise *promises[CONNECTS];
        for (unsigned i = 0; i < CONNECTS; i++)
            promises[i] = connect_to(service, i % 3 == 0 ? to.name : to.address);
        for (unsigned i = 0; i < round; i++)
            sched_yield();
        ferry_service_destroy(service);
        for (unsigned i = 0; i < CONNECTS; i++) {
            check_eq(ferry_promise_await(promises[i], 0, NULL), 0);
            int error = outcome(promises[i]).error;
            check(error == 0 || error == -ECANCELED);
        }
    }
}

/* A proxy: who is told of a connection connects on, while another thread destroys the service. */
static void connect_on(ferry_listener *, ferry_stream *stream, void *arg)
{
    int error = ferry_connect(stream->service, arg, NULL, NULL);
    check(error == 0 || error == -ESHUTDOWN);
}

PROMISE_BOTH(connecting, destroy_races_with_connects_made_on_owners)
{
    AT_END(server_stop) server to = server_at("127.0.0.1", 0, 1000);
    for (unsigned round = 0; round < 30; round++) {
        ferry_service *service = service_start(placement);
        const ferry_listen_options options = {
            .on_stream = connect_on, .on_stream_arg = to.address, .on_owner = true};
        ferry_listener *listener;
        char address[64];
        check_eq(ferry_listen(service, "127.0.0.1:0", &options, &listener), 0);
        ferry_listener_get_address(listener, address, sizeof address);
        for (unsigned i = 0; i < 10; i++)
            check_eq(ferry_connect(service, address, NULL, NULL), 0);
        for (unsigned i = 0; i < round * 2; i++)
            sched_yield();
        ferry_service_destroy(service);
        ferry_listener_unref(listener);
    }
}

/* ---- connected, or not ----------------------------------------------------------------------- */

/* What says that it is under way, or was interrupted, without the call being made. */
static void connect_by_script(ferry_service *service, server to, int error, unsigned times)
{
    AT_END(drop_faults)
    ferry_faults *faults =
        faults_of((ferry_fault){FERRY_CALL_CONNECT, 1, times, FERRY_FAULT_ERROR, error});
    check_connected(stream_of(connect_with_faults(service, to.address, faults)), &to);
    check_eq(ferry_faults_get_calls(faults, FERRY_CALL_CONNECT), times + 1);
    server_stop(&to);
}

PROMISE_BOTH(connecting, stream_of_a_promise_is_connected_whatever_a_script_says)
{
    static const int errors[] = {EINPROGRESS, EINTR, EAGAIN};
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned times = 1; times < 4; times += 2) {
            connect_by_script(service, server_start(), errors[i], times);
            connect_by_script(service, server_unix(5), errors[i], times);
        }
}

PROMISE_BOTH(connecting, connection_that_is_never_made_can_be_cancelled)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    AT_END(drop_faults)
    ferry_faults *faults =
        faults_of((ferry_fault){FERRY_CALL_CONNECT, 1, UINT64_MAX, FERRY_FAULT_ERROR, EINPROGRESS});
    ferry_promise *promise = connect_with_faults(h.service, h.server.address, faults);
    while (ferry_faults_get_calls(faults, FERRY_CALL_CONNECT) < 3)
        sched_yield();
    check_eq(ferry_promise_cancel(promise), 0);
    check_connect(promise, -ECANCELED, FERRY_PHASE_CONNECT);
}

/* A network of this thread's own, and of those that it starts, with one port for whoever connects.
 * Whether it may have one. */
static bool enter_network_of_one_port(unsigned port)
{
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    check_eq(ioctl(fd, SIOCSIFFLAGS, &loopback), 0);
    close(fd);
    FILE *range = fopen("/proc/sys/net/ipv4/ip_local_port_range", "we");
    if (range == NULL)
        return false;
    (void)fprintf(range, "%u %u\n", port, port);
    return fclose(range) == 0;
}

PROMISE_BOTH(connecting, connection_that_meets_itself_is_refused)
{
    if (!enter_network_of_one_port(20000))
        return;
    AT_END(destroy_service) ferry_service *service = service_start(placement);
    for (unsigned i = 0; i < 3; i++) /* and its port is free again */
        check_connect(connect_to(service, "127.0.0.1:20000"), -ECONNREFUSED, FERRY_PHASE_CONNECT);
    check_connect(connect_to(service, ":20000"), -ECONNREFUSED, FERRY_PHASE_CONNECT);
}

/* ---- its own end ----------------------------------------------------------------------------- */

PROMISE_BOTH(connecting, connection_comes_from_the_address_that_was_asked_for)
{
    AT_END(host_end) host h = host_begin(placement, server_start());
    char own[64];
    struct sockaddr_in client;
    socklen_t size = sizeof client;
    ferry_stream *stream = stream_of(connect_with(
        h.service, h.server.address, (ferry_connect_options){.source = "127.0.0.7:0"}));
    check(ferry_stream_get_local(stream, own, sizeof own) > 0);
    check(strncmp(own, "127.0.0.7:", 10) == 0);
    AT_END(close_fd) int fd = accept4(h.server.fd, (struct sockaddr *)&client, &size, SOCK_CLOEXEC);
    check_eq(ntohl(client.sin_addr.s_addr), 0x7f000007);
    ferry_stream_unref(stream);
}

PROMISE_EITHER(connecting, source_that_is_no_number_is_refused_and_that_is_not_there_is_an_outcome)
{
    const ferry_connect_options foreign = {.source = "192.0.2.1:0"}, other = {.source = "[::1]:0"};
    AT_END(host_end) host h = host_begin(placement, server_start());
    static const char *const bad[] = {":0", "test.name:0", "unix:/tmp/x", "fd:0", "127.0.0.1", ""};
    ferry_promise *none = NULL;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const ferry_connect_options options = {.source = bad[i]};
        check_eq(ferry_connect(h.service, h.server.address, &options, &none), -EINVAL);
    }
    check(none == NULL);
    check_connect(connect_with(h.service, h.server.address, foreign), -EADDRNOTAVAIL,
                  FERRY_PHASE_SOCKET);
    check_connect(connect_with(h.service, h.server.address, other), -EAFNOSUPPORT,
                  FERRY_PHASE_SOCKET);
}

/* What an on_socket does, and how often it was called and released. */
typedef struct setting_up {
    int answer;
    atomic_uint calls, releases;
} setting_up;

static int set_up(int fd, void *arg)
{
    setting_up *self = arg;
    set_socket_option(fd, SOL_SOCKET, SO_SNDBUF, 7000);
    atomic_fetch_add(&self->calls, 1);
    return self->answer;
}

static void note_set_up_release(void *, void *arg)
{
    atomic_fetch_add(&((setting_up *)arg)->releases, 1);
}

static void check_buffer(ferry_stream *stream, int fd, void *arg)
{
    check(stream != NULL);
    atomic_store((atomic_int *)arg, socket_option(fd, SOL_SOCKET, SO_SNDBUF));
}

PROMISE_BOTH(connecting, on_socket_sets_each_socket_up_before_it_is_connected)
{
    setting_up seen = {0};
    AT_END(host_end) host h = host_begin(placement, server_start());
    atomic_int size = 0;
    const ferry_connect_options options = {
        .on_socket = set_up, .on_socket_arg = &seen, .on_socket_release = note_set_up_release};
    ferry_stream *stream = stream_of(connect_with(h.service, h.server.address, options));
    check_eq(atomic_load(&seen.calls), 1);
    check_eq(atomic_load(&seen.releases), 1);
    check_eq(ferry_stream_use_fd(stream, check_buffer, &size), 0);
    while (atomic_load(&size) == 0)
        sched_yield();
    check_eq(atomic_load(&size), 14000); /* the kernel doubles it */
    ferry_stream_unref(stream);
    seen.answer = -EPERM;
    check_connect(connect_with(h.service, h.server.address, options), -EPERM, FERRY_PHASE_SOCKET);
    check_eq(atomic_load(&seen.calls), 2);
    check_eq(atomic_load(&seen.releases), 2);
}

PROMISE_EITHER(connecting, refused_connect_releases_no_arg_of_on_socket)
{
    setting_up seen = {0};
    AT_END(host_end) host h = host_begin(placement, server_start());
    ferry_promise *none = NULL;
    const ferry_connect_options options = {.on_socket = set_up,
                                           .on_socket_arg = &seen,
                                           .on_socket_release = note_set_up_release,
                                           .timeout_ms = -1};
    check_eq(ferry_connect(h.service, h.server.address, &options, &none), -EINVAL);
    check_eq(atomic_load(&seen.releases), 0);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void connect_if_memory_allows(ferry_placement placement, const char *address)
{
    ferry_service *service;
    const ferry_service_options one = {.placement = placement, .shared_owners = 1};
    if (ferry_service_create(&one, &service) != 0)
        return;
    ferry_promise *promise;
    int error = ferry_connect(service, address, NULL, &promise);
    if (error == 0) {
        ferry_stream *stream;
        error = ferry_promise_await(promise, -1, NULL);
        check_eq(error, 0);
        if (ferry_promise_get_stream(promise, &stream) == 0)
            ferry_stream_unref(stream);
        error = outcome(promise).error;
    }
    check(error == 0 || error == -ENOMEM);
    ferry_service_destroy(service);
}

PROMISE_BOTH(connecting, any_failing_allocation_is_refused_or_settles_and_leaks_nothing)
{
    check(ferry_inbox_run(0) == 0); /* this thread's inbox is there before memory runs out */
    AT_END(server_stop) server to = server_at("127.0.0.1", 0, 1000);
    for (unsigned way = 0; way < 2; way++) {
        shortage memory = {0};
        while (next_allocation_fails(&memory))
            connect_if_memory_allows(placement, way == 0 ? to.address : to.name);
        check(memory.failures > 5);
    }
}

/* ---- whose connections are ------------------------------------------------------------------- */

enum { MADE = 20 };

/* What a callback on an owner makes. */
typedef struct made_there {
    ferry_service *service;
    int fds[MADE];
    ferry_stream *streams[MADE];
} made_there;

static void make_many(ferry_promise *, const ferry_result *, void *arg)
{
    made_there *all = arg;
    for (unsigned i = 0; i < MADE; i++)
        all->streams[i] = stream_adopt(all->service, all->fds[i]);
}

PROMISE(connecting, what_a_callback_makes_stays_with_its_owner_while_others_have_no_less_to_do)
{
    AT_END(stage_end) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    made_there all = {.service = s.service};
    int theirs[MADE];
    unsigned with_it = 0;
    for (unsigned i = 0; i < MADE; i++) {
        pair both = unix_pair(SOCK_STREAM);
        all.fds[i] = both.ours;
        theirs[i] = both.theirs;
    }
    const ferry_request_options options = {.on_owner = make_many, .on_owner_arg = &all};
    ferry_promise *written;
    check_eq(ferry_stream_write(s.stream, "x", 1, &options, &written), 0);
    check_outcome(written, .error = 0, .sent = 1);
    for (unsigned i = 0; i < MADE; i++) {
        bool is_with_it = all.streams[i]->owner == s.stream->owner;
        check(is_with_it || i >= 4);
        with_it += is_with_it;
        check_eq(close_stream(all.streams[i]).error, 0);
        close(theirs[i]);
    }
    check(with_it <= MADE / 2 + 2); /* it is one of two */
}
