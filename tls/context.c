/* SPDX-License-Identifier: MIT */
/*
 * Contexts: what servers, or clients, have in common. What a program gave is kept as a recipe
 * (recipe.h), from which OpenSSL's contexts are made: one for each certificate. A reload makes new
 * ones, and lets the next connections have them. Connections that are there keep the ones that they
 * began with.
 */
#include "core/hooks.h"
#include "tls/credentials.h"
#include "tls/failure.h"
#include "tls/link.h"
#include "tls/recipe.h"
#include "tls/sessions.h"
#include "tls/tickets.h"
#include "transport/edge/secure.h"

#include <ferry/error.h>
#include <ferry/tls.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { SECURITY_LEVEL = 2, READ_BUFFER = 64 * 1024 };

struct ferry_tls_context {
    ferry__secure_context secure; /* first */
    atomic_uint refs;

    /* Constant. */
    ferry__recipe recipe;
    ferry_tls_failure_callback *on_failure;
    void *on_failure_arg;
    ferry_release *on_failure_release;

    /* Any thread. */
    pthread_mutex_t mutex;     /* of current */
    SSL_CTX *current;          /* a reference; those of other certificates belong to it */
    pthread_mutex_t reloading; /* held while files are read */
    unsigned reloads;          /* under reloading */
    ferry__tickets tickets;    /* a server's */
    ferry__sessions sessions;  /* a client's */
};

/* OpenSSL's contexts that belong together, one for each certificate. The first one owns it. */
typedef struct circle {
    size_t count;
    SSL_CTX *contexts[];
} circle;

/* ---- names, protocols ------------------------------------------------------------------------ */

