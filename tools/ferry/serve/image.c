/* SPDX-License-Identifier: MIT */
#include "image.h"

#include "http_date.h"

#include <stdlib.h>

static struct image *allocate(size_t length)
{
    struct image *image = malloc(sizeof *image + length);
    if (image == NULL)
        return NULL;
    atomic_init(&image->refs, 1);
    image->length = length;
    return image;
}

struct image *image_create(const struct text *head, size_t body_length)
{
    struct image *image = allocate(head->length + body_length);
    if (image == NULL)
        return NULL;
    image->head_length = head->length;
    image->date_s = -1;
    memcpy(image->bytes, head->data, head->length);
    return image;
}

static struct image *copy(const struct image *image)
{
    struct image *other = allocate(image->length);
    if (other == NULL)
        return NULL;
    other->head_length = image->head_length;
    memcpy(other->bytes, image->bytes, image->length);
    return other;
}

struct image *image_refresh(struct image *image)
{
    int64_t now_s;
    const char *date = http_date_now(&now_s);
    if (image->date_s == now_s)
        return image;
    /* Acquire pairs with the release in unref: all others have read the image. */
    if (atomic_load_explicit(&image->refs, memory_order_acquire) > 1) {
        struct image *other = copy(image);
        if (other == NULL)
            return image;
        (void)image_unref(image);
        image = other;
    }
    memcpy(image->bytes + sizeof IMAGE_STATUS_LINE - 1, date, HTTP_DATE_LENGTH);
    image->date_s = now_s;
    return image;
}

struct image *image_ref(struct image *image)
{
    atomic_fetch_add_explicit(&image->refs, 1, memory_order_relaxed);
    return image;
}

struct image *image_unref(struct image *image)
{
    if (image != NULL && atomic_fetch_sub_explicit(&image->refs, 1, memory_order_acq_rel) == 1)
        free(image);
    return NULL;
}

void image_release(void *data, void *image)
{
    (void)data;
    (void)image_unref(image);
}
