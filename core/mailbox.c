/* SPDX-License-Identifier: MIT */
#include "core/mailbox.h"

#include "core/handover.h"

#include <ck_pr.h>
#include <ck_stack.h>
#include <stddef.h>

_Static_assert(sizeof(struct ck_stack) == sizeof(ferry__mailbox), "a mailbox is a ck_stack");
_Static_assert(sizeof(struct ck_stack_entry) == sizeof(void *), "a link is a ck_stack_entry");
_Static_assert(offsetof(ferry__mail, link) == 0, "a mail begins with its link");

static struct ck_stack *stack_of(ferry__mailbox *mailbox)
{
    return (struct ck_stack *)(void *)mailbox;
}

static struct ck_stack_entry *entry_of(ferry__mail *mail)
{
    return (struct ck_stack_entry *)(void *)mail;
}

static ferry__mail *mail_of(struct ck_stack_entry *entry)
{
    return (ferry__mail *)(void *)entry;
}

/* Newest first becomes oldest first. */
static struct ck_stack_entry *reverse(struct ck_stack_entry *entry)
{
    struct ck_stack_entry *reversed = NULL;
    while (entry != NULL) {
        struct ck_stack_entry *older = entry->next;
        entry->next = reversed;
        reversed = entry;
        entry = older;
    }
    return reversed;
}

static inline void push(ferry__mailbox *mailbox, ferry__mail *mail)
{
    /* What the sender read of the mail's owner it has read before it gives the mail away: libck
     * itself orders stores only. Free on x86. */
    ck_pr_fence_release();
    ck_stack_push_upmc(stack_of(mailbox), entry_of(mail));
    /* P0: push, then read whether the receiver sleeps. Pairs with T0: if that take missed this
     * mail, what its thread wrote before (that it sleeps) is seen here. Free on x86. */
    ck_pr_fence_atomic_load();
}

/* Apart, so that what it needs to remember is not saved where nobody listens. */
static __attribute__((noinline)) void push_watched(ferry__mailbox *mailbox, ferry__mail *mail)
{
    ferry__handed_over(mail);
    push(mailbox, mail);
}

void ferry__mailbox_push(ferry__mailbox *mailbox, ferry__mail *mail)
{
    if (__builtin_expect(ferry__is_watched, false))
        push_watched(mailbox, mail);
    else
        push(mailbox, mail);
}

ferry__mail *ferry__mailbox_take(ferry__mailbox *mailbox)
{
    /* T0: the receiver wrote that it sleeps, then takes. A read-modify-write, not a load: a plain
     * look at the head may be satisfied before that store is visible, and the wake-up is lost. */
    ck_pr_fence_store_atomic();
    return mail_of(reverse(ck_stack_batch_pop_upmc(stack_of(mailbox))));
}

bool ferry__mailbox_looks_empty(const ferry__mailbox *mailbox)
{
    return ck_pr_load_ptr(&mailbox->stack[0]) == NULL;
}

bool ferry__mailbox_is_empty(const ferry__mailbox *mailbox)
{
    ck_pr_fence_store_load(); /* as T0, for a plain look */
    return ferry__mailbox_looks_empty(mailbox);
}

void ferry__mailbox_push_own(ferry__mailbox *mailbox, ferry__own_mail *own, ferry__mail *mail)
{
    if (!ferry__mailbox_looks_empty(mailbox)) { /* it stands behind that */
        ferry__mailbox_push(mailbox, mail);
        return;
    }
    entry_of(mail)->next = NULL;
    if (own->first == NULL)
        own->first = mail;
    else
        entry_of(own->last)->next = entry_of(mail);
    own->last = mail;
}

ferry__mail *ferry__own_mail_take(ferry__own_mail *own)
{
    ferry__mail *first = own->first;
    own->first = NULL;
    return first;
}

ferry__mail *ferry__mailbox_take_with(ferry__mailbox *mailbox, ferry__own_mail *own)
{
    ferry__mail *others = ferry__mailbox_take(mailbox);
    if (own->first == NULL)
        return others;
    entry_of(own->last)->next = others != NULL ? entry_of(others) : NULL;
    return ferry__own_mail_take(own);
}

/*
 * Takes a mail over, and tells a sanitizer. Not inlined, so that a plain hand-out saves no
 * registers.
 */
static __attribute__((noinline)) ferry__mail *hand_watched(ferry__mail *mail)
{
    ferry__taken_over(mail);
    return mail;
}

ferry__mail *ferry__mail_next(ferry__mail **chain)
{
    ferry__mail *mail = *chain;
    if (mail == NULL)
        return NULL;
    *chain = mail_of(entry_of(mail)->next); /* the mailbox's own: handed over by its atomics */
    return __builtin_expect(ferry__is_watched, false) ? hand_watched(mail) : mail;
}
