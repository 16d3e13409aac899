/* SPDX-License-Identifier: MIT */
#include "tests/tls_support.h"

#include "tests/harness.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#ifdef FERRY_THREAD_SANITIZER
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);

/* OpenSSL is not built with it, so its counts of references are not seen: whoever frees a session
 * would race with all who have read it. */
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libssl.so.3\ncalled_from_lib:libcrypto.so.3\n";
}
#endif

static EVP_PKEY *make_key(int rsa_bits)
{
    return rsa_bits > 0 ? EVP_RSA_gen((size_t)rsa_bits) : EVP_EC_gen("P-256");
}

static void add_extension(X509 *certificate, X509 *issuer, int which, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, which, value);
    check(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static void set_serial(X509 *certificate)
{
    uint64_t serial;
    check(RAND_bytes((unsigned char *)&serial, sizeof serial) == 1);
    check(ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1) == 1);
}

static void set_times(X509 *certificate, const identity_wish *wish)
{
    bool is_usual = wish->begins_in == 0 && wish->ends_in == 0;
    check(X509_time_adj_ex(X509_getm_notBefore(certificate), is_usual ? -1 : wish->begins_in, 0,
                           NULL) != NULL);
    check(X509_time_adj_ex(X509_getm_notAfter(certificate), is_usual ? 30 : wish->ends_in, 0,
                           NULL) != NULL);
}

static X509 *make_certificate(const identity_wish *wish, EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    X509 *issuer = wish->issuer != NULL ? wish->issuer->certificate : certificate;
    check(X509_set_version(certificate, X509_VERSION_3) == 1);
    set_serial(certificate);
    set_times(certificate, wish);
    X509_NAME *name = X509_get_subject_name(certificate);
    int size = (int)strnlen(wish->name, ub_common_name);
    check(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)wish->name,
                                     size, -1, 0) == 1);
    check(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1);
    check(X509_set_pubkey(certificate, key) == 1);
    add_extension(certificate, issuer, NID_subject_key_identifier, "hash");
    if (wish->is_authority)
        add_extension(certificate, issuer, NID_basic_constraints, "critical,CA:TRUE");
    else
        add_extension(certificate, issuer, NID_subject_alt_name, wish->name);
    EVP_PKEY *signer = wish->issuer != NULL ? wish->issuer->secret : key;
    check(X509_sign(certificate, signer, wish->digest != NULL ? wish->digest : EVP_sha256()) > 0);
    return certificate;
}

static char *text_of(BIO *bio, const char *behind)
{
    char *data;
    long size = BIO_get_mem_data(bio, &data);
    char *text;
    check(asprintf(&text, "%.*s%s", (int)size, data, behind) >= 0);
    BIO_free(bio);
    return text;
}

/* Whether it stands in others' chains: a root does not. */
static bool is_between(const identity *issuer)
{
    return issuer != NULL && X509_NAME_cmp(X509_get_subject_name(issuer->certificate),
                                           X509_get_issuer_name(issuer->certificate)) != 0;
}

identity identity_make(identity_wish wish)
{
    identity self = {.secret = make_key(wish.rsa_bits)};
    check(self.secret != NULL);
    self.certificate = make_certificate(&wish, self.secret);
    BIO *chain = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
    check(PEM_write_bio_X509(chain, self.certificate) == 1);
    check(PEM_write_bio_PrivateKey(key, self.secret, NULL, NULL, 0, NULL, NULL) == 1);
    bool has_chain = is_between(wish.issuer) && !wish.leaves_chain_out;
    self.chain = text_of(chain, has_chain ? wish.issuer->chain : "");
    self.key = text_of(key, "");
    return self;
}

identity authority_make(const char *name, const identity *issuer)
{
    return identity_make((identity_wish){.name = name, .is_authority = true, .issuer = issuer});
}

identity identity_of(const char *name, const identity *issuer)
{
    return identity_make((identity_wish){.name = name, .issuer = issuer});
}

ferry_tls_trust trust_in(const identity *authority)
{
    return (ferry_tls_trust){.ca = authority->chain, .ca_length = strlen(authority->chain)};
}

void identity_free(identity *self)
{
    X509_free(self->certificate);
    EVP_PKEY_free(self->secret);
    free(self->chain);
    free(self->key);
}

ferry_tls_certificate identity_certificate(const identity *self)
{
    return (ferry_tls_certificate){.chain = self->chain,
                                   .chain_length = strlen(self->chain),
                                   .key = self->key,
                                   .key_length = strlen(self->key)};
}

void identity_add_list(const char *path, const identity *authority, const identity *revoked)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *later = X509_gmtime_adj(NULL, 3600);
    check(X509_CRL_set_version(list, X509_CRL_VERSION_2) == 1);
    check(X509_CRL_set_issuer_name(list, X509_get_subject_name(authority->certificate)) == 1);
    check(X509_CRL_set1_lastUpdate(list, now) == 1 && X509_CRL_set1_nextUpdate(list, later) == 1);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        check(X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate)) ==
              1);
        check(X509_REVOKED_set_revocationDate(entry, now) == 1);
        check(X509_CRL_add0_revoked(list, entry) == 1);
    }
    check(X509_CRL_sign(list, authority->secret, EVP_sha256()) > 0);
    FILE *file = fopen(path, "a");
    check(file != NULL && PEM_write_X509_CRL(file, list) == 1 && fclose(file) == 0);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_CRL_free(list);
}
