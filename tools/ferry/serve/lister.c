/* SPDX-License-Identifier: MIT */
#include "lister.h"

#include "http_date.h"
#include "tree.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    MOST_BYTES = 64 * 1024 * 1024, /* of all listings; a thousand names take some 130 KiB */
    KEPT = 256,                    /* directories that many people look at in one second */
    KEPT_BYTES = 8 * 1024 * 1024   /* while all listings take more only the latest is kept */
};

struct lister {
    struct site site; /* root is opened for each listing: it may have been swapped */
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t has_order;
    struct lister_order *first;
    struct lister_order **end; /* where the next one goes */
    bool is_over;
    int64_t now_s;              /* the second that these were made in: */
    struct listing *kept[KEPT]; /* each where the hash of its path says; a newer one replaces it */
};

/* ---- listings of this second ----------------------------------------------------------------- */

static struct listing **place_of(struct lister *lister, const char *path)
{
    return &lister->kept[XXH3_64bits(path, strlen(path)) % KEPT];
}

/* With the lock. */
static void forget_all(struct lister *lister)
{
    for (size_t i = 0; i < KEPT; i++)
        lister->kept[i] = listing_unref(lister->kept[i]);
}

/* With the lock. */
static void look_at_clock(struct lister *lister)
{
    int64_t now_s;
    (void)http_date_now(&now_s);
    if (now_s != lister->now_s)
        forget_all(lister);
    lister->now_s = now_s;
}

struct listing *lister_find(struct lister *lister, const char *path)
{
    (void)pthread_mutex_lock(&lister->lock);
    look_at_clock(lister);
    struct listing *found = *place_of(lister, path);
    bool is_its = found != NULL && strcmp(listing_path(found), path) == 0;
    found = is_its ? listing_ref(found) : NULL;
    (void)pthread_mutex_unlock(&lister->lock);
    return found;
}

/* @param made_s the second in which it began to be made. */
static void keep(struct lister *lister, struct listing *listing, int64_t made_s)
{
    struct listing **place = place_of(lister, listing_path(listing));
    (void)pthread_mutex_lock(&lister->lock);
    look_at_clock(lister);
    if (listing_bytes_in_all() > KEPT_BYTES)
        forget_all(lister);
    if (made_s == lister->now_s) {
        (void)listing_unref(*place);
        *place = listing_ref(listing);
    }
    (void)pthread_mutex_unlock(&lister->lock);
}

/* ---- making ---------------------------------------------------------------------------------- */

static int make(struct lister *lister, const char *path, struct listing **ret_listing)
{
    if (listing_bytes_in_all() > MOST_BYTES)
        return -EAGAIN;
    struct site site = lister->site;
    site.root = tree_open_root(site.directory);
    if (site.root < 0)
        return -EAGAIN;
    int error = listing_read(&site, path, ret_listing);
    (void)close(site.root);
    return error;
}

/* It may have been made since it was ordered. @param ret_listing a reference. */
static int find_or_make(struct lister *lister, const char *path, struct listing **ret_listing)
{
    int64_t now_s;
    (void)http_date_now(&now_s);
    struct listing *found = lister_find(lister, path);
    int error = found != NULL ? 0 : make(lister, path, ret_listing);
    if (found != NULL)
        *ret_listing = found;
    else if (error == 0)
        keep(lister, *ret_listing, now_s);
    return error;
}

static void serve(struct lister *lister, struct lister_order *order, bool is_over)
{
    struct listing *listing = NULL;
    int error = is_over ? -EAGAIN : find_or_make(lister, order->path, &listing);
    order->made(order, listing, error);
    (void)listing_unref(listing);
}

/* @return NULL: the lister ends, and nothing is left to do. */
static struct lister_order *await_order(struct lister *lister, bool *ret_is_over)
{
    (void)pthread_mutex_lock(&lister->lock);
    while (lister->first == NULL && !lister->is_over)
        (void)pthread_cond_wait(&lister->has_order, &lister->lock);
    struct lister_order *order = lister->first;
    if (order != NULL) {
        lister->first = order->next;
        if (lister->first == NULL)
            lister->end = &lister->first;
    }
    *ret_is_over = lister->is_over;
    (void)pthread_mutex_unlock(&lister->lock);
    return order;
}

static void *run(void *arg)
{
    struct lister *lister = arg;
    struct lister_order *order;
    bool is_over;
    while ((order = await_order(lister, &is_over)) != NULL)
        serve(lister, order, is_over);
    return NULL;
}

static int create_thread(struct lister *lister)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&lister->thread, NULL, run, lister);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

int lister_start(const struct site *site, struct lister **ret_lister)
{
    struct lister *lister = calloc(1, sizeof *lister);
    if (lister == NULL)
        return -ENOMEM;
    lister->site = *site;
    lister->end = &lister->first;
    (void)pthread_mutex_init(&lister->lock, NULL);
    (void)pthread_cond_init(&lister->has_order, NULL);
    int error = create_thread(lister);
    if (error == 0)
        *ret_lister = lister;
    else
        free(lister);
    return error;
}

void lister_post(struct lister *lister, struct lister_order *order)
{
    order->next = NULL;
    (void)pthread_mutex_lock(&lister->lock);
    *lister->end = order;
    lister->end = &order->next;
    (void)pthread_cond_signal(&lister->has_order);
    (void)pthread_mutex_unlock(&lister->lock);
}

void lister_stop(struct lister *lister)
{
    if (lister == NULL)
        return;
    (void)pthread_mutex_lock(&lister->lock);
    lister->is_over = true;
    (void)pthread_cond_signal(&lister->has_order);
    (void)pthread_mutex_unlock(&lister->lock);
    (void)pthread_join(lister->thread, NULL);
    forget_all(lister);
    (void)pthread_mutex_destroy(&lister->lock);
    (void)pthread_cond_destroy(&lister->has_order);
    free(lister);
}
