/* SPDX-License-Identifier: MIT */
/* Failures: what OpenSSL says, as a reason, an errno and words. */
#ifndef FERRY_TLS_FAILURE_H
#define FERRY_TLS_FAILURE_H

#include <ferry/tls.h>

#include <openssl/ssl.h>
#include <stdbool.h>

enum { FERRY__NO_ALERT = -1 };

/* What the code that drives a connection knows of a call that has failed. */
typedef struct ferry__tls_signs {
    int io_error;       /* what its fd said; 0: nothing */
    int alert;          /* that the peer has sent; or FERRY__NO_ALERT */
    bool is_cut;        /* the peer has ended */
    bool is_flood;      /* it sends one record after the other, and none has bytes */
    bool is_unknown;    /* it has asked for a name that there is no certificate of */
    bool is_over_bound; /* it has asked for more answers than anybody needs */
} ferry__tls_signs;

/*
 * Says why a call on a connection has failed: the thread that has made it, just after. Clears
 * OpenSSL's queue of errors.
 * @return an errno of <ferry/tls.h>.
 */
int ferry__tls_explain(const SSL *ssl, const ferry__tls_signs *signs, ferry_tls_failure *ret);

/* Sets a failure that OpenSSL knows nothing of. @return error. */
int ferry__tls_fail(ferry_tls_failure *ret, ferry_tls_reason reason, int error, const char *text);

/*
 * Something that was given cannot be used. Clears OpenSSL's queue of errors.
 * @param what is at fault: a path, or words. @param error an errno; 0: OpenSSL's words tell.
 * @param why in words; NULL: those of the errno, or OpenSSL's
 * @return error; or -EKEYREJECTED; or -ENOMEM.
 */
int ferry__tls_refuse(ferry_tls_failure *ret, const char *what, int error, const char *why);

#endif
