/* SPDX-License-Identifier: MIT */
/*
 * Connections that have shaken hands and do nothing: how much memory of the server's each has, and
 * what its handshake cost. Beside OpenSSL, as it comes, and told to release its buffers.
 */
#include "shape_tls_kinds.h"

#include "helper.h"
#include "load.h"
#include "peer_stream.h"
#include "tls_lane.h"

#include <ferry/tls.h>

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MOST = 1000,
    WARM = 20, /* connections before those that count: then what all share is there */
    FEW = 100  /* fds beside those of connections */
};

/* ---- the clients ----------------------------------------------------------------------------- */

static int connect_one(SSL_CTX *context, int listener, int *ret_fd)
{
    *ret_fd = sockets_connect(listener, 0);
    SSL *ssl = *ret_fd >= 0 ? SSL_new(context) : NULL;
    bool is_done = ssl != NULL && SSL_set_fd(ssl, *ret_fd) == 1 && SSL_connect(ssl) == 1;
    return is_done ? 0 : -EPROTO; /* it stays */
}

/* They come one after the other, and stay until the server ends the last one. */
static int be_clients(int listener, void *context)
{
    size_t count = *(const size_t *)context;
    SSL_CTX *tls = tls_client_context();
    int error = tls == NULL ? -ENOMEM : 0;
    int last = -1;
    for (size_t i = 0; i < count && error == 0; i++)
        error = connect_one(tls, listener, &last);
    char data[4096]; /* a ticket comes as well */
    for (ssize_t count_of_last = 1; error == 0 && count_of_last > 0;)
        count_of_last = read(last, data, sizeof data);
    return error;
}

/* ---- the server ------------------------------------------------------------------------------ */

typedef struct idle {
    scratch where;
    tls_identity identity;
    size_t count; /* of connections that are counted */
    bool reads;   /* whether ferry's streams have a reader each */
    int listener;
    pid_t clients;

    /* By whoever shakes hands. */
    size_t done;
    stopwatch watch; /* since the warm ones are there */
    long pages_before, pages_after;
    lap taken;
    sem_t all_are_there;
} idle;

/* How many pages of memory the process has. */
static long count_pages(void)
{
    long all, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL || fscanf(file, "%ld %ld", &all, &resident) != 2)
        resident = 0;
    if (file != NULL)
        (void)fclose(file);
    return resident;
}

/* A handshake is over. */
static void note(idle *all)
{
    all->done++;
    if (all->done == WARM) {
        all->pages_before = count_pages();
        all->watch = stopwatch_start();
    }
    if (all->done == WARM + all->count) {
        all->taken = stopwatch_read(&all->watch);
        all->pages_after = count_pages();
        (void)sem_post(&all->all_are_there);
    }
}

static int open_all(const shape_run *what, idle *ret_all)
{
    *ret_all = (idle){.count = what->operations};
    (void)sem_init(&ret_all->all_are_there, 0, 0);
    int error = load_allow_files(MOST + WARM + FEW);
    if (error == 0)
        error = scratch_init(&ret_all->where);
    if (error != 0)
        return error;
    error = tls_identity_make(ret_all->where.directory, &ret_all->identity);
    ret_all->listener = error == 0 ? sockets_listen(ROUTE_TCP, SHAPE_BACKLOG) : error;
    size_t count = ret_all->count + WARM;
    return ret_all->listener < 0
               ? ret_all->listener
               : helper_start(be_clients, ret_all->listener, &count, &ret_all->clients);
}

static int close_all(idle *all, int error, double ret_figures[FIGURES])
{
    if (error == 0)
        error = helper_join(all->clients);
    long pages = all->pages_after - all->pages_before;
    ret_figures[0] = (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024 / (double)all->count;
    ret_figures[1] = all->taken.cpu_s * 1e6 / (double)all->count;
    int left = scratch_deinit(&all->where);
    return error != 0 ? error : left;
}

/* ---- OpenSSL --------------------------------------------------------------------------------- */

/* Accepts a connection, and looks whether something has come, as one would before one waits. */
static int accept_one(SSL_CTX *context, idle *all, int *ret_fd)
{
    char byte;
    int fd = accept(all->listener, NULL, NULL);
    SSL *ssl = fd >= 0 ? SSL_new(context) : NULL;
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_accept(ssl) != 1)
        return -EPROTO;
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        return -errno;
    int count = SSL_read(ssl, &byte, 1);
    if (SSL_get_error(ssl, count) != SSL_ERROR_WANT_READ)
        return -EPROTO;
    note(all);
    *ret_fd = fd;
    return 0;
}

