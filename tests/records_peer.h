/* SPDX-License-Identifier: MIT */
#ifndef FERRY_TESTS_RECORDS_PEER_H
#define FERRY_TESTS_RECORDS_PEER_H

#include <ferry/ferry.h>
#include <sys/types.h>

/* A test has made two connected sockets, which are to speak as links of the other kind do. */
#ifdef FERRY_OVER_RECORDS
void records_add_peers(int one, int other);
#else
static inline void records_add_peers(int one, int other)
{
    (void)one, (void)other;
}
#endif

/* As those of libc's, and ferry's. */
int records_adopt(ferry_service *service, int fd, const ferry_stream_options *options,
                  ferry_stream **ret_stream);
ssize_t records_recv(int fd, void *data, size_t size, int flags);
ssize_t records_read(int fd, void *data, size_t size);
ssize_t records_send(int fd, const void *data, size_t size, int flags);
ssize_t records_write(int fd, const void *data, size_t size);
int records_shutdown(int fd, int how);
int records_close(int fd);

#endif
