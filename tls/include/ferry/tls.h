/* SPDX-License-Identifier: MIT */
/*
 * TLS: streams whose bytes are encrypted. This header is of a library of its own, libferry-tls,
 * which stands beside libferry and uses OpenSSL.
 *
 * Life: a context is made of certificates, keys and trust, for servers or for clients. It stands in
 * the tls of a stream's options (<ferry/stream.h>): of ferry_listen, ferry_connect or
 * ferry_stream_adopt. From then on the stream is as any other: order, cancels, deadlines, outcomes
 * and counts are the same, and bytes are counted as the program gives and gets them.
 *
 * What differs:
 *   - sendfile(2) and splice(2) move no bytes: they are read, encrypted and written
 *     (FERRY_METHOD_COPY).
 *   - Bytes that were encrypted have to leave, or the peer understands nothing more. So a request
 *     that is cancelled midway counts up to 64 KiB that are yet to leave.
 *   - A close, and a shutdown, tell the peer so in TLS (close_notify) before FIN. If a peer ends
 *     without that, reading ends with -ECONNABORTED: the bytes may have been cut off.
 *   - The close of a client waits for the server's end, for five seconds at most, and reads away
 *     what comes. Servers send tickets, which nobody asks for. If they came to a closed socket a
 *     reset would take the last bytes from the server. However that ends, the outcome is 0. With
 *     close_timeout_ms the close is confirmed, as that of any stream is; if the peer ends without
 *     saying so in TLS, its outcome is -ECONNABORTED.
 *   - ferry_stream_detach gives such a stream's connection back to nobody: -EOPNOTSUPP.
 *   - Bytes that are no TLS, or were changed on their way, end reading with -EBADMSG or -EPROTO. So
 *     do new keys, tickets and the like without end, and no byte in between: more than 30 of them.
 *
 * With kernel_encrypts the kernel does what is left once the handshake is over: it encrypts what is
 * sent, so that sendfile(2) moves files straight from the page cache (FERRY_METHOD_SENDFILE). It
 * does so with TLS 1.3 and AES-GCM, over TCP, on a Linux that has kernel TLS (its module loaded, or
 * to be loaded), and else OpenSSL goes on; ferry_tls_info tells. What is received OpenSSL decrypts.
 * What differs then:
 *   - A request that is cancelled midway counts what the kernel has taken, to the byte.
 *   - Keys do not change. Where one would have to, after 2^23 records, some 128 GiB, or as the peer
 *     asks for it, requests fail with -EKEYEXPIRED. A record has the bytes of one call, at most
 *     16 KiB.
 *   - A service that is destroyed does not wait for what the kernel still keeps: where a peer does
 *     not read, it may find the end missing.
 *   - A socket that was adopted stays so: a duplicate of it sends encrypted bytes, too.
 *
 * TLS 1.2 and 1.3, with OpenSSL's defaults and security level 2. No renegotiation, no early data,
 * no compression. Keys change within a connection before they wear out. With TLS 1.2 they cannot:
 * there the stream fails with -EKEYEXPIRED after 2^24 records, some 256 GiB.
 *
 * Outcomes of a handshake, in phase secure; ferry_tls_failure tells more:
 *   -EKEYEXPIRED       the peer's certificate has expired
 *   -EKEYREVOKED       it was revoked
 *   -ENOKEY            nobody who is trusted has signed it; or the peer has none, and needs one
 *   -EKEYREJECTED      it is not valid yet, has another name, is too weak, or is no good otherwise
 *   -EPROTONOSUPPORT   the two have no version, cipher or protocol in common
 *   -EPROTO            the peer does not speak TLS, or breaks its rules
 *   -EACCES            the peer refuses: it has sent an alert
 *   -ECONNABORTED      the peer has ended in the middle of it
 *   -ETIMEDOUT         it took longer than handshake_timeout_ms
 *   -ENOMEM, -ECONNRESET, ...
 */
