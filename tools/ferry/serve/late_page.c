/* SPDX-License-Identifier: MIT */
#include "late_page.h"

#include "lister.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct late_page {
    struct lister_order order;
    atomic_uint refs;
    const struct site *site;
    late_page_explain *explain;
    bool is_1_1, has_body, keeps_alive; /* as in response.h */
    bool is_ordered;
    atomic_bool is_made; /* error and listing are there */
    int error;
    struct listing *listing;
    ferry_stream *stream; /* while it is ordered: a reference */
    int status;
    struct text head;   /* grows. All of the answer, if it explains why there is no page */
    size_t head_length; /* how much of that is head */
    size_t written;     /* how many bytes of it were written */
    size_t sent;        /* how many bytes of the listing's page were copied */
    char path[];
};

struct late_page *late_page_create(const struct site *site, const char *path,
                                   const struct response *response, late_page_explain *explain)
{
    size_t size = strlen(path) + 1;
    struct late_page *page = calloc(1, sizeof *page + size);
    if (page == NULL)
        return NULL;
    memcpy(page->path, path, size);
    atomic_init(&page->refs, 1);
    page->order.path = page->path;
    page->site = site;
    page->explain = explain;
    page->is_1_1 = response->is_1_1;
    page->has_body = response->has_body;
    page->keeps_alive = response->keeps_alive;
    page->head = text_growing();
    return page;
}

struct late_page *late_page_ref(struct late_page *page)
{
    atomic_fetch_add_explicit(&page->refs, 1, memory_order_relaxed);
    return page;
}

struct late_page *late_page_unref(struct late_page *page)
{
    if (page == NULL || atomic_fetch_sub_explicit(&page->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    (void)listing_unref(page->listing);
    free(page->head.data);
    free(page);
    return NULL;
}

/* ---- making it ------------------------------------------------------------------------------- */

/* Takes: listing. */
static void take_listing(struct late_page *page, struct listing *listing, int error)
{
    page->listing = listing;
    page->error = error;
    atomic_store(&page->is_made, true);
}

/* On the lister's thread. */
static void made(struct lister_order *order, struct listing *listing, int error)
{
    struct late_page *page = (struct late_page *)order;
    ferry_stream *stream = page->stream;
    take_listing(page, listing != NULL ? listing_ref(listing) : NULL, error);
    ferry_stream_wake_generator(stream);
    (void)ferry_stream_unref(stream);
    (void)late_page_unref(page);
}

static void read_here(struct late_page *page)
{
    struct listing *listing = NULL;
    int error = listing_read(page->site, page->path, &listing);
    take_listing(page, listing, error);
}

/* A listing of this second is as good as a new one, and nobody has to be waited for. */
static bool find_at_hand(struct late_page *page)
{
    struct listing *listing = lister_find(page->site->lister, page->path);
    if (listing == NULL)
        return false;
    take_listing(page, listing, 0);
    return true;
}

static void post_order(struct late_page *page)
{
    (void)ferry_stream_ref(page->stream);
    (void)late_page_ref(page);
    page->order.made = made;
    lister_post(page->site->lister, &page->order);
}

/* Its turn has come. */
static void order(struct late_page *page)
{
    page->is_ordered = true;
    if (page->site->lister == NULL || page->stream == NULL)
        read_here(page);
    else if (!find_at_hand(page))
        post_order(page);
}

static void write_answer(const struct late_page *page, struct response *response)
{
    if (page->error != 0) {
        page->explain(response, page->error);
        return;
    }
    response_begin_head(response, 200);
    text_add_string(&response->text, "Content-Type: text/html; charset=utf-8\r\n");
    response_end_head(response, listing_length(page->listing));
}

/* Takes all of the response's text: there is nothing else in such an answer. */
static void write_head(struct late_page *page)
{
    struct response response;
    response_begin(&response, NULL);
    response.is_1_1 = page->is_1_1;
    response.has_body = page->has_body;
    response.keeps_alive = page->keeps_alive;
    write_answer(page, &response);
    page->status = response.status;
    text_add(&page->head, response.text.data, response.text.length);
    page->head_length = response.text.length - (page->error != 0 ? (size_t)response.content : 0);
}

static size_t copy_head(struct late_page *page, char *buffer, size_t size)
{
    size_t left = page->head.length - page->written, step = left < size ? left : size;
    memcpy(buffer, page->head.data + page->written, step);
    page->written += step;
    return step;
}

/* In one piece with the head, as far as there is room. */
static size_t copy(struct late_page *page, char *buffer, size_t size)
{
    size_t count = copy_head(page, buffer, size);
    bool has_page = page->has_body && page->error == 0;
    return has_page
               ? count + listing_write(page->listing, &page->sent, buffer + count, size - count)
               : count;
}

static int64_t generate(void *buffer, size_t size, void *arg)
{
    struct late_page *page = arg;
    if (!page->is_ordered)
        order(page);
    if (!atomic_load(&page->is_made))
        return -EAGAIN;
    if (page->status == 0)
        write_head(page);
    return page->head.is_cut ? -ENOMEM : (int64_t)copy(page, buffer, size);
}

/* ---- sending it ------------------------------------------------------------------------------ */

static void release(void *data, void *arg)
{
    (void)data;
    (void)late_page_unref(arg);
}

ferry_part late_page_part(struct late_page *page)
{
    return ferry_part_generate(generate, page, FERRY_TO_END, release);
}

void late_page_send_on(struct late_page *page, ferry_stream *stream)
{
    page->stream = stream;
}

int late_page_status(const struct late_page *page)
{
    return page->status != 0 ? page->status : 503; /* 503: its turn has never come */
}

uint64_t late_page_sent(const struct late_page *page, const ferry_result *result)
{
    return result->sent > page->head_length ? result->sent - page->head_length : 0;
}
