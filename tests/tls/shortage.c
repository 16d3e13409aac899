/* SPDX-License-Identifier: MIT */
/*
 * OpenSSL runs out of memory: its first allocation fails, then its second, and so on until a scene
 * needed fewer. Whatever fails is told by an errno that is documented, nobody is trusted who should
 * not be, and no byte is wrong. That nothing is left is the harness's to see, and the sanitizer's.
 *
 * These are thousands of allocations: FERRY_SHORTAGES says of how many in each scene, spread over
 * all of them; 0: each, which takes minutes. FERRY_SEED shifts them.
 */
#include "tests/tls/scene.h"

#include <openssl/crypto.h>

enum { SIZE = 50000 };

/* ---- OpenSSL's allocator --------------------------------------------------------------------- */

static atomic_ulong made, failing_at; /* 0: none fails */

static bool is_to_fail(void)
{
    unsigned long at = atomic_load(&failing_at);
    return at != 0 && atomic_fetch_add(&made, 1) + 1 == at;
}

static void *take(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return is_to_fail() ? NULL : malloc(size);
}

static void *take_again(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return is_to_fail() ? NULL : realloc(memory, size);
}

static void give(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

/* Before OpenSSL has allocated anything. */
__attribute__((constructor)) static void replace_allocator(void)
{
    if (CRYPTO_set_mem_functions(take, take_again, give) != 1)
        abort();
}

/* From now on the n-th fails. */
static void fail_openssl(unsigned long n)
{
    atomic_store(&made, 0);
    atomic_store(&failing_at, n);
}

/* None fails any more. @return whether one has. */
static bool has_failed(void)
{
    unsigned long at = atomic_exchange(&failing_at, 0);
    return atomic_load(&made) >= at;
}

/* ---- what is played -------------------------------------------------------------------------- */

typedef struct stock {
    ferry_placement placement;
    identity authority, stranger, own;
    char folder[32];
    char chain[64], key[64], authorities[64], strangers[64], lists[64]; /* paths */
    test_file file;
    unsigned char content[SIZE];

    /* Of whose making nothing has failed. */
    ferry_tls_context *server, *client;
    ferry_tls_context *nobody;    /* a client that shows no certificate */
    ferry_tls_context *unknowing; /* one that trusts another authority */
    ferry_tls_context *strict;    /* one that knows that the server's certificate was revoked */
} stock;

/* Something that needs OpenSSL's memory; allocations fail while it runs. */
typedef void scenario(stock *s);

static int make_server(const stock *s, ferry_tls_context **ret_context)
{
    static const char *const protocols[] = {"http/1.1"};
    const ferry_tls_certificate certificates[] = {
        {.chain_file = s->chain, .key_file = s->key},
        {.chain_file = s->chain, .key_file = s->key},
    };
    const ferry_tls_server_options options = {
        .certificates = certificates,
        .certificate_count = 2,
        .protocols = protocols,
        .protocol_count = 1,
        .client_certificate = FERRY_TLS_CLIENT_MUST_SHOW,
        .trust = {.ca_file = s->authorities},
    };
    return ferry_tls_server_create(&options, NULL, ret_context);
}

static int make_client(const stock *s, ferry_tls_trust trust, bool is_nobody,
                       ferry_tls_context **ret_context)
{
    static const char *const protocols[] = {"http/1.1"};
    const ferry_tls_certificate certificate = {.chain_file = s->chain, .key_file = s->key};
    const ferry_tls_client_options options = {
        .trust = trust,
        .certificate = is_nobody ? NULL : &certificate,
        .protocols = protocols,
        .protocol_count = 1,
    };
    return ferry_tls_client_create(&options, NULL, ret_context);
}

static void make_all_contexts(stock *s)
{
    const ferry_tls_trust trust = {.ca_file = s->authorities};
    const ferry_tls_trust other = {.ca_file = s->strangers};
    const ferry_tls_trust lists = {.ca_file = s->authorities, .crl_file = s->lists};
    check_eq(make_server(s, &s->server), 0);
    check_eq(make_client(s, trust, false, &s->client), 0);
    check_eq(make_client(s, trust, true, &s->nobody), 0);
    check_eq(make_client(s, other, false, &s->unknowing), 0);
    check_eq(make_client(s, lists, false, &s->strict), 0);
}

static void name_file(const stock *s, char path[64], const char *name)
{
    snprintf(path, 64, "%s/%s", s->folder, name);
}

static void open_stock(stock *s, ferry_placement placement)
{
    *s = (stock){.placement = placement, .folder = "/tmp/ferry-test-XXXXXX"};
    check(mkdtemp(s->folder) != NULL);
    name_file(s, s->chain, "chain");
    name_file(s, s->key, "key");
    name_file(s, s->authorities, "authorities");
    name_file(s, s->strangers, "strangers");
    name_file(s, s->lists, "lists");
    s->authority = identity_make((identity_wish){.name = "authority", .is_authority = true});
    s->stranger = identity_make((identity_wish){.name = "stranger", .is_authority = true});
    s->own = identity_make((identity_wish){.name = "DNS:localhost", .issuer = &s->authority});
    write_file(s->chain, s->own.chain);
    write_file(s->key, s->own.key);
    write_file(s->authorities, s->authority.chain);
    write_file(s->strangers, s->stranger.chain);
    identity_add_list(s->lists, &s->authority, &s->own);
    s->file = file_make(SIZE, 2);
    fill_content(s->content, SIZE, 1, 0);
    make_all_contexts(s);
}

static void close_stock(stock *s)
{
    (void)ferry_tls_context_unref(s->server);
    (void)ferry_tls_context_unref(s->client);
    (void)ferry_tls_context_unref(s->nobody);
    (void)ferry_tls_context_unref(s->unknowing);
    (void)ferry_tls_context_unref(s->strict);
    file_remove(&s->file);
    unlink(s->chain);
    unlink(s->key);
    unlink(s->authorities);
    unlink(s->strangers);
    unlink(s->lists);
    rmdir(s->folder);
    identity_free(&s->own);
    identity_free(&s->stranger);
    identity_free(&s->authority);
}

static void do_nothing(stock *s)
{
    (void)s;
}

/* ---- sweeping -------------------------------------------------------------------------------- */

static unsigned long given_number(const char *name, unsigned long otherwise)
{
    const char *given = getenv(name);
    return given != NULL ? strtoul(given, NULL, 10) : otherwise;
}

/* How many allocations a scenario needs. */
static unsigned long count_needed(stock *s, scenario *prepare, scenario *play)
{
    prepare(s);
    fail_openssl(ULONG_MAX);
    play(s);
    (void)has_failed();
    return atomic_load(&made);
}

static void sweep(ferry_placement placement, scenario *prepare, scenario *play)
{
    enum { USUAL = 30, FEW_MORE = 50 };
    static stock s;
    open_stock(&s, placement);
    (void)count_needed(&s, prepare, play); /* what OpenSSL makes once it has by now */
    unsigned long needed = count_needed(&s, prepare, play),
                  wanted = given_number("FERRY_SHORTAGES", USUAL);
    unsigned long step = wanted == 0 || needed < wanted ? 1 : needed / wanted, failed = 0;
    uint64_t seed = random_seed();
    for (unsigned long n = 1 + random_next(&seed) % step; n <= needed + FEW_MORE; n += step) {
        prepare(&s);
        fail_openssl(n);
        play(&s);
        failed += has_failed();
    }
    (void)fprintf(stderr, "%lu of %lu allocations have failed\n", failed, needed);
    check(failed > 0);
    prepare(&s);
    play(&s); /* all is as it was */
    close_stock(&s);
}

/* ---- contexts -------------------------------------------------------------------------------- */

/* OpenSSL does not always say that it was for want of memory. */
static void check_refusal(int error)
{
    check(error == 0 || error == -ENOMEM || error == -EKEYREJECTED);
}

static void make_contexts(stock *s)
{
    ferry_tls_context *server = NULL, *client = NULL;
    check_refusal(make_server(s, &server));
    const ferry_tls_trust lists = {.ca_file = s->authorities, .crl_file = s->lists};
    check_refusal(make_client(s, lists, false, &client));
    (void)ferry_tls_context_unref(server);
    (void)ferry_tls_context_unref(client);
}

static void reload_contexts(stock *s)
{
    check_refusal(ferry_tls_context_reload(s->server, NULL));
    check_refusal(ferry_tls_context_reload(s->client, NULL));
}

PROMISE(shortage, context_is_made_or_refused)
{
    sweep(FERRY_PLACEMENT_SHARED, do_nothing, make_contexts);
}

/* What the first context needs for all that follow. */
PROMISE(shortage, first_context_that_cannot_be_made_is_not_the_last)
{
    AT_END(identity_free) identity own = identity_of("DNS:localhost", NULL);
    check(OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL) == 1);
    const ferry_tls_certificate shown = identity_certificate(&own);
    const ferry_tls_server_options options = {.certificates = &shown, .certificate_count = 1};
    ferry_tls_context *context;
    fail_openssl(1);
    check_eq(ferry_tls_server_create(&options, NULL, &context), -ENOMEM);
    check(has_failed());
    check_eq(ferry_tls_server_create(&options, NULL, &context), 0);
    (void)ferry_tls_context_unref(context);
}

