/* SPDX-License-Identifier: MIT */
/*
 * Bulk over TLS: a large file, several times, sent by the owner of one stream, beside one thread
 * that reads 128 KiB, makes records of them in memory, and sends those with one call. Counted from
 * the end of the handshake on.
 */
#include "shape_tls_kinds.h"

#include "page_cached.h"
#include "peer_stream.h"
#include "tls_lane.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MIB = 1 << 20, FILE_BYTES = 128 * MIB, GATHERED = 128 * 1024 };

static size_t all_bytes(const shape_run *what)
{
    return what->operations * MIB;
}

static int finish(const shape_run *what, const tls_lane *over, const stopwatch *watch,
                  double ret_figures[FIGURES])
{
    int error = tls_lane_join(over);
    shape_give(what, stopwatch_read(watch), ret_figures);
    return error;
}

/* ---- a loop ---------------------------------------------------------------------------------- */

/* Sends what was gathered. */
static int send_gathered(const tls_lane *over, BIO *gathered)
{
    char *data;
    long size = BIO_get_mem_data(gathered, &data);
    for (ssize_t sent; size > 0; data += sent, size -= sent)
        if ((sent = send(over->fd, data, (size_t)size, MSG_NOSIGNAL)) < 0)
            return -errno;
    return BIO_reset(gathered) == 1 ? 0 : -ENOMEM;
}

static int send_file(const tls_lane *over, SSL *ssl, int file)
{
    static char data[GATHERED];
    BIO *gathered = SSL_get_wbio(ssl);
    int error = 0;
    for (off_t at = 0; at < FILE_BYTES && error == 0;) {
        ssize_t count = pread(file, data, sizeof data, at);
        if (count <= 0)
            return count < 0 ? -errno : -ENODATA;
        if (SSL_write(ssl, data, (int)count) != count)
            return -EPROTO;
        error = send_gathered(over, gathered);
        at += count;
    }
    return error;
}

/* Sends it as often as it takes. Ends the connection. */
static int send_by_loop(const shape_run *what, const tls_lane *over, SSL *ssl, int file)
{
    BIO *gathered = BIO_new(BIO_s_mem()), *socket = SSL_get_wbio(ssl);
    if (gathered == NULL || BIO_up_ref(socket) != 1)
        return -ENOMEM;
    SSL_set0_wbio(ssl, gathered);
    int error = 0;
    for (size_t left = all_bytes(what); left > 0 && error == 0; left -= FILE_BYTES)
        error = send_file(over, ssl, file);
    SSL_set0_wbio(ssl, socket);
    tls_lane_end(over, ssl);
    return error;
}

static int with_loop(const shape_run *what, double ret_figures[FIGURES])
{
    tls_lane over;
    int file = page_cached_file(FILE_BYTES);
    int error = file < 0 ? file : tls_lane_open(all_bytes(what), &over);
    if (error != 0)
        return error;
    SSL *ssl = tls_lane_accept(&over);
    if (ssl == NULL)
        return tls_lane_close(&over, -EPROTO);
    stopwatch watch = stopwatch_start();
    error = send_by_loop(what, &over, ssl, file);
    int rest = finish(what, &over, &watch, ret_figures);
    return tls_lane_close(&over, error != 0 ? error : rest);
}

/* ---- ferry ----------------------------------------------------------------------------------- */

static int send_by(const shape_run *what, const tls_lane *over, ferry_service *service, int file,
                   double ret_figures[FIGURES])
{
    ferry_stream *stream;
    int error = tls_lane_adopt(over, service, &stream);
    if (error != 0)
        return error;
    stopwatch watch = stopwatch_start();
    error = peer_stream_send_file(stream, file, FILE_BYTES, all_bytes(what));
    (void)ferry_stream_unref(stream); /* the last one: closed */
    int rest = finish(what, over, &watch, ret_figures);
    return error != 0 ? error : rest;
}

static int with_ferry(const shape_run *what, double ret_figures[FIGURES])
{
    const ferry_placement *placement = what->of->detail;
    tls_lane over;
    int file = page_cached_file(FILE_BYTES);
    int error = file < 0 ? file : tls_lane_open(all_bytes(what), &over);
    ferry_service *service;
    if (error == 0)
        error = ferry_service_create(&(ferry_service_options){.placement = *placement}, &service);
    if (error != 0)
        return error;
    return tls_lane_close(&over, send_by(what, &over, service, file, ret_figures));
}

/* ---- the shapes ------------------------------------------------------------------------------ */

static const ferry_placement dedicated = FERRY_PLACEMENT_DEDICATED;
static const ferry_placement shared = FERRY_PLACEMENT_SHARED;

#define BULK(title, text, where)                                                                   \
    {                                                                                              \
        .name = title, .summary = text, .figure_names = {"MiB/s", "CPU us a MiB"},                 \
        .more_is_better = {true, false}, .operations = 1024, .detail = where,                      \
        .ways = {{"pread() and SSL_write()", with_loop}, {"ferry", with_ferry}},                   \
    }

const shape shape_tls_bulk[] = {
    BULK("bulk", "a file of 128 MiB, 8 times", &dedicated),
    BULK("bulk-shared", "a file of 128 MiB, 8 times, a shared owner", &shared),
    {0},
};
