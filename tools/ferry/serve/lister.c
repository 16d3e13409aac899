/* SPDX-License-Identifier: MIT */
#include "lister.h"

#include "http_date.h"
#include "tree.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { MOST_BYTES = 64 * 1024 * 1024 }; /* of all listings; a thousand names take some 50 KiB */

struct lister {
    struct site site; /* root is opened for each listing: it may have been swapped */
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t has_order;
    struct lister_order *first;
    struct lister_order **end; /* where the next one goes */
    bool is_over;
    struct listing *latest; /* the thread's; and when it was made */
    int64_t made_s;
};

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

/* For a second the latest listing is as good as a new one, as in caches. */
static int find_or_make(struct lister *lister, const char *path)
{
    int64_t now_s;
    (void)http_date_now(&now_s);
    if (lister->latest != NULL && lister->made_s == now_s &&
        strcmp(listing_path(lister->latest), path) == 0)
        return 0;
    lister->latest = listing_unref(lister->latest);
    lister->made_s = now_s;
    return make(lister, path, &lister->latest);
}

static void serve(struct lister *lister, struct lister_order *order, bool is_over)
{
    int error = is_over ? -EAGAIN : find_or_make(lister, order->path);
    order->made(order, error == 0 ? lister->latest : NULL, error);
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
    lister->latest = listing_unref(lister->latest);
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
    (void)pthread_mutex_destroy(&lister->lock);
    (void)pthread_cond_destroy(&lister->has_order);
    free(lister);
}
