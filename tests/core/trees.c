/* SPDX-License-Identifier: MIT */
/*
 * Random trees of promises made of others, over promises of the test's own, which threads settle,
 * cancel and drop in random order.
 *
 * One event at a time befalls each tree, by one of several threads, and then its home runs its
 * inbox until nothing is left: after each event the outcome of every promise is compared with that
 * of a model, which is as simple as it can be: mail in a queue, delivered in order. Many trees are
 * under way at once on one inbox, so the threads do race with each other, but not within a tree.
 *
 * In a second test they race within a tree as well. There no model knows what comes first, but
 * every outcome must be one that its parts' outcomes explain, and there must be one.
 *
 * FERRY_TREES says how many trees; FERRY_SEED which.
 */
#include "tests/promises.h"

enum {
    MOST_LEAVES = 6,
    MOST_NODES = 14,
    MOST_PARTS = 4,
    MOST_EVENTS = 12,
    BATCH = 256, /* trees under way at once */
    THREADS = 3
};

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { TREES = 10 * 1000 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { TREES = 10 * 1000 };
#else
enum { TREES = 100 * 1000 };
#endif
#else
enum { TREES = 100 * 1000 };
#endif

typedef enum kind {
    LEAF,
    CHAIN,
    ALL,
    ANY,
    RACE,
    ALL_SETTLED,
    SHIELD,
    TIMEOUT,
    RETRY,
    MAP,
    KINDS
} kind;

/* What a chain's block does: changes nothing, makes it succeed, or fail, gives its second part. */
typedef enum deed { NO_BLOCK, PASS, MEND, BREAK, GIVE, DEEDS } deed;

typedef struct node {
    kind kind;
    int parent; /* -1: none */
    unsigned parts[MOST_PARTS];
    unsigned count;
    unsigned at_once;          /* of a map */
    int instantly[MOST_PARTS]; /* of a retry, a map: what such an attempt or item comes to without a
                                  promise; 1: it gives its part */
    deed on_done;              /* of a chain */
    deed on_failed;            /* likewise */
    bool is_given_later;       /* to a chain, a retry or a map: not from the beginning */
    ferry_promise *promise;
    ferry_promise *quiet; /* of a derived promise: when it is quiet; or NULL */
    struct tree *tree;

    /* The model's. */
    bool is_awaited;  /* by its parent */
    bool was_awaited; /* by its parent, at some time */
    bool is_cancelled;
    bool is_settled;
    bool has_followed; /* a chain whose block has run */
    int error;
    uint64_t sent;
    uint64_t sum;
    unsigned started;          /* attempts, items */
    bool has_come[MOST_PARTS]; /* of a group, a map: such a part, before it settled itself */
    unsigned waiting;
} node;

typedef enum deed_of_event { SETTLE, CANCEL, DROP } deed_of_event;

typedef struct event {
    deed_of_event what;
    unsigned node;
    int error;
    unsigned thread; /* who does it */
} event;

/* The model's mail. */
typedef enum letter_kind { ARRIVED, CAME_INSTANTLY, BEGIN, AGAIN, CALL_OFF } letter_kind;
typedef struct letter {
    letter_kind what;
    unsigned to;
    unsigned from; /* a node; of what came instantly: the item's number */
} letter;

typedef struct post {
    letter letters[128];
    unsigned count;
} post;

typedef struct tree {
    node nodes[MOST_NODES];
    unsigned count;
    unsigned leaves;
    event events[MOST_EVENTS];
    unsigned event_count;
    unsigned early; /* events before anything is made of the leaves */
    post mail;      /* waiting */
    post pauses;    /* retries that wait for no time at all: they fire after a batch */
} tree;

/* ---- growing --------------------------------------------------------------------------------- */

static unsigned below(uint64_t *state, unsigned limit)
{
    return (unsigned)(random_next(state) % limit);
}

static int random_error(uint64_t *state)
{
    static const int errors[] = {0, 0, 0, -EIO, -EPIPE, -ECANCELED};
    return errors[below(state, sizeof errors / sizeof errors[0])];
}

/* A random node that has no parent yet. */
static unsigned take_orphan(tree *grown, uint64_t *state, unsigned parent)
{
    unsigned chosen;
    do
        chosen = below(state, parent);
    while (grown->nodes[chosen].parent >= 0);
    grown->nodes[chosen].parent = (int)parent;
    return chosen;
}

static unsigned part_count(kind what, const node *self, unsigned orphans, uint64_t *state)
{
    unsigned wanted = 1 + below(state, MOST_PARTS);
    if (what == SHIELD || what == TIMEOUT)
        wanted = 1;
    if (what == CHAIN)
        wanted = self->on_done == GIVE || self->on_failed == GIVE ? 2 : 1;
    return wanted < orphans ? wanted : orphans;
}

static void grow_node(tree *grown, uint64_t *state, unsigned *orphans)
{
    unsigned number = grown->count;
    node *self = &grown->nodes[number];
    *self = (node){.kind = (kind)(1 + below(state, KINDS - 1)), .parent = -1, .tree = grown};
    self->on_done = (deed)below(state, *orphans > 1 ? DEEDS : GIVE);
    self->on_failed = (deed)below(state, *orphans > 1 ? DEEDS : GIVE);
    self->count = part_count(self->kind, self, *orphans, state);
    for (unsigned i = 0; i < self->count; i++) {
        self->parts[i] = take_orphan(grown, state, number);
        self->instantly[i] = below(state, 4) == 0 ? random_error(state) : 1;
        grown->nodes[self->parts[i]].is_given_later =
            self->kind == RETRY || self->kind == MAP || (self->kind == CHAIN && i == 1);
    }
    self->at_once = below(state, 4);
    grown->count++;
    *orphans -= self->count - 1;
}

static void plan_events(tree *grown, uint64_t *state)
{
    grown->event_count = grown->leaves + below(state, MOST_EVENTS - grown->leaves + 1);
    for (unsigned i = 0; i < grown->event_count; i++) {
        unsigned leaf = below(state, grown->leaves);
        grown->events[i] = (event){
            .what = SETTLE,
            .node = leaf,
            .error = random_error(state),
            .thread = below(state, THREADS),
        };
        if (below(state, 4) == 0) {
            grown->events[i].what = CANCEL;
            grown->events[i].node = below(state, grown->count);
        } else if (below(state, 8) == 0 && !grown->nodes[leaf].is_given_later) {
            grown->events[i].what = DROP;
        }
    }
    while (grown->early < grown->event_count && grown->events[grown->early].what == SETTLE &&
           below(state, 3) == 0)
        grown->early++;
}

static void grow(tree *grown, uint64_t *state)
{
    *grown = (tree){.leaves = 1 + below(state, MOST_LEAVES)};
    grown->count = grown->leaves;
    for (unsigned i = 0; i < grown->leaves; i++)
        grown->nodes[i] = (node){.parent = -1, .tree = grown};
    unsigned orphans = grown->leaves;
    unsigned wanted = grown->leaves + 1 + below(state, MOST_NODES - grown->leaves);
    while (grown->count < wanted && grown->count < MOST_NODES)
        grow_node(grown, state, &orphans);
    plan_events(grown, state);
}

/* ---- the model ------------------------------------------------------------------------------- */

static void write_letter(post *box, letter_kind what, unsigned to, unsigned from)
{
    check(box->count < sizeof box->letters / sizeof box->letters[0]);
    box->letters[box->count++] = (letter){what, to, from};
}

static void model_settle(tree *model, unsigned number, int error, uint64_t sent);

static void model_cancel(tree *model, unsigned number)
{
    node *self = &model->nodes[number];
    if (self->is_settled || self->is_cancelled)
        return;
    if (self->kind == LEAF) {
        model_settle(model, number, -ECANCELED, 0);
    } else {
        self->is_cancelled = true;
        write_letter(&model->mail, CALL_OFF, number, number);
    }
}

static void model_settle(tree *model, unsigned number, int error, uint64_t sent)
{
    node *self = &model->nodes[number];
    if (self->is_settled)
        return;
    self->is_settled = true;
    self->error = error;
    self->sent = sent;
    if (self->is_awaited)
        write_letter(&model->mail, ARRIVED, (unsigned)self->parent, number);
    for (unsigned i = 0; i < self->count && self->kind != SHIELD; i++)
        if (model->nodes[self->parts[i]].is_awaited)
            model_cancel(model, self->parts[i]);
}

static void model_wait(tree *model, unsigned number, unsigned part)
{
    node *self = &model->nodes[number], *other = &model->nodes[self->parts[part]];
    other->is_awaited = other->was_awaited = true;
    self->waiting++;
    if (other->is_settled)
        write_letter(&model->mail, ARRIVED, number, self->parts[part]);
}

static void model_make(tree *model, unsigned number)
{
    const node *self = &model->nodes[number];
    if (self->kind == RETRY || self->kind == MAP) {
        write_letter(&model->mail, BEGIN, number, number);
        return;
    }
    for (unsigned i = 0; i < (self->kind == CHAIN ? 1 : self->count); i++)
        model_wait(model, number, i);
}

static void model_follow(tree *model, unsigned number, int error, uint64_t sent)
{
    node *self = &model->nodes[number];
    deed block = error == 0 ? self->on_done : error != -ECANCELED ? self->on_failed : NO_BLOCK;
    if (self->has_followed)
        block = NO_BLOCK;
    self->has_followed = true;
    if (block == GIVE)
        model_wait(model, number, 1);
    else
        model_settle(model, number, block == MEND ? 0 : block == BREAK ? -EPERM : error, sent);
}

/* What an item brings that comes to its end instantly. */
static uint64_t instant_bytes(unsigned item)
{
    return UINT64_C(1) << (MOST_NODES + item);
}

static void model_start_item(tree *model, unsigned number)
{
    node *self = &model->nodes[number];
    unsigned item = self->started++;
    if (self->instantly[item] > 0) {
        model_wait(model, number, item);
        return;
    }
    self->waiting++;
    write_letter(&model->mail, CAME_INSTANTLY, number, item);
    if (self->instantly[item] != 0)
        self->started = self->count; /* none after it */
}

static void model_judge(tree *model, unsigned number, int error, uint64_t sent)
{
    const node *self = &model->nodes[number];
    if (error == 0 || error == -ECANCELED || self->started == self->count)
        model_settle(model, number, error, sent);
    else
        write_letter(&model->pauses, AGAIN, number, number);
}

static void model_attempt(tree *model, unsigned number)
{
    node *self = &model->nodes[number];
    unsigned attempt = self->started++;
    if (self->instantly[attempt] > 0)
        model_wait(model, number, attempt);
    else
        model_judge(model, number, self->instantly[attempt], instant_bytes(attempt));
}

static bool has_parts(const node *self)
{
    return (self->kind >= ALL && self->kind <= ALL_SETTLED) || self->kind == MAP;
}

static unsigned part_number(const node *self, unsigned from)
{
    unsigned part = 0;
    while (self->parts[part] != from)
        part++;
    return part;
}

static void model_look(tree *model, unsigned number, unsigned part, int error, uint64_t sent)
{
    node *self = &model->nodes[number];
    if (self->is_settled)
        return;
    self->has_come[part] = has_parts(self);
    self->waiting--;
    self->sum += sent;
    switch (self->kind) {
    case CHAIN:
        model_follow(model, number, error, sent);
        break;
    case MAP:
        if (error == 0 && self->started < self->count)
            model_start_item(model, number);
        /* fall through */
    case ALL:
        if (error != 0)
            model_settle(model, number, error, sent);
        else if (self->waiting == 0)
            model_settle(model, number, 0, self->sum);
        break;
    case ANY:
        if (error == 0 || self->waiting == 0)
            model_settle(model, number, error, sent);
        break;
    case ALL_SETTLED:
        if (self->waiting == 0)
            model_settle(model, number, 0, self->sum);
        break;
    case RETRY:
        model_judge(model, number, error, sent);
        break;
    default:
        model_settle(model, number, error, sent);
    }
}

static void model_arrived(tree *model, unsigned number, unsigned from)
{
    node *part = &model->nodes[from];
    part->is_awaited = false;
    model_look(model, number, part_number(&model->nodes[number], from), part->error, part->sent);
}

static void model_begin(tree *model, unsigned number)
{
    node *self = &model->nodes[number];
    if (self->is_settled)
        return;
    if (self->kind == RETRY) {
        model_attempt(model, number);
        return;
    }
    unsigned most = self->at_once == 0 ? self->count : self->at_once;
    for (unsigned i = 0; i < most && self->started < self->count; i++)
        model_start_item(model, number);
}

static void model_deliver(tree *model, letter mail)
{
    node *self = &model->nodes[mail.to];
    switch (mail.what) {
    case ARRIVED:
        model_arrived(model, mail.to, mail.from);
        break;
    case CAME_INSTANTLY:
        model_look(model, mail.to, mail.from, self->instantly[mail.from], instant_bytes(mail.from));
        break;
    case CALL_OFF:
        if (!self->is_settled)
            model_settle(model, mail.to, -ECANCELED, 0);
        break;
    default:
        model_begin(model, mail.to);
    }
}

/* Whether it has settled, and all that it was ever made of. */
static bool is_quiet(const tree *model, const node *self)
{
    bool is = self->is_settled;
    for (unsigned i = 0; i < self->count && is; i++) {
        const node *part = &model->nodes[self->parts[i]];
        is = !part->was_awaited || is_quiet(model, part);
    }
    return is;
}

static void append(post *box, const post *more)
{
    for (unsigned i = 0; i < more->count; i++)
        write_letter(box, more->letters[i].what, more->letters[i].to, more->letters[i].from);
}

static void model_run(tree *model)
{
    while (model->mail.count + model->pauses.count > 0) {
        append(&model->mail, &model->pauses);
        model->pauses.count = 0;
        post batch = model->mail;
        model->mail.count = 0;
        for (unsigned i = 0; i < batch.count; i++)
            model_deliver(model, batch.letters[i]);
    }
}

/* ---- the real ones --------------------------------------------------------------------------- */

static ferry_promise *part_of(const node *self, unsigned part)
{
    return self->tree->nodes[self->parts[part]].promise;
}

static ferry_promise *do_deed(deed what, const node *self, ferry_outcome *outcome)
{
    if (what == GIVE)
        return ferry_promise_ref(part_of(self, 1));
    if (what == MEND)
        outcome->result.error = 0;
    if (what == BREAK)
        outcome->result.error = -EPERM;
    return NULL;
}

static ferry_promise *on_done(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    return do_deed(((const node *)arg)->on_done, arg, outcome);
}

static ferry_promise *on_failed(ferry_promise *, ferry_outcome *outcome, void *arg)
{
    return do_deed(((const node *)arg)->on_failed, arg, outcome);
}

static ferry_promise *start(size_t number, ferry_outcome *outcome, void *arg)
{
    const node *self = arg;
    if (self->instantly[number] > 0)
        return ferry_promise_ref(part_of(self, (unsigned)number));
    outcome->result.error = self->instantly[number];
    outcome->result.sent = instant_bytes((unsigned)number);
    return NULL;
}

static int make_derived(node *self)
{
    const ferry_chain chain = {
        .on_done = self->on_done != NO_BLOCK ? on_done : NULL,
        .on_failed = self->on_failed != NO_BLOCK ? on_failed : NULL,
        .arg = self,
    };
    const ferry_retry retry = {.start = start, .arg = self, .attempts = self->count};
    const ferry_map map = {
        .start = start, .arg = self, .count = self->count, .at_once = self->at_once};
    ferry_promise *parts[MOST_PARTS];
    for (unsigned i = 0; i < self->count; i++)
        parts[i] = part_of(self, i);
    switch (self->kind) {
    case CHAIN:
        return ferry_promise_chain(parts[0], &chain, &self->promise);
    case ALL:
        return ferry_promise_all(parts, self->count, &self->promise);
    case ANY:
        return ferry_promise_any(parts, self->count, &self->promise);
    case RACE:
        return ferry_promise_race(parts, self->count, &self->promise);
    case ALL_SETTLED:
        return ferry_promise_all_settled(parts, self->count, &self->promise);
    case SHIELD:
        return ferry_promise_without_cancel(parts[0], &self->promise);
    case TIMEOUT:
        return ferry_promise_timeout(parts[0], NEVER_MS, &self->promise);
    case RETRY:
        return ferry_promise_retry(&retry, &self->promise);
    case MAP:
        return ferry_promise_map(&map, &self->promise);
    default:
        return ferry_promise_create(&self->promise);
    }
}

static void happen(tree *real, const event *what)
{
    node *self = &real->nodes[what->node];
    const ferry_outcome outcome = {
        .result = {.error = what->error, .sent = UINT64_C(1) << what->node}};
    if (self->promise == NULL)
        return; /* dropped */
    if (what->what == SETTLE) {
        (void)ferry_promise_settle(self->promise, &outcome);
    } else if (what->what == CANCEL) {
        (void)ferry_promise_cancel(self->promise);
    } else {
        self->promise = ferry_promise_unref(self->promise);
    }
}

/* The model's side of it. A promise that was dropped cannot be cancelled any more, except by
 * others. */
static void happen_in_model(tree *model, const event *what, bool was_dropped)
{
    node *self = &model->nodes[what->node];
    if (was_dropped)
        return;
    if (what->what == SETTLE)
        model_settle(model, what->node, what->error, UINT64_C(1) << what->node);
    else if (what->what == CANCEL)
        model_cancel(model, what->node);
    else if (self->parent >= 0)
        model_settle(model, what->node, -ECANCELED, 0);
}

/* Whether such a part is a promise that the test still knows. */
static bool is_known(const node *self, unsigned part)
{
    return part_of(self, part) != NULL && (self->kind != MAP || self->instantly[part] > 0);
}

static void compare_parts(const node *self)
{
    for (unsigned i = 0; i < MOST_PARTS; i++) {
        const ferry_promise *part = ferry_promise_get_member(self->promise, i);
        check_eq(part != NULL, self->is_settled && self->has_come[i]);
        if (part != NULL && is_known(self, i))
            check(part == part_of(self, i));
    }
}

static void compare_quiet(const tree *both, const node *self)
{
    ferry_result result;
    check_eq(ferry_promise_await(self->quiet, 0, &result), is_quiet(both, self) ? 0 : -ETIMEDOUT);
    if (is_quiet(both, self)) {
        check_eq(result.error, self->error);
        check_eq(result.sent, self->sent);
    }
}

static void compare(const tree *both)
{
    for (unsigned i = 0; i < both->count; i++) {
        const node *self = &both->nodes[i];
        ferry_result result;
        if (self->promise == NULL)
            continue;
        check_eq(ferry_promise_await(self->promise, 0, &result), self->is_settled ? 0 : -ETIMEDOUT);
        if (self->is_settled) {
            check_eq(result.error, self->error);
            check_eq(result.sent, self->sent);
        }
        compare_parts(self);
        if (self->quiet != NULL)
            compare_quiet(both, self);
    }
}

/* ---- a wood of them -------------------------------------------------------------------------- */

static tree trees[BATCH];
static uint64_t seed;

static unsigned tree_count(void)
{
    const char *given = getenv("FERRY_TREES");
    return given != NULL ? (unsigned)strtoul(given, NULL, 0) : TREES;
}

static void make_leaves(tree *real)
{
    for (unsigned i = 0; i < real->leaves; i++)
        check_eq(make_derived(&real->nodes[i]), 0);
}

static void make_the_rest(tree *real)
{
    for (unsigned i = real->leaves; i < real->count; i++) {
        node *self = &real->nodes[i];
        check_eq(make_derived(self), 0);
        if (i % 2 == 0)
            check_eq(ferry_promise_when_quiet(self->promise, &self->quiet), 0);
    }
}

static void plant(tree *both)
{
    make_leaves(both);
    for (unsigned i = 0; i < both->early; i++) {
        happen(both, &both->events[i]);
        happen_in_model(both, &both->events[i], false);
    }
    make_the_rest(both);
    for (unsigned i = both->leaves; i < both->count; i++)
        model_make(both, i);
}

static void drop_all(tree *both)
{
    for (unsigned i = 0; i < both->count; i++) {
        both->nodes[i].promise = ferry_promise_unref(both->nodes[i].promise);
        both->nodes[i].quiet = ferry_promise_unref(both->nodes[i].quiet);
    }
}

static void compare_all(void)
{
    run_all();
    for (unsigned i = 0; i < BATCH; i++) {
        model_run(&trees[i]);
        compare(&trees[i]);
    }
}

/* So that everything comes to an end; then all must have settled. */
static void fell(tree *both)
{
    for (unsigned i = 0; i < both->leaves; i++) {
        const event end = {.what = SETTLE, .node = i};
        happen_in_model(both, &end, both->nodes[i].promise == NULL);
        happen(both, &end);
        run_all();
        model_run(both);
    }
    for (unsigned i = 0; i < both->count; i++) {
        const node *self = &both->nodes[i];
        check(self->promise == NULL || self->is_settled);
        check(self->quiet == NULL || is_quiet(both, self));
    }
    compare(both);
    drop_all(both);
}

/* Threads that take turns with the home thread: one step each of all trees. */
typedef struct turns {
    pthread_barrier_t begin;
    pthread_barrier_t end;
    atomic_int step; /* -1: there is no more to do */
} turns;

static turns wood;

static void *do_my_part(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    for (;;) {
        pthread_barrier_wait(&wood.begin);
        int step = atomic_load(&wood.step);
        if (step < 0)
            return NULL;
        for (unsigned i = 0; i < BATCH; i++) {
            unsigned number = trees[i].early + (unsigned)step;
            if (number < trees[i].event_count && trees[i].events[number].thread == me)
                happen(&trees[i], &trees[i].events[number]);
        }
        pthread_barrier_wait(&wood.end);
    }
}

static void take_step(int step)
{
    atomic_store(&wood.step, step);
    for (unsigned i = 0; i < BATCH && step >= 0; i++) {
        tree *model = &trees[i];
        unsigned number = model->early + (unsigned)step;
        if (number < model->event_count)
            happen_in_model(model, &model->events[number],
                            model->nodes[model->events[number].node].promise == NULL);
    }
    pthread_barrier_wait(&wood.begin);
    if (step >= 0)
        pthread_barrier_wait(&wood.end);
}

static void with_threads(void (*body)(void))
{
    pthread_t threads[THREADS];
    check_eq(pthread_barrier_init(&wood.begin, NULL, THREADS + 1), 0);
    check_eq(pthread_barrier_init(&wood.end, NULL, THREADS + 1), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = start_thread(do_my_part, (void *)i);
    body();
    take_step(-1);
    join_threads(threads, THREADS);
    pthread_barrier_destroy(&wood.begin);
    pthread_barrier_destroy(&wood.end);
}

static void grow_and_compare(void)
{
    for (unsigned grown = 0; grown < tree_count(); grown += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            grow(&trees[i], &seed);
            plant(&trees[i]);
        }
        compare_all();
        for (int step = 0; step < MOST_EVENTS; step++) {
            take_step(step);
            compare_all();
        }
        for (unsigned i = 0; i < BATCH; i++)
            fell(&trees[i]);
    }
}

/* Pins: exactly_once. */
PROMISE(trees, outcomes_are_those_of_a_sequential_model_whoever_settles_and_cancels)
{
    seed = random_seed();
    with_threads(grow_and_compare);
}

/* ---- racing within a tree -------------------------------------------------------------------- */

static void *do_my_part_at_once(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < BATCH; i++)
        for (unsigned number = 0; number < trees[i].event_count; number++)
            if (trees[i].events[number].thread == me)
                happen(&trees[i], &trees[i].events[number]);
    return NULL;
}

