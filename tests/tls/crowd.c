/* SPDX-License-Identifier: MIT */
/* Many threads, two contexts: they shake hands, resume sessions and read the files anew at once. */
#include "tests/tls/scene.h"

enum { TALKERS = 6, RELOADERS = 2, ROUNDS = 25 };

typedef struct crowd {
    scene *scene;
    atomic_uint talking; /* threads that have not ended */
    atomic_uint resumed, reloads;
} crowd;

/* A connection: a byte comes, and with it the ticket of the next one. */
static void talk_once(crowd *self, unsigned round)
{
    pair both = any_pair(round % 2 == 0);
    AT_END(drop_stream) ferry_stream *server = scene_adopt_server(self->scene, both.ours);
    AT_END(drop_stream) ferry_stream *client = scene_adopt_client(self->scene, both.theirs);
    check_content_passes(server, client, round, 1);
    check_content_passes(client, server, round, 20000);
    ferry_tls_info info;
    check_eq(ferry_tls_get_info(client, &info), 0);
    check(strstr(info.subject, "DNS:localhost") != NULL && info.certificate_length > 0);
    atomic_fetch_add(&self->resumed, info.is_resumed);
    ferry_promise *closed = submit_close(client);
    check_outcome(submit_close(server), .error = 0);
    check_outcome(closed, .error = 0);
}

static void *talk(void *arg)
{
    crowd *self = arg;
    for (unsigned i = 0; i < ROUNDS; i++)
        talk_once(self, i);
    atomic_fetch_sub(&self->talking, 1);
    return NULL;
}

/* References come and go meanwhile, too. */
static void *reload(void *arg)
{
    crowd *self = arg;
    do {
        ferry_tls_context *server = ferry_tls_context_ref(self->scene->server);
        check_eq(ferry_tls_context_reload(server, NULL), 0);
        check_eq(ferry_tls_context_reload(self->scene->client, NULL), 0);
        (void)ferry_tls_context_unref(server);
        atomic_fetch_add(&self->reloads, 1);
    } while (atomic_load(&self->talking) > 0);
    return NULL;
}

static void start_crowd(crowd *self, unsigned reloaders)
{
    pthread_t talkers[TALKERS], others[RELOADERS];
    atomic_store(&self->talking, TALKERS);
    start_threads(talkers, TALKERS, talk, self);
    start_threads(others, reloaders, reload, self);
    join_threads(talkers, TALKERS);
    join_threads(others, reloaders);
}

PROMISE_BOTH(crowd, threads_shake_hands_resume_and_reload_at_once)
{
    char folder[] = "/tmp/ferry-test-XXXXXX", chain[64], key[64], authorities[64];
    check(mkdtemp(folder) != NULL);
    snprintf(chain, sizeof chain, "%s/chain", folder);
    snprintf(key, sizeof key, "%s/key", folder);
    snprintf(authorities, sizeof authorities, "%s/authorities", folder);
    AT_END(identity_free) identity root = authority_make("root", NULL);
    AT_END(identity_free) identity own = identity_of("DNS:localhost", &root);
    write_file(chain, own.chain);
    write_file(key, own.key);
    write_file(authorities, root.chain);
    const ferry_tls_certificate files = {.chain_file = chain, .key_file = key};
    AT_END(end_scene)
    scene *s = scene_open((scene_wish){.placement = placement,
                                       .server = {.certificates = &files, .certificate_count = 1},
                                       .client = {.trust = {.ca_file = authorities}}});
    crowd self = {.scene = s};
    start_crowd(&self, RELOADERS);
    check(atomic_load(&self.reloads) >= RELOADERS);
    start_crowd(&self, 0); /* now nobody makes them forget their sessions */
    check(atomic_load(&self.resumed) > 0);
    unlink(chain);
    unlink(key);
    unlink(authorities);
    rmdir(folder);
}
