/* SPDX-License-Identifier: MIT */
/* The owner's side of what is shown of a stream. Dumps look at it in transport/reach/member.c. */
#include "transport/stream/shown.h"

#include <string.h>

/* The path of the file that it sends, or that follows soon, as behind an answer's head; or NULL. */
static const char *path_of(const ferry__request *request)
{
    enum { SOON = 4, SOON_IN_PIECES = 132 };
    size_t left = request->part_count - request->current;
    const ferry__part *part = request->parts + request->current;
    unsigned passed = 0; /* memory in a row counts as one: a large copy is up to 128 parts */
    for (size_t i = 0; i < left && i < SOON_IN_PIECES && passed < SOON; i++) {
        if (part[i].source != NULL && part[i].source->path != NULL)
            return part[i].source->path;
        bool goes_on = i + 1 < left && part[i].source == NULL && part[i + 1].source == NULL;
        passed += !goes_on;
    }
    return NULL;
}

/* The end of a path, as much as fits. */
static const char *end_of(const char *path)
{
    size_t length = strlen(path);
    if (length < FERRY__SHOWN_NAME_BYTES)
        return path;
    path += length - FERRY__SHOWN_NAME_BYTES + 1;
    while (ferry__text_is_inside(path))
        path++;
    return path;
}

static void show_name(ferry__shown_head *shown, const char *name)
{
    uint64_t words[FERRY__SHOWN_NAME_BYTES / sizeof(uint64_t)] = {0};
    memcpy(words, name, ferry__text_fit(name, FERRY__SHOWN_NAME_BYTES - 1));
    for (size_t i = 0; i < FERRY__SHOWN_NAME_BYTES / sizeof(uint64_t); i++)
        atomic_store_explicit(&shown->name[i], words[i], memory_order_relaxed);
}

/* Names it by its label or, if it has none, by a path. */
static void name_head(ferry__shown_head *shown, const ferry__request *head)
{
    shown->label = ferry__promise_label(&head->promise);
    shown->part = head->current;
    const char *path = shown->label == NULL ? path_of(head) : NULL;
    show_name(shown, shown->label != NULL ? shown->label : path != NULL ? end_of(path) : "");
}

/* Whether it is still called the same. */
static bool is_named(const ferry__shown_head *shown, const ferry__request *head)
{
    return shown->part == head->current && shown->label == ferry__promise_label(&head->promise);
}

void ferry__show_head(ferry__shown_head *shown, const ferry__request *head)
{
    if (head != NULL && !head->has_begun)
        head = NULL;
    uint64_t number = head != NULL ? head->promise.result.sequence : FERRY__NO_HEAD;
    if (atomic_load_explicit(&shown->number, memory_order_relaxed) == number &&
        (head == NULL || is_named(shown, head)))
        return;
    if (head != NULL) {
        name_head(shown, head);
        atomic_store_explicit(&shown->since, head->began_at, memory_order_relaxed);
    }
    atomic_store_explicit(&shown->number, number, memory_order_release);
}

void ferry__show_wait(ferry__waiting *shown, ferry__wait what, int64_t now)
{
    if (atomic_load_explicit(&shown->what, memory_order_relaxed) == what)
        return;
    atomic_store_explicit(&shown->since, now, memory_order_relaxed);
    atomic_store_explicit(&shown->what, what, memory_order_release);
}