/* Whether one of its parts has just this outcome. */
static bool is_as_a_part(const node *self, const ferry_result *result)
{
    for (unsigned i = 0; i < self->count; i++) {
        ferry_result part = result_of(part_of(self, i));
        if (part.error == result->error && part.sent == result->sent)
            return true;
    }
    return false;
}

/* Whether all of its parts have succeeded, with so many bytes. */
static bool is_as_all(const node *self, uint64_t sent, bool may_fail)
{
    for (unsigned i = 0; i < self->count; i++) {
        ferry_result part = result_of(part_of(self, i));
        if (part.error != 0 && !may_fail)
            return false;
        sent -= part.sent;
    }
    return sent == 0;
}

static bool is_explained(const node *self)
{
    ferry_result result = result_of(self->promise);
    if (result.error == -ECANCELED && result.sent == 0)
        return true; /* cancelled, or by a part that was */
    switch (self->kind) {
    case LEAF:
    case CHAIN:
        return true;
    case ALL:
    case MAP:
        return result.error == 0 ? is_as_all(self, result.sent, false)
                                 : is_as_a_part(self, &result);
    case ALL_SETTLED:
        return result.error == 0 && is_as_all(self, result.sent, true);
    default:
        return is_as_a_part(self, &result);
    }
}

/* Whether all has settled that it was made of from the beginning. */
static bool has_nothing_below(const node *self)
{
    bool is_group = self->kind >= ALL && self->kind <= TIMEOUT;
    unsigned count = self->kind == CHAIN ? 1 : is_group ? self->count : 0;
    bool has_nothing = ferry_promise_await(self->promise, 0, NULL) == 0;
    for (unsigned i = 0; i < count && has_nothing; i++)
        has_nothing = has_nothing_below(&self->tree->nodes[self->parts[i]]);
    return has_nothing;
}