static bool is_for(SSL_CTX *context, const char *name)
{
    X509 *certificate = SSL_CTX_get0_certificate(context);
    if (name[0] == '.') /* which OpenSSL takes for any name below it */
        return false;
    return X509_check_host(certificate, name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    (void)alert;
    const circle *all = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (name == NULL)
        return SSL_TLSEXT_ERR_OK;
    for (size_t i = 0; i < all->count; i++) {
        if (!is_for(all->contexts[i], name))
            continue;
        return i == 0 || SSL_set_SSL_CTX(ssl, all->contexts[i]) != NULL
                   ? SSL_TLSEXT_ERR_OK
                   : SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int insist_on_name(SSL *ssl, int *alert, void *arg)
{
    int answer = choose_certificate(ssl, alert, arg);
    if (answer != SSL_TLSEXT_ERR_NOACK)
        return answer;
    ferry__tls_link_refuse_name(ssl);
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_length,
                           const unsigned char *offered, unsigned length, void *arg)
{
    (void)ssl;
    const ferry__recipe *self = arg;
    unsigned char *chosen;
    int found = SSL_select_next_proto(&chosen, ret_length, self->protocols, self->protocols_length,
                                      offered, length);
    *ret = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/*
 * OpenSSL's, in place of its own verification, which is then made. It has just copied what a
 * connection expects, the name above all, and does not look whether there was memory for that:
 * without, it would take any name.
 */
static int verify(X509_STORE_CTX *chain, void *arg)
{
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(chain);
    if (ssl != NULL && X509_VERIFY_PARAM_set1(param, SSL_get0_param(ssl)) == 1)
        return X509_verify_cert(chain);
    X509_STORE_CTX_set_error(chain, X509_V_ERR_OUT_OF_MEM);
    return 0;
}

/* ---- OpenSSL's contexts ---------------------------------------------------------------------- */

static void set_up(SSL_CTX *context, const ferry_tls_context *self)
{
    (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    if (SSL_CTX_get_security_level(context) < SECURITY_LEVEL)
        SSL_CTX_set_security_level(context, SECURITY_LEVEL);
    (void)SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    (void)SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, READ_BUFFER);
    SSL_CTX_set_verify(context, self->recipe.verify_mode, NULL);
    SSL_CTX_set_cert_verify_callback(context, verify, NULL);
    ferry__tls_link_watch(context, self->recipe.key_log_fd >= 0 || self->recipe.kernel_encrypts);
}

/* @return whether it could. */
static bool set_up_server(SSL_CTX *context, ferry_tls_context *self)
{
    if (self->recipe.protocols != NULL)
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, &self->recipe);
    /* A ticket holds what was verified once. After a reload that is verified anew. */
    unsigned id = self->recipe.verify_mode != SSL_VERIFY_NONE ? self->reloads : 0;
    return ferry__tickets_use(&self->tickets, context) &&
           SSL_CTX_set_session_id_context(context, (const unsigned char *)&id, sizeof id) == 1;
}

static bool set_up_client(SSL_CTX *context, const ferry__recipe *made_of)
{
    (void)SSL_CTX_set_session_cache_mode(context,
                                         SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    return made_of->protocols == NULL ||
           SSL_CTX_set_alpn_protos(context, made_of->protocols, made_of->protocols_length) == 0;
}

/* @param certificate NULL: none. */
static int make_one(ferry_tls_context *self, const ferry_tls_certificate *certificate,
                    SSL_CTX **ret_context, ferry_tls_failure *ret_failure)
{
    const ferry__recipe *made_of = &self->recipe;
    SSL_CTX *context =
        SSL_CTX_new(self->secure.is_server ? TLS_server_method() : TLS_client_method());
    if (context == NULL)
        return ferry__tls_refuse(ret_failure, "a context", -ENOMEM, NULL);
    set_up(context, self);
    bool is_set_up =
        self->secure.is_server ? set_up_server(context, self) : set_up_client(context, made_of);
    int error = is_set_up ? 0 : ferry__tls_refuse(ret_failure, "a context", -ENOMEM, NULL);
    if (error == 0 && certificate != NULL)
        error = ferry__tls_use_certificate(context, certificate, ret_failure);
    if (error == 0)
        error = ferry__tls_use_trust(context, &made_of->trust, ret_failure);
    if (error != 0)
        SSL_CTX_free(context);
    else
        *ret_context = context;
    return error;
}

static void free_circle(circle *all)
{
    for (size_t i = 1; i < all->count; i++)
        SSL_CTX_free(all->contexts[i]);
    ferry__release(all);
}

/* OpenSSL's: the first context of a circle goes. */
static void lose_circle(void *owner, void *all, CRYPTO_EX_DATA *data, int index, long number,
                        void *pointer)
{
    (void)owner, (void)data, (void)index, (void)number, (void)pointer;
    if (all != NULL)
        free_circle(all);
}

static int circle_index = -1;

/* ferry's threads may still run when the process exits: nothing is taken from under them. @return
 * whether there is memory to begin with. */
static bool begin(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&mutex); /* not once: it may fail, and is tried again */
    if (circle_index < 0) {
        (void)OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
        circle_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, lose_circle);
    }
    bool has_begun = circle_index >= 0 && ferry__tls_link_begin();
    (void)pthread_mutex_unlock(&mutex);
    return has_begun;
}

/* Has the first context answer for all, and own them. @return whether it could. */
static bool tie(circle *all, const ferry_tls_context *self)
{
    int (*choose)(SSL *, int *, void *) =
        self->recipe.refuses_unknown_names ? insist_on_name : choose_certificate;
    if (self->secure.is_server) {
        (void)SSL_CTX_set_tlsext_servername_callback(all->contexts[0], choose);
        (void)SSL_CTX_set_tlsext_servername_arg(all->contexts[0], all);
    }
    return SSL_CTX_set_ex_data(all->contexts[0], circle_index, all) == 1;
}

/* Makes one for each certificate; a client may have none. */
static int make_circle(ferry_tls_context *self, circle *all, ferry_tls_failure *ret_failure)
{
    const ferry__recipe *made_of = &self->recipe;
    for (size_t i = 0; i < (made_of->certificate_count > 0 ? made_of->certificate_count : 1); i++) {
        const ferry_tls_certificate *certificate =
            made_of->certificate_count > 0 ? &made_of->certificates[i] : NULL;
        int error = make_one(self, certificate, &all->contexts[i], ret_failure);
        if (error != 0)
            return error;
        all->count++;
    }
    return tie(all, self) ? 0 : ferry__tls_refuse(ret_failure, "a context", -ENOMEM, NULL);
}

/* Makes all of them anew. @param ret_first a reference, which owns the others. */
static int make_all(ferry_tls_context *self, SSL_CTX **ret_first, ferry_tls_failure *ret_failure)
{
    size_t most = self->recipe.certificate_count + 1;
    circle *all = ferry__allocate_zeroed(sizeof *all + most * sizeof all->contexts[0]);
    if (all == NULL)
        return ferry__tls_refuse(ret_failure, "a context", -ENOMEM, NULL);
    int error = make_circle(self, all, ret_failure);
    if (error == 0) {
        *ret_first = all->contexts[0];
        return 0;
    }
    if (all->count > 0)
        SSL_CTX_free(all->contexts[0]);
    free_circle(all);
    return error;
}

/* ---- connections ----------------------------------------------------------------------------- */

static SSL_CTX *current_of(ferry_tls_context *self)
{
    (void)pthread_mutex_lock(&self->mutex);
    SSL_CTX *current = self->current;
    (void)SSL_CTX_up_ref(current);
    (void)pthread_mutex_unlock(&self->mutex);
    return current;
}

/* Has the server's certificate be for a name, or for an address. @return whether it could. */
static bool expect_name(SSL *ssl, const char *name, bool any_name)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    ASN1_OCTET_STRING *address = a2i_IPADDRESS(name);
    bool is_address = address != NULL;
    ASN1_OCTET_STRING_free(address);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!is_address && SSL_set_tlsext_host_name(ssl, name) != 1)
        return false;
    if (any_name)
        return true;
    return is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1
                      : X509_VERIFY_PARAM_set1_host(param, name, 0) == 1;
}

