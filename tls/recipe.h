/* SPDX-License-Identifier: MIT */
/*
 * A recipe: what a program gave to make a context of, kept so that it can be made anew. All that it
 * points to is its own, but for what was given in memory: that is the program's, is used once, and
 * is forgotten, lest keys lie about.
 */
#ifndef FERRY_TLS_RECIPE_H
#define FERRY_TLS_RECIPE_H

#include <ferry/tls.h>

typedef struct ferry__recipe {
    ferry_tls_certificate *certificates;
    size_t certificate_count;
    ferry_tls_trust trust;
    int verify_mode; /* OpenSSL's */
    bool refuses_unknown_names;
    bool any_name;            /* a client's: the server may have any */
    unsigned char *protocols; /* each with its length before it; NULL: none */
    unsigned protocols_length;
    char *answer_to_http; /* or NULL */
    size_t answer_to_http_length;
    int key_log_fd;            /* -1: none */
    bool kernel_encrypts;      /* where it can */
    bool uses_memory;          /* something was given in memory */
    struct ferry__text *texts; /* its copies */
} ferry__recipe;

/* @param self zeroed. */
void ferry__recipe_init(ferry__recipe *self);
void ferry__recipe_deinit(ferry__recipe *self);

/* @return 0, -EINVAL, -E2BIG. */
int ferry__recipe_check_server(const ferry_tls_server_options *options);
int ferry__recipe_check_client(const ferry_tls_client_options *options);

/* Takes options that were checked. @return 0; or an errno of ferry_tls_server_create, and then it
 * is still to be deinitialised. */
int ferry__recipe_take_server(ferry__recipe *self, const ferry_tls_server_options *options,
                              ferry_tls_failure *ret_failure);
int ferry__recipe_take_client(ferry__recipe *self, const ferry_tls_client_options *options,
                              ferry_tls_failure *ret_failure);

/* What is in memory was used. */
void ferry__recipe_forget_memory(ferry__recipe *self);

#endif
