/* SPDX-License-Identifier: MIT */
#include "core/mailbox.h"

#include "core/clock.h"
#include "core/wake.h"
#include "tests/harness.h"

typedef struct letter {
    ferry__mail mail;
    unsigned producer;
    unsigned number;
} letter;

PROMISE(mailbox, mail_is_taken_in_the_order_of_posting)
{
    ferry__mailbox mailbox = {0};
    letter letters[5];
    for (unsigned i = 0; i < 5; i++) {
        letters[i].number = i;
        ferry__mailbox_push(&mailbox, &letters[i].mail);
    }
    check(!ferry__mailbox_is_empty(&mailbox));
    ferry__mail *chain = ferry__mailbox_take(&mailbox);
    check(ferry__mailbox_is_empty(&mailbox));
    for (unsigned i = 0; i < 5; i++)
        check_eq(((letter *)ferry__mail_next(&chain))->number, i);
    check(ferry__mail_next(&chain) == NULL);
}

PROMISE(mailbox, empty_mailbox_gives_nothing)
{
    ferry__mailbox mailbox = {0};
    ferry__mail *chain = ferry__mailbox_take(&mailbox);
    check(chain == NULL && ferry__mail_next(&chain) == NULL);
}

static void check_letters(ferry__mail *chain, const letter letters[], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        check(ferry__mail_next(&chain) == &letters[i].mail);
    check(ferry__mail_next(&chain) == NULL);
}

PROMISE(mailbox, mail_of_its_thread_to_itself_is_taken_in_its_place_among_that_of_others)
{
    ferry__mailbox mailbox = {0};
    ferry__own_mail own = {0};
    letter letters[5];
    ferry__mailbox_push_own(&mailbox, &own, &letters[0].mail);
    ferry__mailbox_push_own(&mailbox, &own, &letters[1].mail);
    check(ferry__mailbox_is_empty(&mailbox));
    ferry__mailbox_push(&mailbox, &letters[2].mail);
    ferry__mailbox_push_own(&mailbox, &own, &letters[3].mail);
    ferry__mailbox_push(&mailbox, &letters[4].mail);
    check_letters(ferry__mailbox_take_with(&mailbox, &own), letters, 5);
    check_letters(ferry__mailbox_take_with(&mailbox, &own), letters, 0);
    ferry__mailbox_push_own(&mailbox, &own, &letters[0].mail);
    check_letters(ferry__own_mail_take(&own), letters, 1);
    check_letters(ferry__own_mail_take(&own), letters, 0);
}

/* ---- many producers, one consumer that sleeps ------------------------------------------------ */

enum { PRODUCERS = 8, LETTERS = 20000 };

static struct {
    ferry__mailbox mailbox;
    ferry__wake wake;
} post_office;

static void *produce(void *arg)
{
    letter *letters = arg;
    for (unsigned i = 0; i < LETTERS; i++) {
        ferry__mailbox_push(&post_office.mailbox, &letters[i].mail);
        ferry__bed bed = ferry__wake_claim(&post_office.wake, true);
        if (bed != FERRY__AWAKE)
            ferry__wake_ring(&post_office.wake, bed);
        if (i % 64 == 0)
            sched_yield(); /* so that the consumer does run dry and sleep */
    }
    return NULL;
}

/* On its fd, if it has one. */
static ferry__mail *wait_for_mail(void)
{
    ferry__bed bed = atomic_load(&post_office.wake.fd) >= 0 ? FERRY__ON_FD : FERRY__ON_FUTEX;
    for (;;) {
        ferry__mail *chain = ferry__mailbox_take(&post_office.mailbox);
        if (chain != NULL)
            return chain;
        ferry__wake_announce(&post_office.wake, bed);
        chain = ferry__mailbox_take(&post_office.mailbox);
        if (chain == NULL)
            ferry__wake_sleep(&post_office.wake, bed, FERRY__NEVER);
        ferry__wake_retract(&post_office.wake);
        ferry__wake_clear(&post_office.wake);
        if (chain != NULL)
            return chain;
    }
}

static void exchange_letters(void)
{
    static letter letters[PRODUCERS][LETTERS];
    pthread_t threads[PRODUCERS];
    for (unsigned p = 0; p < PRODUCERS; p++) {
        for (unsigned i = 0; i < LETTERS; i++)
            letters[p][i] = (letter){.producer = p, .number = i};
        threads[p] = start_thread(produce, letters[p]);
    }
    unsigned next[PRODUCERS] = {0};
    for (unsigned taken = 0; taken < PRODUCERS * LETTERS;) {
        ferry__mail *chain = wait_for_mail();
        for (ferry__mail *mail; (mail = ferry__mail_next(&chain)) != NULL; taken++) {
            const letter *taken_letter = (void *)mail;
            check_eq(taken_letter->number, next[taken_letter->producer]);
            next[taken_letter->producer]++;
        }
    }
    join_threads(threads, PRODUCERS);
    ferry__wake_deinit(&post_office.wake);
}

