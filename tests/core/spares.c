/* SPDX-License-Identifier: MIT */
#include "core/spares.h"

#include "core/mailbox.h"
#include "tests/harness.h"

static const ferry__pile roomy = {.most = 8};

/* By a thread that has no pile. */
static void *take_from(ferry__shelf *shelf)
{
    return ferry__spare_take(FERRY__SPARE_512, NULL, shelf, FERRY__SPARE_BYTES);
}

/* Likewise. */
static void drop(void *block)
{
    ferry__pile_add(FERRY__SPARE_512, NULL, block);
}

PROMISE(spares, each_size_up_to_64_kib_has_the_smallest_block_and_wastes_a_third_of_it_at_most)
{
    for (size_t size = 1; size <= FERRY__64K_BYTES; size++) {
        ferry__spare_kind kind = ferry__spare_kind_for(size);
        size_t bytes = ferry__spare_bytes(kind);
        check(bytes >= size);
        if (kind == FERRY__SPARE_512)
            continue;
        check(ferry__spare_bytes(kind - 1) < size);
        check(bytes - size <= bytes / 3);
    }
    check_eq(ferry__spare_kind_for(FERRY__LARGE_BYTES), FERRY__SPARE_LARGE);
    check_eq(ferry__spare_kind_for(FERRY__64K_BYTES), FERRY__SPARE_64K);
    check_eq(ferry__spare_kind_for(FERRY__64K_BYTES + 1), FERRY__NO_SPARE);
    check_eq(ferry__spare_kind_for(SIZE_MAX), FERRY__NO_SPARE);
}

PROMISE(spares, block_on_the_shelf_is_taken_instead_of_allocated)
{
    ferry__shelf shelf = {0};
    ferry__pile pile = roomy;
    void *first = take_from(&shelf), *second = take_from(&shelf);
    ferry__pile_add(FERRY__SPARE_512, &pile, first);
    ferry__pile_add(FERRY__SPARE_512, &pile, second);
    ferry__pile_put(&pile, &shelf);
    check(pile.first == NULL && pile.count == 0);

    unsigned long made = allocations_made();
    check(take_from(&shelf) == second);
    check(take_from(&shelf) == first);
    check_eq(allocations_made(), made);
    void *third = take_from(&shelf);
    check_eq(allocations_made(), made + 1);
    drop(first);
    drop(second);
    drop(third);
}

PROMISE(spares, block_on_the_own_pile_comes_before_those_on_the_shelf)
{
    ferry__shelf shelf = {0};
    ferry__pile owners = roomy, own = roomy;
    void *shelved = take_from(&shelf), *piled = take_from(&shelf);
    ferry__pile_add(FERRY__SPARE_512, &owners, shelved);
    ferry__pile_put(&owners, &shelf);
    ferry__pile_add(FERRY__SPARE_512, &own, piled);

    check(ferry__spare_take(FERRY__SPARE_512, &own, &shelf, 1) == piled);
    check_eq(own.count, 0);
    check(ferry__spare_take(FERRY__SPARE_512, &own, &shelf, 1) == shelved);
    drop(shelved);
    drop(piled);
}

PROMISE(spares, bare_shelf_without_memory_gives_none)
{
    ferry__shelf shelf = {0};
    fail_allocation(1);
    check(take_from(&shelf) == NULL);
    allow_allocations();
}

PROMISE(spares, piles_are_put_on_top_of_one_another)
{
    ferry__shelf shelf = {0};
    ferry__pile pile = roomy;
    void *blocks[4];
    for (unsigned i = 0; i < 4; i++)
        blocks[i] = take_from(&shelf);
    for (unsigned i = 0; i < 4; i++) {
        ferry__pile_add(FERRY__SPARE_512, &pile, blocks[i]);
        if (i % 2 == 1)
            ferry__pile_put(&pile, &shelf);
    }
    check(pile.first == NULL && pile.count == 0);
    for (unsigned i = 4; i-- > 0;)
        check(take_from(&shelf) == blocks[i]);
    unsigned long made = allocations_made();
    drop(take_from(&shelf));
    check_eq(allocations_made(), made + 1);
    for (unsigned i = 0; i < 4; i++)
        drop(blocks[i]);
}

static void pile_up(ferry__pile *pile, void *blocks[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ferry__pile_add(FERRY__SPARE_512, pile, blocks[i]);
}

/* However many there were: two piles at most are put on the shelf, and a third one is kept. */
PROMISE(spares, what_is_more_than_plenty_is_freed)
{
    enum { PLENTY = 100, MANY = 5 * PLENTY };
    static void *blocks[MANY];
    ferry__shelf shelf = {0};
    ferry__pile pile = {.most = PLENTY};
    long before = allocations_outstanding();
    for (unsigned i = 0; i < MANY; i++)
        blocks[i] = take_from(&shelf);
    pile_up(&pile, blocks, PLENTY - 1);
    ferry__pile_put(&pile, &shelf);
    pile_up(&pile, blocks + PLENTY - 1, PLENTY + 1); /* one too many */
    ferry__pile_put(&pile, &shelf);
    check_eq(allocations_outstanding() - before, MANY - 1);
    pile_up(&pile, blocks + 2 * PLENTY, 3 * PLENTY);
    ferry__pile_put(&pile, &shelf);
    check_eq(allocations_outstanding() - before, 3 * PLENTY - 1);
    ferry__pile_free(FERRY__SPARE_512, &pile);
    check_eq(allocations_outstanding() - before, 2 * PLENTY - 1);
    check(ferry__shelf_free(FERRY__SPARE_512, &shelf));
    check_eq(allocations_outstanding(), before);
}

PROMISE(spares, thread_without_a_pile_keeps_none)
{
    ferry__shelf shelf = {0};
    long before = allocations_outstanding();
    drop(take_from(&shelf));
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
        letter *taken = ferry__spare_take(FERRY__SPARE_512, NULL, &counter.shelf, sizeof *taken);
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
    ferry__pile pile = {.most = 1024};
    long before = allocations_outstanding();
    for (unsigned i = 0; i < TAKERS; i++) {
        takers[i] = i;
        threads[i] = start_thread(take_and_post, &takers[i]);
    }
    for (unsigned got = 0; got < TAKERS * LETTERS;) {
        ferry__mail *chain = ferry__mailbox_take(&counter.mailbox);
        for (ferry__mail *mail; (mail = ferry__mail_next(&chain)) != NULL; got++) {
            check_letter((letter *)(void *)mail, expected);
            ferry__pile_add(FERRY__SPARE_512, &pile, mail);
        }
        ferry__pile_put(&pile, &counter.shelf);
        sched_yield();
    }
    join_threads(threads, TAKERS);
    ferry__pile_free(FERRY__SPARE_512, &pile);
    check(ferry__shelf_free(FERRY__SPARE_512, &counter.shelf));
    check_eq(allocations_outstanding(), before);
}