PROMISE(shortage, context_is_read_anew_or_stays_as_it_was)
{
    sweep(FERRY_PLACEMENT_SHARED, do_nothing, reload_contexts);
}

/* ---- connections ----------------------------------------------------------------------------- */

enum { PROMISES = 6 };

/* Two ends of a connection, and what they do. */
typedef struct scene_of_two {
    ferry_stream *client, *server; /* NULL: it could not be made */
    ferry_promise *promises[PROMISES];
    unsigned count;
    unsigned char by_server[SIZE], by_client[SIZE]; /* what they have read */
} scene_of_two;

/* Adopts a socket. @return NULL: no memory. */
static ferry_stream *adopt(ferry_service *service, int fd, const ferry_tls_options *tls)
{
    const ferry_stream_options options = {.tls = tls};
    ferry_stream *stream;
    int error = ferry_stream_adopt(service, fd, &options, &stream);
    if (error == 0)
        return stream;
    check(error == -ENOMEM || error == -EINVAL);
    close(fd);
    return NULL;
}

static void add(scene_of_two *self, ferry_promise *promise)
{
    self->promises[self->count++] = promise;
}

static void add_read(scene_of_two *self, ferry_stream *stream, void *data)
{
    ferry_promise *reading = begin_read(stream, data, SIZE);
    add(self, reading);
}

