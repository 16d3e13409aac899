/* SPDX-License-Identifier: MIT */
/* A promise as owners have them, which the test settles in an owner's place. */
#ifndef FERRY_TESTS_CORE_OWNED_H
#define FERRY_TESTS_CORE_OWNED_H

#include "core/hooks.h"
#include "core/promise.h"
#include "tests/harness.h"

static inline void destroy_owned(ferry_promise *promise)
{
    ferry__release(promise);
}

static inline ferry_promise *make_owned_of(ferry__inbox *home, const ferry__promise_type *type)
{
    ferry_promise *promise = ferry__allocate(sizeof *promise);
    check(promise != NULL);
    ferry__promise_init(promise, home, type);
    return promise;
}

/* One that cannot be cancelled, as a close's. */
static inline ferry_promise *make_owned(ferry__inbox *home)
{
    static const ferry__promise_type type = {.destroy = destroy_owned};
    return make_owned_of(home, &type);
}

#endif
