/* SPDX-License-Identifier: MIT */
/*
 * The servers that are compared, each with what makes it serve files as fast as it
 * can: as many workers as processors, sendfile, full segments, no access log, connections that
 * stay for as long as the client likes, and open files kept at hand where the server knows how.
 *
 * To add one: a line in http_servers.c.
 */
#ifndef BENCHMARK_HTTP_SERVERS_H
#define BENCHMARK_HTTP_SERVERS_H

#include <limits.h>
#include <stdbool.h>

enum {
    HTTP_SERVERS = 5,
    MOST_ARGUMENTS = 9,
    MOST_LOGGED = 2,
    MOST_SECURE = 4,
    MOST_BYTES = 1 << 30,    /* of a file; they are all in memory, too */
    MOST_CONNECTIONS = 4000, /* what the servers are told to be ready for, a little rounded */
    FDS_FOR_LARGE = 131072   /* what lighttpd is told that it may open, for a site of many files */
};

/*
 * What a server is to know; in the texts of one @directory, @port and @workers. A line that
 * begins with @root counts only for root, and tells a server to stay root: it could not read a
 * temporary directory of root's otherwise. One that begins with @logged or @unlogged counts with a
 * log or without one, one with @large or @small for a site of many files or of few, one with
 * @secure or @plain for TLS or without it. @reuseport and @ssl are words of nginx's, for short
 * connections, where each worker listens by itself, and for TLS.
 */
typedef struct site {
    const char *directory; /* has what is to be served in files/; else the server's to use */
    unsigned port;         /* on 127.0.0.1; all but microhttpd listen at @directory/socket, too */
    unsigned workers;      /* processes or threads */
    bool is_logged;        /* each answer is, to @directory/access.log */
    bool is_short;         /* clients close their connections */
    bool is_large;         /* it has more files than a server may open */
    bool is_secure; /* it speaks TLS, with @directory/cert.pem and key.pem; not at the socket */
} site;

typedef struct http_server {
    const char *name;
    const char *program;                   /* in PATH; with a slash: beside the benchmark */
    const char *arguments[MOST_ARGUMENTS]; /* the rest is NULL */
    const char *logged[MOST_LOGGED];       /* more arguments, where there is a log */
    const char *secure[MOST_SECURE];       /* and for TLS: about the last address */
    const char *config;                    /* of the file @directory/config; NULL: it has none */
} http_server;

extern const http_server http_servers[HTTP_SERVERS];

/* Looks for a program. @param name as http_server.program. @return whether it is there. */
bool http_server_find(const char *name, char ret_path[PATH_MAX]);

/* Writes its configuration. @return 0 or a negative errno. */
int http_server_configure(const http_server *what, const site *where);

/* Replaces the calling process by its program. */
_Noreturn void http_server_become(const http_server *what, const char *path, const site *where);

#endif