/* What a handshake, or what follows, may come to. */
static void check_outcome_is_documented(int error)
{
    static const int known[] = {
        0,      -ENOMEM,    -EPROTO,       -EPROTONOSUPPORT, -EACCES,  -ECONNABORTED, -ECONNRESET,
        -EPIPE, -ECANCELED, -EKEYREJECTED, -ENOKEY,          -EBADMSG, -EKEYREVOKED};
    size_t i = 0;
    while (i < sizeof known / sizeof known[0] && known[i] != error)
        i++;
    if (i == sizeof known / sizeof known[0])
        check_eq(error, 0);
}

/* Waits for all. Once one has failed, the other end may wait in vain: both are aborted. @return
 * whether all have succeeded. */
static bool settle(scene_of_two *self)
{
    bool is_good = true;
    for (unsigned settled = 0; settled < self->count;) {
        settled = 0;
        for (unsigned i = 0; i < self->count; i++) {
            ferry_result result;
            if (ferry_promise_await(self->promises[i], 1, &result) != 0)
                continue;
            settled++;
            check_outcome_is_documented(result.error);
            if (result.error != 0 && is_good) {
                is_good = false;
                ferry_stream_abort(self->client);
                ferry_stream_abort(self->server);
            }
        }
    }
    for (unsigned i = 0; i < self->count; i++)
        (void)ferry_promise_unref(self->promises[i]);
    self->count = 0;
    return is_good;
}

