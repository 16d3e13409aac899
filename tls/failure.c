/* SPDX-License-Identifier: MIT */
#include "tls/failure.h"

#include <ferry/error.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

/* What a number of OpenSSL's is to ferry. */
typedef struct meaning {
    int number;
    ferry_tls_reason reason;
    int error;
} meaning;

static const meaning of_certificates[] = {
    {X509_V_ERR_CERT_HAS_EXPIRED, FERRY_TLS_EXPIRED, -EKEYEXPIRED},
    {X509_V_ERR_CERT_NOT_YET_VALID, FERRY_TLS_NOT_YET_VALID, -EKEYREJECTED},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, FERRY_TLS_UNKNOWN_ISSUER, -ENOKEY},
    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, FERRY_TLS_UNKNOWN_ISSUER, -ENOKEY},
    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, FERRY_TLS_UNKNOWN_ISSUER, -ENOKEY},
    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, FERRY_TLS_UNKNOWN_ISSUER, -ENOKEY},
    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, FERRY_TLS_UNKNOWN_ISSUER, -ENOKEY},
    {X509_V_ERR_CERT_UNTRUSTED, FERRY_TLS_UNKNOWN_ISSUER, -ENOKEY},
    {X509_V_ERR_HOSTNAME_MISMATCH, FERRY_TLS_WRONG_NAME, -EKEYREJECTED},
    {X509_V_ERR_IP_ADDRESS_MISMATCH, FERRY_TLS_WRONG_NAME, -EKEYREJECTED},
    {X509_V_ERR_CERT_REVOKED, FERRY_TLS_REVOKED, -EKEYREVOKED},
    {X509_V_ERR_UNABLE_TO_GET_CRL, FERRY_TLS_REVOKED, -EKEYREVOKED},
    {X509_V_ERR_CRL_HAS_EXPIRED, FERRY_TLS_REVOKED, -EKEYREVOKED},
    {X509_V_ERR_EE_KEY_TOO_SMALL, FERRY_TLS_WEAK, -EKEYREJECTED},
    {X509_V_ERR_CA_KEY_TOO_SMALL, FERRY_TLS_WEAK, -EKEYREJECTED},
    {X509_V_ERR_CA_MD_TOO_WEAK, FERRY_TLS_WEAK, -EKEYREJECTED},
    {X509_V_ERR_OUT_OF_MEM, FERRY_TLS_LOCAL, -ENOMEM},
};