#ifndef FERRY_TLS_H
#define FERRY_TLS_H

#include <ferry/promise.h>
#include <ferry/stream.h>

FERRY_BEGIN

/* What was wrong. */
typedef enum ferry_tls_reason {
    FERRY_TLS_NOTHING,
    FERRY_TLS_EXPIRED,         /* the peer's certificate, or one that it was signed with */
    FERRY_TLS_NOT_YET_VALID,   /* the same */
    FERRY_TLS_UNKNOWN_ISSUER,  /* nobody who is trusted has signed it, or a link is missing */
    FERRY_TLS_WRONG_NAME,      /* it is for another name or address */
    FERRY_TLS_REVOKED,         /* a list that was given says so, or none was given of its issuer */
    FERRY_TLS_WEAK,            /* its key is too short, or its hash too weak */
    FERRY_TLS_BAD_CERTIFICATE, /* it is no good otherwise: text tells */
    FERRY_TLS_NO_CERTIFICATE,  /* the peer has sent none, and one is required */
    FERRY_TLS_UNKNOWN_NAME,    /* a client asks for a name that no certificate has */
    FERRY_TLS_MISMATCH,        /* no version, cipher or protocol in common */
    FERRY_TLS_NOT_TLS,         /* the peer speaks something else: HTTP without TLS, for example */
    FERRY_TLS_BROKEN,          /* the peer breaks the rules of TLS, or bytes were changed */
    FERRY_TLS_ALERT,           /* the peer refuses: alert tells why */
    FERRY_TLS_CLOSED,          /* the peer has ended in the middle of the handshake */
    FERRY_TLS_LATE,            /* the handshake took too long */
    FERRY_TLS_INPUT,           /* a certificate, key or list that was given cannot be used */
    FERRY_TLS_LOCAL /* this side could not: no memory, a call failed, or it was aborted */
} ferry_tls_reason;

/* What went wrong, for a log or a person. */
typedef struct ferry_tls_failure {
    ferry_tls_reason reason;
    int alert;            /* the number of the alert that the peer has sent; -1: it sent none */
    char text[120];       /* OpenSSL's words, in English, and the file that they are about; "" */
    uint64_t reserved[4]; /* 0 */
} ferry_tls_failure;

/*
 * Gives a reason a sentence that a person can read: "the certificate is for another name".
 *
 * Threads: any. Never blocks, never allocates.
 * @return a static string; "unknown reason" for a number that is none.
 */
FERRY_API const char *ferry_tls_reason_message(ferry_tls_reason reason);

/* A certificate, with its chain and its key, as PEM: in files, or in memory. */
typedef struct ferry_tls_certificate {
    const char *chain_file; /* the certificate, and those that it was signed with, root excepted */
    const char *key_file;   /* not encrypted; NULL: it is in chain_file */
    const void *chain;      /* the same in memory, if chain_file is NULL */
    size_t chain_length;
    const void *key; /* NULL: it is in chain */
    size_t key_length;
    uint64_t reserved[4]; /* 0 */
} ferry_tls_certificate;

/* Who is trusted to sign the peer's certificate. */
typedef struct ferry_tls_trust {
    const char *ca_file; /* certificates as PEM */
    const void *ca;      /* the same in memory */
    size_t ca_length;
    bool system; /* and those that the system trusts */

    /* Lists of revoked certificates, as PEM: one of each authority in a chain, the root included.
     * Where one is missing, or is out of date, the peer is refused. NULL: none are looked at. */
    const char *crl_file;
    uint64_t reserved[4]; /* 0 */
} ferry_tls_trust;

/* Whether clients are to show a certificate. */
typedef enum ferry_tls_client_certificate {
    FERRY_TLS_CLIENT_IS_NOT_ASKED,
    FERRY_TLS_CLIENT_MAY_SHOW, /* it is asked for; if it shows one, that must be good */
    FERRY_TLS_CLIENT_MUST_SHOW
} ferry_tls_client_certificate;