static void converse(stock *s, scene_of_two *self)
{
    add(self, submit_write(self->client, s->content, SIZE));
    add_read(self, self->server, self->by_server);
    add(self, submit_file(self->server, ferry_file_at(s->file.path)));
    add_read(self, self->client, self->by_client);
    if (settle(self)) {
        check_eq(digest(DIGEST_BEGIN, self->by_server, SIZE),
                 digest_content(DIGEST_BEGIN, 1, 0, SIZE));
        check_eq(digest(DIGEST_BEGIN, self->by_client, SIZE),
                 digest_content(DIGEST_BEGIN, 2, 0, SIZE));
    }
    add(self, submit_close(self->server));
    add(self, submit_close(self->client));
    (void)settle(self);
}

/* Who believes in the other at the end. */
typedef struct belief {
    bool client, server;
} belief;

static bool is_secured(ferry_stream *stream)
{
    ferry_tls_info info;
    return stream != NULL && ferry_tls_get_info(stream, &info) == 0;
}

static belief connect_both(stock *s, ferry_tls_context *client, const char *name)
{
    static scene_of_two self;
    AT_END(destroy_service) ferry_service *service = service_start(s->placement);
    pair both = unix_pair(SOCK_STREAM);
    const ferry_tls_options as_server = {.context = s->server};
    const ferry_tls_options as_client = {.context = client, .name = name};
    self.server = adopt(service, both.ours, &as_server);
    self.client = adopt(service, both.theirs, &as_client);
    if (self.server != NULL && self.client != NULL)
        converse(s, &self);
    belief held = {is_secured(self.client), is_secured(self.server)};
    (void)ferry_stream_unref(self.client);
    (void)ferry_stream_unref(self.server);
    return held;
}

static void meet(stock *s)
{
    (void)connect_both(s, s->client, "localhost");
}

static void forget_sessions(stock *s)
{
    check_eq(ferry_tls_context_reload(s->client, NULL), 0);
}

PROMISE_BOTH(shortage, connection_succeeds_or_fails_as_documented)
{
    sweep(placement, forget_sessions, meet);
}

PROMISE_BOTH(shortage, session_is_resumed_or_not)
{
    sweep(placement, meet, meet);
}

/* ---- nobody is trusted for want of memory ---------------------------------------------------- */

static void meet_wrong_name(stock *s)
{
    check(!connect_both(s, s->client, "other").client);
}

static void meet_wrong_address(stock *s)
{
    check(!connect_both(s, s->client, "127.0.0.2").client);
}

static void meet_stranger(stock *s)
{
    check(!connect_both(s, s->unknowing, "localhost").client);
}

static void meet_revoked(stock *s)
{
    check(!connect_both(s, s->strict, "localhost").client);
}

static void meet_nobody(stock *s)
{
    check(!connect_both(s, s->nobody, "localhost").server);
}

PROMISE(shortage, server_of_another_name_is_refused_all_the_same)
{
    sweep(FERRY_PLACEMENT_SHARED, do_nothing, meet_wrong_name);
}

PROMISE(shortage, server_of_another_address_is_refused_all_the_same)
{
    sweep(FERRY_PLACEMENT_SHARED, do_nothing, meet_wrong_address);
}

PROMISE(shortage, server_that_nobody_trusts_is_refused_all_the_same)
{
    sweep(FERRY_PLACEMENT_SHARED, do_nothing, meet_stranger);
}

PROMISE(shortage, server_that_was_revoked_is_refused_all_the_same)
{
    sweep(FERRY_PLACEMENT_SHARED, do_nothing, meet_revoked);
}

PROMISE(shortage, client_without_a_certificate_is_refused_all_the_same)
{
    sweep(FERRY_PLACEMENT_SHARED, do_nothing, meet_nobody);
}
