/* SPDX-License-Identifier: MIT */
#include "tls/credentials.h"

#include "tls/failure.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>

/* Something to be read: a file, or memory. */
typedef struct input {
    const char *file; /* or NULL */
    const void *data;
    size_t length;
} input;

static const char *name_of(const input *given)
{
    return given->file != NULL ? given->file : "what was given in memory";
}

static int refuse(const input *given, int error, const char *why, ferry_tls_failure *ret_failure)
{
    return ferry__tls_refuse(ret_failure, name_of(given), error, why);
}

/* @return 0; -EINVAL: nothing was given; or another errno. */
static int open_input(const input *given, BIO **ret_bio, ferry_tls_failure *ret_failure)
{
    ERR_clear_error();
    if (given->file == NULL) {
        if (given->data == NULL || given->length > INT_MAX)
            return refuse(given, -EINVAL, NULL, ret_failure);
        *ret_bio = BIO_new_mem_buf(given->data, (int)given->length);
        return *ret_bio != NULL ? 0 : refuse(given, -ENOMEM, NULL, ret_failure);
    }
    FILE *file = fopen(given->file, "re");
    if (file == NULL)
        return refuse(given, -errno, NULL, ret_failure);
    *ret_bio = BIO_new_fp(file, BIO_CLOSE);
    if (*ret_bio != NULL)
        return 0;
    (void)fclose(file);
    return refuse(given, -ENOMEM, NULL, ret_failure);
}

/* Nobody is to be asked for a password: a service has no terminal. */
static int have_no_password(char *buffer, int size, int for_writing, void *arg)
{
    (void)buffer, (void)size, (void)for_writing, (void)arg;
    return -1;
}

/* Adds all certificates that follow to the chain. @return whether they could be added. */
static bool add_chain(SSL_CTX *context, BIO *bio)
{
    X509 *next;
    while ((next = PEM_read_bio_X509(bio, NULL, have_no_password, NULL)) != NULL) {
        if (SSL_CTX_add0_chain_cert(context, next) != 1) {
            X509_free(next);
            return false;
        }
    }
    unsigned long code = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (is_end)
        ERR_clear_error();
    return is_end;
}

/* Takes what an input has in it. @return whether it could; else OpenSSL says why. */
typedef bool take(SSL_CTX *context, BIO *bio);

/* Whether OpenSSL has found nothing that it could read, and says so in words that do not help. */
static bool has_found_nothing(void)
{
    unsigned long code = ERR_peek_error();
    int library = ERR_GET_LIB(code), reason = ERR_GET_REASON(code);
    return code == 0 || reason == ERR_R_INTERRUPTED_OR_CANCELLED ||
           ((library == ERR_LIB_PEM || library == ERR_LIB_OSSL_DECODER) &&
            reason != ERR_R_MALLOC_FAILURE);
}

/* @param missing what is said if it is not there. */
static int use(SSL_CTX *context, const input *given, take *how, const char *missing,
               ferry_tls_failure *ret_failure)
{
    BIO *bio;
    int error = open_input(given, &bio, ret_failure);
    if (error != 0)
        return error;
    bool is_used = how(context, bio);
    BIO_free(bio);
    return is_used ? 0 : refuse(given, 0, has_found_nothing() ? missing : NULL, ret_failure);
}

static bool take_chain(SSL_CTX *context, BIO *bio)
{
    X509 *own = PEM_read_bio_X509_AUX(bio, NULL, have_no_password, NULL);
    bool is_used = own != NULL && SSL_CTX_use_certificate(context, own) == 1 &&
                   SSL_CTX_clear_chain_certs(context) == 1 && add_chain(context, bio);
    X509_free(own);
    return is_used;
}

static bool take_key(SSL_CTX *context, BIO *bio)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, have_no_password, NULL);
    bool is_used = key != NULL && SSL_CTX_use_PrivateKey(context, key) == 1 &&
                   SSL_CTX_check_private_key(context) == 1;
    EVP_PKEY_free(key);
    return is_used;
}

int ferry__tls_use_certificate(SSL_CTX *context, const ferry_tls_certificate *given,
                               ferry_tls_failure *ret_failure)
{
    const input chain = {given->chain_file, given->chain, given->chain_length};
    const input apart = {given->key_file, given->key, given->key_length};
    bool has_key = given->key_file != NULL || given->key != NULL;
    int error = use(context, &chain, take_chain, "no certificate is in it, as PEM", ret_failure);
    return error != 0 ? error
                      : use(context, has_key ? &apart : &chain, take_key,
                            "no private key is in it, as PEM, or it is encrypted", ret_failure);
}

/* Adds certificates, lists or both to what is trusted. */
static bool add_trust(SSL_CTX *context, const X509_INFO *info)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    if (info->x509 != NULL && (X509_STORE_add_cert(store, info->x509) != 1 ||
                               SSL_CTX_add_client_CA(context, info->x509) != 1))
        return false;
    return info->crl == NULL || X509_STORE_add_crl(store, info->crl) == 1;
}

static bool take_trust(SSL_CTX *context, BIO *bio)
{
    STACK_OF(X509_INFO) *all = PEM_X509_INFO_read_bio(bio, NULL, have_no_password, NULL);
    int count = all != NULL ? sk_X509_INFO_num(all) : 0;
    bool is_used = true, has_any = false;
    for (int i = 0; i < count && is_used; i++) {
        const X509_INFO *info = sk_X509_INFO_value(all, i); /* or a key, which is not looked at */
        has_any |= info->x509 != NULL || info->crl != NULL;
        is_used = add_trust(context, info);
    }
    sk_X509_INFO_pop_free(all, X509_INFO_free);
    return is_used && has_any;
}

static int use_lists(SSL_CTX *context, const char *file, ferry_tls_failure *ret_failure)
{
    static const char missing[] = "no list is in it, as PEM";
    const input given = {.file = file};
    int error = use(context, &given, take_trust, missing, ret_failure);
    if (error == 0)
        (void)X509_STORE_set_flags(SSL_CTX_get_cert_store(context),
                                   X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    return error;
}

int ferry__tls_use_trust(SSL_CTX *context, const ferry_tls_trust *given,
                         ferry_tls_failure *ret_failure)
{
    static const char missing[] = "no certificate is in it, as PEM";
    const input file = {.file = given->ca_file};
    const input memory = {.data = given->ca, .length = given->ca_length};
    int error = 0;
    if (given->ca_file != NULL)
        error = use(context, &file, take_trust, missing, ret_failure);
    if (error == 0 && given->ca != NULL)
        error = use(context, &memory, take_trust, missing, ret_failure);
    if (error == 0 && given->crl_file != NULL)
        error = use_lists(context, given->crl_file, ret_failure);
    if (error == 0 && given->system && SSL_CTX_set_default_verify_paths(context) != 1)
        error = ferry__tls_refuse(ret_failure, "the system's certificates", 0, NULL);
    return error;
}
