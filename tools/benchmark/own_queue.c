/* SPDX-License-Identifier: MIT */
#include "own_queue.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

enum { LIMIT = 4096 }; /* writes that wait; some memory pages, and several calls' worth */

typedef struct item {
    struct item *next;
    size_t length;
    char bytes[];
} item;

struct own_queue {
    int fd;
    pthread_t thread;
    pthread_mutex_t mutex; /* around all that follows */
    pthread_cond_t more;
    pthread_cond_t room;
    item *first;
    item **end; /* where the next one goes */
    size_t count;
    bool is_ending;
    int error; /* of the first call that failed */
};

/* ---- the thread ------------------------------------------------------------------------------ */

/* Waits until there are writes. @return all of them; NULL: there will be no more. */
static item *take_all(own_queue *q)
{
    (void)pthread_mutex_lock(&q->mutex);
    while (q->first == NULL && !q->is_ending)
        (void)pthread_cond_wait(&q->more, &q->mutex);
    item *all = q->first;
    q->first = NULL;
    q->end = &q->first;
    q->count = 0;
    (void)pthread_cond_broadcast(&q->room);
    (void)pthread_mutex_unlock(&q->mutex);
    return all;
}

/* Leaves out of a gather what a call has sent. @return how many pieces are done. */
static int skip(struct iovec pieces[], int count, size_t sent)
{
    int done = 0;
    for (; done < count && sent >= pieces[done].iov_len; done++)
        sent -= pieces[done].iov_len;
    if (done < count) {
        pieces[done].iov_base = (char *)pieces[done].iov_base + sent;
        pieces[done].iov_len -= sent;
    }
    return done;
}

static int send_pieces(int fd, struct iovec pieces[], int count)
{
    while (count > 0) {
        ssize_t sent = writev(fd, pieces, count);
        if (sent < 0 && errno != EINTR)
            return -errno;
        int done = skip(pieces, count, sent > 0 ? (size_t)sent : 0);
        pieces += done;
        count -= done;
    }
    return 0;
}

/* @return what comes behind those that fill one call. */
static item *send_some(own_queue *q, item *all, int *ret_error)
{
    struct iovec pieces[IOV_MAX];
    int count = 0;
    for (; all != NULL && count < IOV_MAX; all = all->next)
        pieces[count++] = (struct iovec){all->bytes, all->length};
    *ret_error = send_pieces(q->fd, pieces, count);
    return all;
}

static void free_until(item *all, const item *end)
{
    while (all != end) {
        item *next = all->next;
        free(all);
        all = next;
    }
}

static void note_error(own_queue *q, int error)
{
    (void)pthread_mutex_lock(&q->mutex);
    q->error = q->error == 0 ? error : q->error;
    (void)pthread_mutex_unlock(&q->mutex);
}

static void *send_all(void *context)
{
    own_queue *q = context;
    for (item *all; (all = take_all(q)) != NULL;)
        while (all != NULL) {
            int error;
            item *rest = send_some(q, all, &error);
            free_until(all, rest);
            if (error != 0)
                note_error(q, error);
            all = rest;
        }
    return NULL;
}

/* ---- its users ------------------------------------------------------------------------------- */

own_queue *own_queue_create(int fd)
{
    own_queue *q = calloc(1, sizeof *q);
    if (q == NULL)
        return NULL;
    q->fd = fd;
    q->end = &q->first;
    (void)pthread_mutex_init(&q->mutex, NULL);
    (void)pthread_cond_init(&q->more, NULL);
    (void)pthread_cond_init(&q->room, NULL);
    if (pthread_create(&q->thread, NULL, send_all, q) == 0)
        return q;
    free(q);
    return NULL;
}

int own_queue_write(own_queue *q, const void *data, size_t length)
{
    item *new = malloc(sizeof *new + length);
    if (new == NULL)
        return -ENOMEM;
    *new = (item){.length = length};
    memcpy(new->bytes, data, length);
    (void)pthread_mutex_lock(&q->mutex);
    while (q->count >= LIMIT)
        (void)pthread_cond_wait(&q->room, &q->mutex);
    *q->end = new;
    q->end = &new->next;
    if (q->count++ == 0)
        (void)pthread_cond_signal(&q->more);
    int error = q->error;
    (void)pthread_mutex_unlock(&q->mutex);
    return error;
}

int own_queue_destroy(own_queue *q)
{
    (void)pthread_mutex_lock(&q->mutex);
    q->is_ending = true;
    (void)pthread_cond_signal(&q->more);
    (void)pthread_mutex_unlock(&q->mutex);
    (void)pthread_join(q->thread, NULL);
    int error = q->error;
    (void)pthread_cond_destroy(&q->room);
    (void)pthread_cond_destroy(&q->more);
    (void)pthread_mutex_destroy(&q->mutex);
    free(q);
    return error;
}
