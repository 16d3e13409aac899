/* SPDX-License-Identifier: MIT */
#include "tests/tls/scene.h"

static void keep(ferry_listener *listener, ferry_stream *stream, void *arg)
{
    (void)listener;
    scene *self = arg;
    ferry_stream *before = atomic_exchange(&self->accepted, ferry_stream_ref(stream));
    (void)ferry_stream_unref(before);
    atomic_fetch_add(&self->accepted_count, 1);
}

static void note_failure(ferry_stream *stream, const ferry_tls_failure *failure, void *arg)
{
    (void)stream;
    scene *self = arg;
    (void)pthread_mutex_lock(&self->mutex); /* each on an owner of its own */
    self->failure = *failure;
    atomic_fetch_add(&self->failed_count, 1);
    (void)pthread_mutex_unlock(&self->mutex);
}

static void make_contexts(scene *self, scene_wish *wish)
{
    const ferry_tls_certificate certificate = identity_certificate(&self->own);
    ferry_tls_server_options *server = &wish->server;
    if (server->certificates == NULL) {
        server->certificates = &certificate;
        server->certificate_count = 1;
    }
    server->kernel_encrypts |= kernel_encrypts();
    server->on_failure = note_failure;
    server->on_failure_arg = self;
    check_eq(ferry_tls_server_create(server, NULL, &self->server), 0);
    ferry_tls_client_options *client = &wish->client;
    client->kernel_encrypts |= kernel_encrypts();
    if (client->trust.ca == NULL && client->trust.ca_file == NULL) {
        client->trust.ca = self->authority.chain;
        client->trust.ca_length = strlen(self->authority.chain);
    }
    check_eq(ferry_tls_client_create(client, NULL, &self->client), 0);
}

static void listen_with(scene *self, const scene_wish *wish)
{
    const ferry_tls_options tls = {.context = self->server,
                                   .handshake_timeout_ms = wish->handshake_timeout_ms};
    ferry_stream_options stream = wish->stream;
    stream.tls = &tls;
    const ferry_listen_options options = {
        .on_stream = keep, .on_stream_arg = self, .on_owner = true, .stream = &stream};
    const char *address = wish->address != NULL ? wish->address : "127.0.0.1:0";
    check_eq(ferry_listen(self->service, address, &options, &self->listener), 0);
    check(ferry_listener_get_address(self->listener, self->address, sizeof self->address) > 0);
}

scene *scene_open(scene_wish wish)
{
    scene *self = calloc(1, sizeof *self);
    (void)pthread_mutex_init(&self->mutex, NULL);
    self->service = service_start(wish.placement);
    self->authority = authority_make("test authority", NULL);
    if (wish.own.name == NULL)
        wish.own.name = "DNS:localhost,IP:127.0.0.1";
    if (wish.own.issuer == NULL)
        wish.own.issuer = &self->authority;
    self->own = identity_make(wish.own);
    make_contexts(self, &wish);
    listen_with(self, &wish);
    return self;
}

void scene_end(scene *self)
{
    (void)ferry_listener_unref(self->listener);
    (void)ferry_stream_unref(atomic_load(&self->accepted));
    ferry_service_destroy(self->service);
    (void)ferry_tls_context_unref(self->server);
    (void)ferry_tls_context_unref(self->client);
    identity_free(&self->own);
    identity_free(&self->authority);
    (void)pthread_mutex_destroy(&self->mutex);
    free(self);
}

ferry_promise *scene_connect(scene *self, const char *name)
{
    const ferry_tls_options tls = {.context = self->client, .name = name};
    const ferry_stream_options stream = {.tls = &tls};
    const ferry_connect_options options = {.stream = &stream};
    ferry_promise *promise;
    check_eq(ferry_connect(self->service, self->address, &options, &promise), 0);
    return promise;
}

static ferry_stream *adopt(scene *self, int fd, ferry_tls_options tls)
{
    return stream_adopt_with(self->service, fd, (ferry_stream_options){.tls = &tls});
}

ferry_stream *scene_adopt_server(scene *self, int fd)
{
    return adopt(self, fd, (ferry_tls_options){.context = self->server});
}

ferry_stream *scene_adopt_client(scene *self, int fd)
{
    return adopt(self, fd, (ferry_tls_options){.context = self->client, .name = "localhost"});
}

ferry_stream *scene_take_accepted(scene *self)
{
    ferry_stream *stream;
    while ((stream = atomic_exchange(&self->accepted, NULL)) == NULL)
        sched_yield();
    return stream;
}

void scene_join(scene *self, ferry_stream **ret_client, ferry_stream **ret_server)
{
    AT_END(drop_promise) ferry_promise *promise = scene_connect(self, "localhost");
    check_eq(ferry_promise_await(promise, -1, NULL), 0);
    check_eq(ferry_promise_get_stream(promise, ret_client), 0);
    *ret_server = scene_take_accepted(self);
}

ferry_tls_failure scene_await_failure(scene *self)
{
    while (atomic_load(&self->failed_count) == 0)
        sched_yield();
    (void)pthread_mutex_lock(&self->mutex);
    ferry_tls_failure failure = self->failure;
    (void)pthread_mutex_unlock(&self->mutex);
    return failure;
}

ferry_promise *begin_read(ferry_stream *stream, void *data, size_t size)
{
    return submit_read(stream, (ferry_read){data, size, FERRY_READ_EXACTLY});
}

void check_content_passes(ferry_stream *from, ferry_stream *to, uint64_t seed, size_t size)
{
    unsigned char *expected = malloc(size + 1), *got = malloc(size + 1);
    fill_content(expected, size, seed, 0);
    ferry_promise *reading = begin_read(to, got, size);
    check_outcome(submit_write(from, expected, size), .error = 0, .sent = size);
    check_outcome(reading, .error = 0, .sent = size);
    check(memcmp(expected, got, size) == 0);
    free(expected);
    free(got);
}

void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    check(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}