static const meaning of_alerts[] = {
    {SSL_AD_PROTOCOL_VERSION, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_AD_HANDSHAKE_FAILURE, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_AD_INSUFFICIENT_SECURITY, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_AD_NO_APPLICATION_PROTOCOL, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
};

static const meaning of_reasons[] = {
    {SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, FERRY_TLS_NO_CERTIFICATE, -ENOKEY},
    {SSL_R_HTTP_REQUEST, FERRY_TLS_NOT_TLS, -EPROTO},
    {SSL_R_HTTPS_PROXY_REQUEST, FERRY_TLS_NOT_TLS, -EPROTO},
    {SSL_R_WRONG_VERSION_NUMBER, FERRY_TLS_NOT_TLS, -EPROTO},
    {SSL_R_UNKNOWN_PROTOCOL, FERRY_TLS_NOT_TLS, -EPROTO},
    {SSL_R_UNSUPPORTED_PROTOCOL, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_VERSION_TOO_LOW, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_NO_SHARED_CIPHER, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_NO_PROTOCOLS_AVAILABLE, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_NO_APPLICATION_PROTOCOL, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_NO_SUITABLE_GROUPS, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_NO_SUITABLE_KEY_SHARE, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, FERRY_TLS_MISMATCH, -EPROTONOSUPPORT},
    {SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, FERRY_TLS_BROKEN, -EBADMSG},
    {SSL_R_DH_KEY_TOO_SMALL, FERRY_TLS_WEAK, -EKEYREJECTED},
    {ERR_R_MALLOC_FAILURE, FERRY_TLS_LOCAL, -ENOMEM},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

const char *ferry_tls_reason_message(ferry_tls_reason reason)
{
    static const char *const messages[] = {
        [FERRY_TLS_NOTHING] = "nothing is wrong",
        [FERRY_TLS_EXPIRED] = "a certificate has expired",
        [FERRY_TLS_NOT_YET_VALID] = "a certificate is not valid yet",
        [FERRY_TLS_UNKNOWN_ISSUER] = "nobody who is trusted has signed the certificate",
        [FERRY_TLS_WRONG_NAME] = "the certificate is for another name",
        [FERRY_TLS_REVOKED] = "a certificate was revoked, or it is unknown whether it was",
        [FERRY_TLS_WEAK] = "a key or a hash is too weak",
        [FERRY_TLS_BAD_CERTIFICATE] = "a certificate is no good",
        [FERRY_TLS_NO_CERTIFICATE] = "the peer has shown no certificate",
        [FERRY_TLS_UNKNOWN_NAME] = "the peer has asked for an unknown name",
        [FERRY_TLS_MISMATCH] = "the two have no version, cipher or protocol in common",
        [FERRY_TLS_NOT_TLS] = "the peer does not speak TLS",
        [FERRY_TLS_BROKEN] = "the peer has broken the rules of TLS",
        [FERRY_TLS_ALERT] = "the peer has refused",
        [FERRY_TLS_CLOSED] = "the peer has ended in the handshake",
        [FERRY_TLS_LATE] = "the handshake took too long; perhaps the peer does not speak TLS",
        [FERRY_TLS_INPUT] = "what was given cannot be used",
        [FERRY_TLS_LOCAL] = "this side could not go on",
    };
    return (size_t)reason < COUNT(messages) ? messages[reason] : "unknown reason";
}

static meaning find(const meaning known[], size_t count, int number, meaning otherwise)
{
    for (size_t i = 0; i < count; i++) {
        if (known[i].number == number)
            return known[i];
    }
    return otherwise;
}

int ferry__tls_fail(ferry_tls_failure *ret, ferry_tls_reason reason, int error, const char *text)
{
    if (ret == NULL)
        return error;
    *ret = (ferry_tls_failure){.reason = reason, .alert = FERRY__NO_ALERT};
    (void)snprintf(ret->text, sizeof ret->text, "%s", text != NULL ? text : "");
    return error;
}

/* What OpenSSL's queue of errors is about: the first of them. */
static int explain_queue(const SSL *ssl, unsigned long code, ferry_tls_failure *ret)
{
    int reason = ERR_GET_REASON(code);
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        long verdict = SSL_get_verify_result(ssl);
        const meaning otherwise = {0, FERRY_TLS_BAD_CERTIFICATE, -EKEYREJECTED};
        meaning found = find(of_certificates, COUNT(of_certificates), (int)verdict, otherwise);
        return ferry__tls_fail(ret, found.reason, found.error,
                               X509_verify_cert_error_string(verdict));
    }
    const meaning otherwise = {0, FERRY_TLS_BROKEN, -EPROTO};
    meaning found = otherwise;
    if (ERR_GET_LIB(code) == ERR_LIB_SSL || reason == ERR_R_MALLOC_FAILURE)
        found = find(of_reasons, COUNT(of_reasons), reason, otherwise);
    return ferry__tls_fail(ret, found.reason, found.error, ERR_reason_error_string(code));
}

/* OpenSSL 3.0 does not know the words of those that TLS 1.3 has brought. */
static const char *words_of_alert(int alert)
{
    switch (alert) {
    case SSL_AD_MISSING_EXTENSION:
        return "missing extension";
    case SSL_AD_CERTIFICATE_REQUIRED:
        return "certificate required";
    default:
        return SSL_alert_desc_string_long(alert);
    }
}

static int explain_alert(int alert, ferry_tls_failure *ret)
{
    const meaning otherwise = {0, FERRY_TLS_ALERT, -EACCES};
    meaning found = find(of_alerts, COUNT(of_alerts), alert, otherwise);
    int error = ferry__tls_fail(ret, found.reason, found.error, words_of_alert(alert));
    ret->alert = alert;
    return error;
}

static int explain(const SSL *ssl, const ferry__tls_signs *signs, ferry_tls_failure *ret)
{
    if (signs->alert != FERRY__NO_ALERT)
        return explain_alert(signs->alert, ret);
    if (signs->io_error != 0)
        return ferry__tls_fail(ret, FERRY_TLS_LOCAL, signs->io_error,
                               ferry_error_message(signs->io_error));
    if (signs->is_unknown)
        return ferry__tls_fail(ret, FERRY_TLS_UNKNOWN_NAME, -EPROTONOSUPPORT,
                               "no certificate has the name that was asked for");
    if (signs->is_flood)
        return ferry__tls_fail(ret, FERRY_TLS_BROKEN, -EPROTO, "too many messages without bytes");
    if (signs->is_over_bound)
        return ferry__tls_fail(ret, FERRY_TLS_BROKEN, -EPROTO, "too many messages to answer");
    unsigned long code = ERR_peek_error();
    if (code != 0 && !signs->is_cut)
        return explain_queue(ssl, code, ret);
    if (signs->is_cut)
        return ferry__tls_fail(ret, FERRY_TLS_CLOSED, -ECONNABORTED, "the peer has ended");
    return ferry__tls_fail(ret, FERRY_TLS_BROKEN, -EPROTO, "");
}

int ferry__tls_explain(const SSL *ssl, const ferry__tls_signs *signs, ferry_tls_failure *ret)
{
    int error = explain(ssl, signs, ret);
    ERR_clear_error();
    return error;
}

int ferry__tls_refuse(ferry_tls_failure *ret, const char *what, int error, const char *why)
{
    unsigned long code = ERR_peek_error();
    const char *words = why;
    if (words == NULL)
        words = error != 0 ? ferry_error_message(error) : ERR_reason_error_string(code);
    if (error == 0)
        error = ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? -ENOMEM : -EKEYREJECTED;
    (void)ferry__tls_fail(ret, error == -ENOMEM ? FERRY_TLS_LOCAL : FERRY_TLS_INPUT, error, NULL);
    if (ret != NULL)
        (void)snprintf(ret->text, sizeof ret->text, "%s: %s", what,
                       words != NULL ? words : "is of no use");
    ERR_clear_error();
    return error;
}