/*
 * Tells of a handshake that has failed. Called on the stream's owner. It must not block, and cannot
 * wait.
 * @param stream valid during the call: its peer can be asked for.
 * @param failure valid during the call.
 */
typedef void ferry_tls_failure_callback(ferry_stream *stream, const ferry_tls_failure *failure,
                                        void *arg);

typedef struct ferry_tls_server_options {
    /*
     * One or more. A client that asks for a name gets the first one that has it. One that asks for
     * no name, or for another, gets the first.
     */
    const ferry_tls_certificate *certificates;
    size_t certificate_count;

    bool refuses_unknown_names; /* a client that asks for another name gets an alert instead */

    /* Client certificates. trust says who may have signed them. */
    ferry_tls_client_certificate client_certificate;
    ferry_tls_trust trust;

    /*
     * The protocols that it speaks inside TLS, the best first (ALPN): "http/1.1". If a client names
     * some, and none of these, it gets an alert. NULL: it does not say.
     */
    const char *const *protocols;
    size_t protocol_count;

    /*
     * What a client gets that speaks HTTP without TLS: a whole answer, as it stands. NULL: nothing
     * but the end.
     */
    const void *answer_to_http;
    size_t answer_to_http_length;

    ferry_tls_failure_callback *on_failure; /* or NULL */
    void *on_failure_arg;
    ferry_release *on_failure_release; /* of on_failure_arg, with the context; or NULL */

    /*
     * Each connection's secrets are appended to this file, so that a debugger can read along
     * (SSLKEYLOGFILE). Whoever has the file can read all. NULL: they are not.
     */
    const char *unsafe_key_log_file;

    /* Has the kernel encrypt what is sent, where it can: see above. */
    bool kernel_encrypts;
    uint64_t reserved[7]; /* 0 */
} ferry_tls_server_options;

typedef struct ferry_tls_client_options {
    ferry_tls_trust trust; /* all of it 0: those that the system trusts */

    /* What it shows to a server that asks. NULL: nothing. */
    const ferry_tls_certificate *certificate;

    /* The protocols that it speaks, the best first (ALPN). NULL: it does not say. */
    const char *const *protocols;
    size_t protocol_count;

    ferry_tls_failure_callback *on_failure; /* or NULL */
    void *on_failure_arg;
    ferry_release *on_failure_release; /* of on_failure_arg, with the context; or NULL */

    bool unsafe_any_certificate;     /* the server may be anybody: nothing of it is checked */
    bool unsafe_any_name;            /* its certificate may have any name */
    const char *unsafe_key_log_file; /* as for servers */
    bool kernel_encrypts;            /* as for servers */
    uint64_t reserved[7];            /* 0 */
} ferry_tls_client_options;

/*
 * Makes a context for streams that are servers. One context serves any number of listeners, and of
 * threads. Clients resume their sessions with tickets, whose keys change every two hours.
 *
 * Threads: any. Blocks while it reads files. Borrows: options and all they point to, during this
 * call. Gives: a reference to a context.
 * @param ret_failure gets what was wrong with -EINVAL, -EKEYREJECTED and the errnos of files. May
 *        be NULL.
 * @return 0;
 *         -EINVAL: an argument is NULL, there is no certificate, or another option is out of its
 *         range.
 *         -E2BIG: a struct has a field set that this library does not know.
 *         -EKEYREJECTED: a certificate, key or list is none, is too weak, or does not fit.
 *         -ENOENT, -EACCES, ...: a file cannot be read.
 *         -ELIBBAD: libferry is of another version.
 *         -ENOMEM.
 * Source: RFC 8446, RFC 5246, RFC 7301 (ALPN), RFC 5077 (tickets), SSL_CTX_new(3).
 */
FERRY_API int ferry_tls_server_create(const ferry_tls_server_options *options,
                                      ferry_tls_failure *ret_failure,
                                      ferry_tls_context **ret_context);

