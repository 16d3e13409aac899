/* SPDX-License-Identifier: MIT */
/*
 * The products: the servers that are compared, each with what makes it serve files as fast as it
 * can: as many workers as processors, sendfile, full segments, no access log, connections that
 * stay for as long as the client likes, and open files kept at hand where the server knows how.
 *
 * To add one: a line in products.c.
 */
#ifndef BENCHMARK_PRODUCTS_H
#define BENCHMARK_PRODUCTS_H

#include <limits.h>
#include <stdbool.h>

enum {
    PRODUCTS = 5,
    MOST_ARGUMENTS = 6,
    MOST_BYTES = 1 << 30,   /* of a file; they are all in memory, too */
    MOST_CONNECTIONS = 4000 /* what the products are told to be ready for, a little rounded */
};

/*
 * What a server is to know; in the texts of a product @directory, @port and @workers. A line that
 * begins with @root counts only for root, and tells a server to stay root: it could not read a
 * temporary directory of root's otherwise.
 */
typedef struct site {
    const char *directory; /* has what is to be served in files/; else the server's to use */
    unsigned port;         /* on 127.0.0.1 */
    unsigned workers;      /* processes or threads */
} site;

typedef struct product {
    const char *name;
    const char *program;                   /* in PATH; with a slash: beside the benchmark */
    const char *arguments[MOST_ARGUMENTS]; /* the rest is NULL */
    const char *config;                    /* of the file @directory/config; NULL: it has none */
} product;

extern const product products[PRODUCTS];

/* Looks for a program. @param name as product.program. @return whether it is there. */
bool product_find(const char *name, char ret_path[PATH_MAX]);

/* Writes the product's configuration. @return 0 or a negative errno. */
int product_configure(const product *what, const site *where);

/* Replaces the calling process by the product's program. */
_Noreturn void product_become(const product *what, const char *path, const site *where);

#endif
