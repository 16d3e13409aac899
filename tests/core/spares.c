/* SPDX-License-Identifier: MIT */
#include "core/spares.h"

#include "core/mailbox.h"
#include "tests/harness.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

PROMISE(spares, block_on_the_shelf_is_taken_instead_of_allocated)
{
    ferry__shelf shelf = {0};
    ferry__pile pile = {0};
    void *first = ferry__shelf_take(&shelf, FERRY__SPARE_BYTES),
         *second = ferry__shelf_take(&shelf, FERRY__SPARE_BYTES);
    ferry__pile_add(&pile, first);
    ferry__pile_add(&pile, second);
    ferry__pile_put(&pile, &shelf);
    check(pile.first == NULL && pile.count == 0);

    unsigned long made = allocations_made();
    check(ferry__shelf_take(&shelf, FERRY__SPARE_BYTES) == second);
    check(ferry__shelf_take(&shelf, FERRY__SPARE_BYTES) == first);
    check_eq(allocations_made(), made);
    void *third = ferry__shelf_take(&shelf, FERRY__SPARE_BYTES);
    check_eq(allocations_made(), made + 1);
    ferry__spare_free(first);
    ferry__spare_free(second);
    ferry__spare_free(third);
}

PROMISE(spares, bare_shelf_without_memory_gives_none)
{
    ferry__shelf shelf = {0};
    fail_allocation(1);
    check(ferry__shelf_take(&shelf, FERRY__SPARE_BYTES) == NULL);
    allow_allocations();
}

PROMISE(spares, pile_waits_while_there_is_something_on_the_shelf)
{
    ferry__shelf shelf = {0};
    ferry__pile pile = {0};
    void *first = ferry__shelf_take(&shelf, FERRY__SPARE_BYTES),
         *second = ferry__shelf_take(&shelf, FERRY__SPARE_BYTES);
    ferry__pile_add(&pile, first);
    ferry__pile_put(&pile, &shelf);
    ferry__pile_add(&pile, second);
    ferry__pile_put(&pile, &shelf);
    check(pile.first == second);
    check(ferry__shelf_take(&shelf, FERRY__SPARE_BYTES) == first);
    ferry__pile_put(&pile, &shelf);
    check(ferry__shelf_take(&shelf, FERRY__SPARE_BYTES) == second);
    ferry__spare_free(first);
    ferry__spare_free(second);
}

/* However many there were: half a MiB on the pile, and as much on the shelf. */
PROMISE(spares, what_is_more_than_plenty_is_freed)
{
    enum { MANY = 5000, PLENTY = 512 * 1024 / FERRY__SPARE_BYTES };
    static void *blocks[MANY];
    ferry__shelf shelf = {0};
    ferry__pile pile = {0};
    long before = allocations_outstanding();
    for (unsigned i = 0; i < MANY; i++)
        blocks[i] = ferry__shelf_take(&shelf, FERRY__SPARE_BYTES);
    for (unsigned i = 0; i < MANY / 2; i++)
        ferry__pile_add(&pile, blocks[i]);
    ferry__pile_put(&pile, &shelf);
    for (unsigned i = MANY / 2; i < MANY; i++)
        ferry__pile_add(&pile, blocks[i]);
    ferry__pile_put(&pile, &shelf);
    check_eq(allocations_outstanding() - before, 2 * PLENTY);
    check(ferry__spares_free(&pile, &shelf));
    check_eq(allocations_outstanding(), before);
}

/* ---- many takers ----------------------------------------------------------------------------- */

enum { TAKERS = 4, LETTERS = 30000 };

typedef struct letter {
    ferry__mail mail; /* where a spare has its link */
    unsigned taker;
    unsigned number;
    unsigned char filling[200];
} letter;
_Static_assert(sizeof(letter) <= FERRY__SPARE_BYTES, "a letter is a block");

static struct {
    ferry__mailbox mailbox;
    ferry__shelf shelf;
} counter;

static void *take_and_post(void *arg)
{
    const unsigned *taker = arg;
    for (unsigned i = 0; i < LETTERS; i++) {
        letter *taken = ferry__shelf_take(&counter.shelf, sizeof *taken);
        check(taken != NULL);
        taken->taker = *taker;
        taken->number = i;
        memset(taken->filling, (int)(*taker + i), sizeof taken->filling);
        ferry__mailbox_push(&counter.mailbox, &taken->mail);
        if (i % 64 == 0)
            sched_yield(); /* so that the shelf is bare at times, and full at others */
    }
    return NULL;
}

/* Unchanged since it was posted: nobody else has been given the same block. */
static void check_letter(const letter *got, unsigned expected[TAKERS])
{
    check(got->taker < TAKERS);
    check_eq(got->number, expected[got->taker]++);
    for (size_t i = 0; i < sizeof got->filling; i++)
        check_eq(got->filling[i], (unsigned char)(got->taker + got->number));
}

PROMISE(spares, block_has_one_user_at_a_time)
{
    unsigned takers[TAKERS], expected[TAKERS] = {0};
    pthread_t threads[TAKERS];
    ferry__pile pile = {0};
    long before = allocations_outstanding();
    for (unsigned i = 0; i < TAKERS; i++) {
        takers[i] = i;
        check_eq(pthread_create(&threads[i], NULL, take_and_post, &takers[i]), 0);
    }
    for (unsigned got = 0; got < TAKERS * LETTERS;) {
        ferry__mail *chain = ferry__mailbox_take(&counter.mailbox);
        for (ferry__mail *mail; (mail = ferry__mail_next(&chain)) != NULL; got++) {
            check_letter((letter *)(void *)mail, expected);
            ferry__pile_add(&pile, mail);
        }
        ferry__pile_put(&pile, &counter.shelf);
        sched_yield();
    }
    for (unsigned i = 0; i < TAKERS; i++)
        (void)pthread_join(threads[i], NULL);
    check(ferry__spares_free(&pile, &counter.shelf));
    check_eq(allocations_outstanding(), before);
}