/*
 * Makes a context for streams that are clients. The server's certificate must be signed by somebody
 * who is trusted, and have the name that is connected to. Sessions are kept for each name, and
 * resumed: 64 names at most.
 *
 * Threads, arguments and errnos are those of ferry_tls_server_create.
 * @param options NULL: all defaults.
 */
FERRY_API int ferry_tls_client_create(const ferry_tls_client_options *options,
                                      ferry_tls_failure *ret_failure,
                                      ferry_tls_context **ret_context);

/*
 * Reads the context's files again: certificates, keys, who is trusted, what was revoked. Handshakes
 * that begin from now on use them. Streams that are there go on as they are. If anything is wrong,
 * all stays as it was.
 *
 * Threads: any, also while others make streams. Blocks while it reads files.
 * @param ret_failure as for ferry_tls_server_create.
 * @return 0; the errnos of ferry_tls_server_create;
 *         -EOPNOTSUPP: something was given in memory, which is not kept.
 */
FERRY_API int ferry_tls_context_reload(ferry_tls_context *context, ferry_tls_failure *ret_failure);

/* Takes one more reference. Threads: any that holds one. @return context; NULL for NULL. */
FERRY_API ferry_tls_context *ferry_tls_context_ref(ferry_tls_context *context);

/*
 * Gives one reference back. Streams, listeners and connects have references of their own. Keys are
 * wiped when the last one is gone. Threads: any.
 * @return NULL, so that c = ferry_tls_context_unref(c) forgets it.
 */
FERRY_API ferry_tls_context *ferry_tls_context_unref(ferry_tls_context *context);

/* What two ends have agreed on. */
typedef struct ferry_tls_info {
    const char *version;     /* "TLSv1.3" */
    const char *cipher;      /* "TLS_AES_256_GCM_SHA384" */
    const char *protocol;    /* what both speak inside (ALPN); NULL: nothing was agreed on */
    const char *name;        /* what the client has asked for; NULL: nothing */
    const char *subject;     /* of the peer's certificate: "CN = example.org"; NULL: it has shown
                                none */
    const void *certificate; /* the peer's, as DER; or NULL */
    size_t certificate_length;
    bool is_resumed;      /* the session is one of before: no certificate was sent anew */
    bool kernel_encrypts; /* what this side sends */
    uint64_t reserved[4]; /* 0 */
} ferry_tls_info;

/*
 * Tells what a stream's handshake has come to.
 *
 * Threads: any that holds a reference to the stream. Never blocks.
 * Borrows: what ret_info points to stays valid as long as the caller keeps its reference.
 * @return 0;
 *         -EINVAL: an argument is NULL.
 *         -ENODATA: the stream's bytes are not encrypted.
 *         -EAGAIN: the handshake is not over.
 *         -EPROTO: it has failed; ferry_tls_get_failure tells why.
 */
FERRY_API int ferry_tls_get_info(ferry_stream *stream, ferry_tls_info *ret_info);

/*
 * Tells why a stream's handshake has failed, or why its bytes cannot be read any more.
 *
 * Threads: any that holds a reference to the stream. Never blocks.
 * @return 0;
 *         -EINVAL: an argument is NULL.
 *         -ENODATA: nothing has failed, or the stream's bytes are not encrypted.
 */
FERRY_API int ferry_tls_get_failure(ferry_stream *stream, ferry_tls_failure *ret_failure);

/*
 * Tells why a connect has failed in phase secure.
 *
 * Threads: any that holds a reference to the promise. Never blocks.
 * @param promise of ferry_connect.
 * @return 0;
 *         -EINVAL: an argument is NULL, or it is another promise.
 *         -EBUSY: it has not settled.
 *         -ENODATA: it has not failed in its handshake.
 */
FERRY_API int ferry_tls_get_connect_failure(ferry_promise *promise, ferry_tls_failure *ret_failure);

FERRY_END

#endif