PROMISE(mailbox, no_mail_is_lost_or_reordered_and_no_wake_up_missed_by_futex)
{
    ferry__wake_init(&post_office.wake);
    exchange_letters();
}

PROMISE(mailbox, no_mail_is_lost_or_reordered_and_no_wake_up_missed_by_eventfd)
{
    ferry__wake_init(&post_office.wake);
    check(ferry__wake_fd(&post_office.wake) >= 0);
    exchange_letters();
}

PROMISE(mailbox, sleep_ends_at_its_deadline)
{
    for (unsigned with_fd = 0; with_fd < 2; with_fd++) {
        ferry__wake wake;
        ferry__wake_init(&wake);
        check(with_fd == 0 || ferry__wake_fd(&wake) >= 0);
        int64_t deadline = ferry__clock_deadline(20);
        ferry__bed bed = with_fd ? FERRY__ON_FD : FERRY__ON_FUTEX;
        ferry__wake_announce(&wake, bed);
        while (ferry__clock_now() < deadline)
            ferry__wake_sleep(&wake, bed, deadline);
        ferry__wake_deinit(&wake);
    }
}

PROMISE(mailbox, waker_of_an_awake_receiver_has_nothing_to_ring)
{
    ferry__wake wake;
    ferry__wake_init(&wake);
    check_eq(ferry__wake_claim(&wake, true), FERRY__AWAKE);
    ferry__wake_announce(&wake, FERRY__ON_FUTEX);
    check_eq(ferry__wake_claim(&wake, true),
             FERRY__ON_FUTEX); /* and only one waker gets the duty */
    check_eq(ferry__wake_claim(&wake, true), FERRY__AWAKE);
    ferry__wake_ring(&wake, FERRY__ON_FUTEX);
    ferry__wake_deinit(&wake);
}

PROMISE(mailbox, dozing_receiver_is_rung_only_for_what_is_urgent)
{
    ferry__wake wake;
    ferry__wake_init(&wake);
    check(ferry__wake_fd(&wake) >= 0);
    ferry__wake_announce(&wake, FERRY__DOZING);
    check_eq(ferry__wake_claim(&wake, false), FERRY__AWAKE);
    check_eq(ferry__wake_claim(&wake, true), FERRY__DOZING);
    ferry__wake_ring(&wake, FERRY__DOZING);
    ferry__wake_sleep(&wake, FERRY__DOZING,
                      FERRY__NEVER); /* it was rung: its eventfd is readable */
    ferry__wake_announce(&wake, FERRY__ON_FD);
    check_eq(ferry__wake_claim(&wake, false), FERRY__ON_FD);
    ferry__wake_ring(&wake, FERRY__ON_FD);
    ferry__wake_deinit(&wake);
}

typedef struct closing {
    ferry__wake wake;
    atomic_int id;
} closing;

static void *close_wake(void *arg)
{
    closing *self = arg;
    atomic_store(&self->id, gettid());
    ferry__wake_deinit(&self->wake);
    return NULL;
}

PROMISE(mailbox, who_closes_a_wake_up_sleeps_until_the_rings_owed_are_made)
{
    closing self = {.id = 0};
    ferry__wake_init(&self.wake);
    check(ferry__wake_fd(&self.wake) >= 0);
    ferry__wake_announce(&self.wake, FERRY__ON_FD);
    check_eq(ferry__wake_claim(&self.wake, true), FERRY__ON_FD);
    ferry__wake_announce(&self.wake, FERRY__ON_FUTEX);
    check_eq(ferry__wake_claim(&self.wake, true), FERRY__ON_FUTEX);
    pthread_t closer = start_thread(close_wake, &self);
    while (atomic_load(&self.id) == 0)
        sched_yield();
    wait_until_thread_sleeps(atomic_load(&self.id));
    ferry__wake_disclaim(&self.wake);
    wait_until_thread_sleeps(atomic_load(&self.id)); /* one is not all */
    check(atomic_load(&self.wake.fd) >= 0);
    ferry__wake_ring(&self.wake, FERRY__ON_FD);
    check_eq(pthread_join(closer, NULL), 0);
    check_eq(atomic_load(&self.wake.fd), -1);
}