static int accept_all(idle *all, long mode)
{
    SSL_CTX *context = tls_server_context(&all->identity);
    if (context == NULL)
        return -EPROTO;
    (void)SSL_CTX_set_mode(context, mode);
    int error = 0, last = -1;
    for (size_t i = 0; i < WARM + all->count && error == 0; i++)
        error = accept_one(context, all, &last);
    (void)shutdown(last, SHUT_RDWR);
    return error;
}

static int with_openssl(const shape_run *what, double ret_figures[FIGURES])
{
    static idle all;
    int error = open_all(what, &all);
    return close_all(&all, error == 0 ? accept_all(&all, 0) : error, ret_figures);
}

static int with_released(const shape_run *what, double ret_figures[FIGURES])
{
    static idle all;
    int error = open_all(what, &all);
    return close_all(&all, error == 0 ? accept_all(&all, SSL_MODE_RELEASE_BUFFERS) : error,
                     ret_figures);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static size_t read_nothing(ferry_stream *stream, const void *data, size_t length, bool at_end,
                           void *arg)
{
    (void)stream, (void)data, (void)length, (void)at_end, (void)arg;
    return 0;
}

/* It is there as long as it has a reader; or a reference, which nobody gives back. */
static void on_stream(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    idle *all = arg;
    const ferry_reader reader = {.on_read = read_nothing, .on_owner = true};
    (void)listener;
    if (all->reads)
        (void)ferry_stream_set_reader(stream, &reader);
    else
        (void)ferry_stream_ref(stream);
    note(all);
    if (all->done == WARM + all->count)
        ferry_stream_abort(stream);
}

static int listen_to_all(idle *all)
{
    ferry_tls_context *context;
    ferry_service *service;
    int error = service_with_one_owner(&service);
    if (error == 0)
        error = tls_ferry_context(&all->identity, &context);
    if (error != 0)
        return error;
    char address[16];
    (void)snprintf(address, sizeof address, "fd:%d", all->listener);
    const ferry_listen_options options = {
        .on_stream = on_stream,
        .on_stream_arg = all,
        .on_owner = true,
        .stream = &(ferry_stream_options){.tls = &(ferry_tls_options){.context = context}},
    };
    ferry_listener *listening;
    error = ferry_listen(service, address, &options, &listening);
    return error == 0 ? sem_wait(&all->all_are_there) : error;
}

static int with_ferry_and(bool reads, const shape_run *what, double ret_figures[FIGURES])
{
    static idle all;
    int error = open_all(what, &all);
    all.reads = reads;
    return close_all(&all, error == 0 ? listen_to_all(&all) : error, ret_figures);
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    return with_ferry_and(false, what, ret_figures);
}

static int with_readers(const shape_run *what, double ret_figures[FIGURES])
{
    return with_ferry_and(true, what, ret_figures);
}

/* ---- the shapes ------------------------------------------------------------------------------ */

#define IDLE(title, text, name_of_peer, peer, way)                                                 \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"KiB each", "CPU us a handshake"},        \
        .operations = MOST, .ways = {{name_of_peer, peer}, {"ferry", way}},                        \
    }

const shape shape_tls_idle[] = {
    IDLE("idle", "a connection that does nothing: memory that the process has for it",
         "OpenSSL, buffers released", with_released, with_ferry),
    IDLE("idle-read", "the same, with a reader that waits for what comes",
         "OpenSSL, buffers released", with_released, with_readers),
    IDLE("idle-default", "the same, without", "OpenSSL, as it comes", with_openssl, with_ferry),
    {0},
};