static void expect_nothing_below(ferry_promise *quiet, const ferry_result *result, void *arg)
{
    const node *self = arg;
    (void)quiet;
    check(has_nothing_below(self));
    check_eq(result->error, result_of(self->promise).error);
}

/* @return how often runs will be counted up. */
static unsigned observe_quiet(tree *real, unsigned *runs)
{
    unsigned count = 0;
    for (unsigned n = 0; n < real->count; n++) {
        node *self = &real->nodes[n];
        if (self->quiet == NULL)
            continue;
        check_eq(ferry_promise_observe(self->quiet, expect_nothing_below, self, NULL), 0);
        check_eq(ferry_promise_observe(self->quiet, count_up, runs, NULL), 0);
        count++;
    }
    return count;
}

/* So that its parts explain all that it comes to. */
static void let_it_give_its_parts(node *self)
{
    for (unsigned i = 0; i < self->count; i++)
        self->instantly[i] = 1;
}

static void plant_and_let_race(void)
{
    pthread_t threads[THREADS];
    unsigned runs = 0, expected = 0;
    for (unsigned i = 0; i < BATCH; i++) {
        grow(&trees[i], &seed);
        for (unsigned number = 0; number < trees[i].event_count; number++)
            if (trees[i].events[number].what == DROP ||
                trees[i].events[number].node >= trees[i].leaves)
                trees[i].events[number] = (event){.what = CANCEL,
                                                  .node = trees[i].events[number].node,
                                                  .thread = trees[i].events[number].thread};
        for (unsigned n = 0; n < trees[i].count; n++)
            let_it_give_its_parts(&trees[i].nodes[n]);
        make_leaves(&trees[i]);
        make_the_rest(&trees[i]);
        expected += trees[i].count;
        for (unsigned n = 0; n < trees[i].count; n++)
            check_eq(ferry_promise_observe(trees[i].nodes[n].promise, count_up, &runs, NULL), 0);
        expected += observe_quiet(&trees[i], &runs);
    }
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = start_thread(do_my_part_at_once, (void *)i);
    for (unsigned i = 0; i < 200; i++)
        check(ferry_inbox_run(0) >= 0);
    join_threads(threads, THREADS);
    for (unsigned i = 0; i < BATCH; i++)
        for (unsigned leaf = 0; leaf < trees[i].leaves; leaf++)
            (void)ferry_promise_settle(trees[i].nodes[leaf].promise, NULL);
    run_all();
    check_eq(runs, expected); /* each settled, and told once */
    for (unsigned i = 0; i < BATCH; i++) {
        for (unsigned n = 0; n < trees[i].count; n++)
            check(is_explained(&trees[i].nodes[n]));
        drop_all(&trees[i]);
    }
}

PROMISE(trees, threads_that_race_within_a_tree_leave_outcomes_that_their_parts_explain)
{
    seed = random_seed();
    for (unsigned grown = 0; grown < tree_count() / 4; grown += BATCH)
        plant_and_let_race();
}