static void resume_session(SSL *ssl, ferry__sessions *sessions, const char *name)
{
    SSL_SESSION *session = ferry__sessions_take(sessions, name);
    if (session == NULL)
        return;
    (void)SSL_set_session(ssl, session);
    SSL_SESSION_free(session);
}

/* The name without the dot that ends the domain of all domains. @return NULL: it is too
 * long, or none: OpenSSL takes one that begins with a dot for any name below it. */
static const char *plain_name(const char *name, char buffer[FERRY__NAME_BYTES])
{
    size_t length = strlen(name);
    if (length > 0 && name[length - 1] == '.')
        length--;
    if (length == 0 || length >= FERRY__NAME_BYTES || name[0] == '.')
        return NULL;
    memcpy(buffer, name, length);
    buffer[length] = '\0';
    return buffer;
}

/* OpenSSL from 3.2 on allocates what reads and writes records here. It returns nothing: only its
 * queue of errors tells if there was no memory. @return 0, -ENOMEM. */
static int choose_side(SSL *ssl, bool is_server)
{
    ERR_clear_error();
    if (is_server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ERR_peek_error() == 0 ? 0 : -ENOMEM;
}

static int set_up_connection(ferry_tls_context *self, SSL *ssl, const char *name)
{
    int error = choose_side(ssl, self->secure.is_server);
    if (error != 0 || self->secure.is_server)
        return error;
    if (name == NULL)
        return self->recipe.any_name ? 0 : -EINVAL;
    if (!expect_name(ssl, name, self->recipe.any_name))
        return -EINVAL;
    resume_session(ssl, &self->sessions, name);
    return 0;
}

/* A connection that began before a reload was verified as the files were then: what it has got is
 * not resumed. */
static void keep_session(ferry_tls_context *self, const SSL *ssl, const char *name,
                         SSL_SESSION *session)
{
    (void)pthread_mutex_lock(&self->mutex);
    bool is_current = SSL_get_SSL_CTX(ssl) == self->current;
    if (is_current)
        ferry__sessions_put(&self->sessions, name, session);
    (void)pthread_mutex_unlock(&self->mutex);
    if (!is_current)
        SSL_SESSION_free(session);
}

static void unref(ferry_tls_context *self)
{
    (void)ferry_tls_context_unref(self);
}

/* Has a link use a connection of OpenSSL's. @return 0, -ENOMEM. */
static int hand_over(ferry_tls_context *self, const ferry__tls_terms *terms, ferry__link *link)
{
    ferry__tls_terms all = *terms;
    if (self->recipe.kernel_encrypts && (all.secret = ferry__kernel_secret_make()) == NULL)
        return -ENOMEM;
    int error = ferry__tls_link_put_on(link, &all);
    if (error != 0)
        ferry__kernel_secret_forget(&all.secret);
    return error;
}

static int put_on(const ferry__secure *secure, const char *host, ferry__link *link)
{
    ferry_tls_context *self = secure->options.context;
    char buffer[FERRY__NAME_BYTES];
    const char *name = secure->options.name != NULL ? secure->options.name : host;
    name = name != NULL && !self->secure.is_server ? plain_name(name, buffer) : NULL;
    SSL_CTX *current = current_of(self);
    SSL *ssl = SSL_new(current);
    SSL_CTX_free(current);
    if (ssl == NULL)
        return -ENOMEM;
    int error = set_up_connection(self, ssl, name);
    const ferry__tls_terms terms = {
        .context = ferry_tls_context_ref(self),
        .ssl = ssl,
        .name = name,
        .received = secure->options.received,
        .received_length = secure->options.received_length,
        .answer_to_http = self->recipe.answer_to_http,
        .answer_to_http_length = self->recipe.answer_to_http_length,
        .key_log_fd = self->recipe.key_log_fd,
        .on_failure = self->on_failure,
        .on_failure_arg = self->on_failure_arg,
        .give_back = unref,
        .keep_session = keep_session,
    };
    if (error == 0)
        error = hand_over(self, &terms, link);
    if (error != 0) {
        SSL_free(ssl);
        (void)ferry_tls_context_unref(self);
    }
    return error;
}

/* ---- options of streams ---------------------------------------------------------------------- */

/* What a stream's options were taken as. */
typedef struct taken {
    ferry__secure secure; /* first */
    char bytes[];         /* what was received; then the name, with its end */
} taken;

static int check_options(const ferry_tls_options *options)
{
    if (options->name == NULL)
        return 0;
    size_t length = strnlen(options->name, FERRY__NAME_BYTES);
    bool is_server = options->context->secure.is_server;
    return is_server || length == 0 || length == FERRY__NAME_BYTES ? -EINVAL : 0;
}

static ferry__secure *take(const ferry_tls_options *options)
{
    size_t name_size = options->name != NULL ? strlen(options->name) + 1 : 0;
    taken *self = ferry__allocate(sizeof *self + options->received_length + name_size);
    if (self == NULL)
        return NULL;
    self->secure = (ferry__secure){.type = options->context->secure.type, .options = *options};
    char *name = self->bytes + options->received_length;
    if (options->received_length > 0)
        memcpy(self->bytes, options->received, options->received_length);
    if (name_size > 0)
        memcpy(name, options->name, name_size);
    self->secure.options.received = self->bytes;
    self->secure.options.name = name_size > 0 ? name : NULL;
    (void)ferry_tls_context_ref(options->context);
    return &self->secure;
}

static void give_back(ferry__secure *secure)
{
    (void)ferry_tls_context_unref(secure->options.context);
    ferry__release(secure);
}

static const ferry__secure_type secure_type = {
    .check_options = check_options,
    .take = take,
    .give_back = give_back,
    .put_on = put_on,
};

/* ---- a context's life ------------------------------------------------------------------------ */

static void destroy(ferry_tls_context *self)
{
    SSL_CTX_free(self->current);
    ferry__tickets_deinit(&self->tickets);
    ferry__sessions_deinit(&self->sessions);
    (void)pthread_mutex_destroy(&self->mutex);
    (void)pthread_mutex_destroy(&self->reloading);
    ferry__recipe_deinit(&self->recipe);
    ferry__release(self);
}

static ferry_tls_context *create(bool is_server)
{
    ferry_tls_context *self = begin() ? ferry__allocate_zeroed(sizeof *self) : NULL;
    if (self == NULL)
        return NULL;
    self->secure = (ferry__secure_context){&secure_type, is_server};
    ferry__recipe_init(&self->recipe);
    atomic_init(&self->refs, 1);
    (void)pthread_mutex_init(&self->mutex, NULL);
    (void)pthread_mutex_init(&self->reloading, NULL);
    ferry__tickets_init(&self->tickets);
    ferry__sessions_init(&self->sessions);
    return self;
}

/* The last step of making one. @param error of the steps before. */
static int finish(ferry_tls_context *self, int error, ferry_release *release,
                  ferry_tls_failure *ret_failure, ferry_tls_context **ret_context)
{
    if (error == 0)
        error = make_all(self, &self->current, ret_failure);
    if (error != 0) {
        destroy(self);
        return error;
    }
    ferry__recipe_forget_memory(&self->recipe);
    self->on_failure_release = release;
    *ret_context = self;
    return 0;
}

/* This library knows libferry from inside: both are to be of one version. */
static bool has_other_ferry(void)
{
    return strcmp(ferry_version(), FERRY_VERSION) != 0;
}

/* An error that no file and no certificate is at fault for. */
static int fail(ferry_tls_failure *ret_failure, int error)
{
    return ferry__tls_fail(ret_failure, error == -ENOMEM ? FERRY_TLS_LOCAL : FERRY_TLS_INPUT, error,
                           ferry_error_message(error));
}

static void clear(ferry_tls_failure *ret_failure)
{
    (void)ferry__tls_fail(ret_failure, FERRY_TLS_NOTHING, 0, NULL);
}

/* The first step of making one. @param error of the checks. */
static int start(bool is_server, int error, ferry_tls_failure *ret_failure,
                 ferry_tls_context **ret_self)
{
    if (error == 0 && has_other_ferry())
        error = -ELIBBAD;
    if (error != 0)
        return fail(ret_failure, error);
    clear(ret_failure);
    *ret_self = create(is_server);
    return *ret_self != NULL ? 0 : fail(ret_failure, -ENOMEM);
}

int ferry_tls_server_create(const ferry_tls_server_options *options, ferry_tls_failure *ret_failure,
                            ferry_tls_context **ret_context)
{
    int error = ret_context == NULL ? -EINVAL : ferry__recipe_check_server(options);
    ferry_tls_context *self;
    error = start(true, error, ret_failure, &self);
    if (error != 0)
        return error;
    self->on_failure = options->on_failure;
    self->on_failure_arg = options->on_failure_arg;
    error = ferry__recipe_take_server(&self->recipe, options, ret_failure);
    return finish(self, error, options->on_failure_release, ret_failure, ret_context);
}

int ferry_tls_client_create(const ferry_tls_client_options *options, ferry_tls_failure *ret_failure,
                            ferry_tls_context **ret_context)
{
    static const ferry_tls_client_options defaults;
    if (options == NULL)
        options = &defaults;
    int error = ret_context == NULL ? -EINVAL : ferry__recipe_check_client(options);
    ferry_tls_context *self;
    error = start(false, error, ret_failure, &self);
    if (error != 0)
        return error;
    self->on_failure = options->on_failure;
    self->on_failure_arg = options->on_failure_arg;
    error = ferry__recipe_take_client(&self->recipe, options, ret_failure);
    return finish(self, error, options->on_failure_release, ret_failure, ret_context);
}

/* Has the next connections use another one. */
static void replace(ferry_tls_context *self, SSL_CTX *next)
{
    (void)pthread_mutex_lock(&self->mutex);
    SSL_CTX *before = self->current;
    self->current = next;
    (void)pthread_mutex_unlock(&self->mutex);
    SSL_CTX_free(before);
    ferry__sessions_clear(&self->sessions); /* their servers are verified anew */
}

int ferry_tls_context_reload(ferry_tls_context *context, ferry_tls_failure *ret_failure)
{
    if (context == NULL)
        return fail(ret_failure, -EINVAL);
    if (context->recipe.uses_memory)
        return fail(ret_failure, -EOPNOTSUPP);
    clear(ret_failure);
    (void)pthread_mutex_lock(&context->reloading);
    context->reloads++;
    SSL_CTX *next;
    int error = make_all(context, &next, ret_failure);
    if (error == 0)
        replace(context, next);
    (void)pthread_mutex_unlock(&context->reloading);
    return error;
}

ferry_tls_context *ferry_tls_context_ref(ferry_tls_context *context)
{
    if (context != NULL)
        atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

ferry_tls_context *ferry_tls_context_unref(ferry_tls_context *context)
{
    if (context == NULL || atomic_fetch_sub(&context->refs, 1) != 1)
        return NULL;
    ferry__release_arg(context->on_failure_release, context->on_failure_arg);
    destroy(context);
    return NULL;
}
