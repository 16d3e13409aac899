/* SPDX-License-Identifier: MIT */
/*
 * Who reads directories, and how often.
 *
 * Linked with --wrap=http_date_now: what second it is, the tests say.
 */
#include "tools/ferry/serve/lister.h"

#include "tests/support.h"
#include "tests/tools/serve/tree_support.h"
#include "tools/ferry/serve/http_date.h"
#include "tools/ferry/serve/late_page.h"

#include <semaphore.h>

/* ---- what the tests share -------------------------------------------------------------------- */

static _Atomic int64_t second = 1000;
static _Atomic int64_t step; /* that follows the next look at the clock */

WRAPPED(const char *, http_date_now, (int64_t * ret_seconds))
{
    int64_t now_s = atomic_fetch_add(&second, atomic_exchange(&step, 0));
    if (ret_seconds != NULL)
        *ret_seconds = now_s;
    return "Sun, 06 Nov 1994 08:49:37 GMT";
}

struct house {
    struct grown_tree tree;
    struct lister *lister;
};

static struct house open_house(void)
{
    struct house h = {.tree = tree_grow()};
    check_eq(lister_start(&h.tree.site, &h.lister), 0);
    return h;
}

static void close_house(struct house *h)
{
    lister_stop(h->lister);
    check_eq(listing_bytes_in_all(), 0);
    tree_fell(&h->tree);
}

struct asked {
    struct lister_order order; /* first */
    sem_t is_made;
    struct listing *listing; /* a reference */
};

static void made(struct lister_order *order, struct listing *listing, int error)
{
    struct asked *asked = (struct asked *)order;
    check_eq(error, 0);
    asked->listing = listing_ref(listing);
    sem_post(&asked->is_made);
}

/* @return a reference. */
static struct listing *get(struct lister *lister, const char *path)
{
    struct asked asked = {.order = {.path = path, .made = made}};
    sem_init(&asked.is_made, 0, 0);
    lister_post(lister, &asked.order);
    while (sem_wait(&asked.is_made) != 0) {
    }
    sem_destroy(&asked.is_made);
    return asked.listing;
}

/* Whether a directory's listing is at hand. */
static bool is_at_hand(struct lister *lister, const char *path)
{
    struct listing *listing = lister_find(lister, path);
    bool is_there = listing != NULL;
    (void)listing_unref(listing);
    return is_there;
}

static void make(struct lister *lister, const char *path)
{
    (void)listing_unref(get(lister, path));
}

/* ---- tests ----------------------------------------------------------------------------------- */

PROMISE(lister, listing_is_made_once_a_second)
{
    AT_END(close_house) struct house h = open_house();
    check(!is_at_hand(h.lister, ""));
    struct listing *first = get(h.lister, ""), *again = get(h.lister, ""),
                   *found = lister_find(h.lister, "");
    check(first == again && first == found);
    atomic_fetch_add(&second, 1);
    check(!is_at_hand(h.lister, ""));
    struct listing *later = get(h.lister, "");
    check(later != first);
    (void)listing_unref(first);
    (void)listing_unref(again);
    (void)listing_unref(found);
    (void)listing_unref(later);
}

PROMISE(lister, listing_that_took_until_the_next_second_is_not_kept)
{
    AT_END(close_house) struct house h = open_house();
    atomic_store(&step, 1);
    make(h.lister, "");
    check(!is_at_hand(h.lister, ""));
}

PROMISE(lister, listings_of_several_directories_are_at_hand)
{
    static const char *const paths[] = {"", "a/", "b/", "a/b/"};
    enum { PATHS = sizeof paths / sizeof paths[0] };
    AT_END(close_house) struct house h = open_house();
    for (unsigned i = 1; i < PATHS; i++)
        tree_make_directory(&h.tree, paths[i]);
    for (unsigned i = 0; i < PATHS; i++)
        make(h.lister, paths[i]);
    for (unsigned i = 0; i < PATHS; i++) {
        struct listing *listing = lister_find(h.lister, paths[i]);
        check(listing != NULL && strcmp(listing_path(listing), paths[i]) == 0);
        (void)listing_unref(listing);
    }
}

/* A directory whose page takes four megabytes of memory. */
static void fill(const struct grown_tree *tree, const char *directory)
{
    char path[300], name[251];
    memset(name, '&', sizeof name - 1); /* in a page eight times as long */
    name[sizeof name - 1] = '\0';
    tree_make_directory(tree, directory);
    for (int i = 0; i < 1200; i++) {
        snprintf(path, sizeof path, "%s/%04d%s", directory, i, name);
        tree_put(tree, path, "");
    }
}

PROMISE(lister, while_listings_take_much_only_the_latest_is_kept)
{
    AT_END(close_house) struct house h = open_house();
    fill(&h.tree, "a");
    fill(&h.tree, "b");
    make(h.lister, "");
    make(h.lister, "a/");
    check(is_at_hand(h.lister, "") && is_at_hand(h.lister, "a/"));
    make(h.lister, "b/");
    check(!is_at_hand(h.lister, "") && !is_at_hand(h.lister, "a/") && is_at_hand(h.lister, "b/"));
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void explain(struct response *, int error)
{
    check_eq(error, 0);
}

static ferry_part ask(const struct house *h, ferry_stream *stream)
{
    struct response response;
    response_begin(&response, NULL);
    struct late_page *page = late_page_create(&h->tree.site, "", &response, explain);
    check(page != NULL);
    late_page_send_on(page, stream);
    return late_page_part(page);
}

/* Nobody is woken, and head and page leave together. */
PROMISE(lister, page_at_hand_is_written_at_once_and_in_one_piece)
{
    char buffer[8192];
    AT_END(close_house) struct house h = open_house();
    AT_END(stage_close) stage s = stage_open(FERRY_PLACEMENT_SHARED, unix_pair(SOCK_STREAM));
    h.tree.site.lister = h.lister;
    make(h.lister, "");
    ferry_part part = ask(&h, s.stream);
    int64_t count = part.generate(buffer, sizeof buffer - 1, part.arg);
    check(count > 0);
    buffer[count] = '\0';
    check(strncmp(buffer, "HTTP/1.1 200 OK\r\n", 17) == 0 && strstr(buffer, "</table>\n") != NULL);
    check_eq(part.generate(buffer, sizeof buffer, part.arg), 0);
    part.release((void *)part.data, part.arg);
}
