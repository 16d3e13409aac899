/* SPDX-License-Identifier: MIT */
#include "tests/harness.h"

PROMISE(hooks, hooks_are_refused_once_anything_was_allocated)
{
    const ferry_hooks none = {0};
    check_eq(ferry_hooks_set(&none), 0);
    ferry_service *service;
    check_eq(ferry_service_create(NULL, &service), 0);
    check_eq(ferry_hooks_set(&none), -EBUSY);
    ferry_service_destroy(service);
    check_eq(ferry_hooks_set(&none), -EBUSY);
}

PROMISE(hooks, half_an_allocator_is_refused)
{
    const ferry_hooks half = {.release = (void (*)(void *, void *))abort};
    check_eq(ferry_hooks_set(&half), -EINVAL);
    check_eq(ferry_hooks_set(NULL), -EINVAL);
    check_eq(ferry_hooks_set(&(ferry_hooks){.reserved = {1}}), -E2BIG); /* of a later version */
}

PROMISE(hooks, all_memory_comes_from_the_hook)
{
    unsigned long before = allocations_made();
    ferry_service *service;
    check_eq(ferry_service_create(NULL, &service), 0);
    check(allocations_made() > before);
    ferry_service_destroy(service); /* and all goes back to it: the census looks */
}

PROMISE(hooks, service_creation_without_memory_is_enomem_and_leaks_nothing)
{
    AT_END(destroy_service) ferry_service *service = NULL;
    int error;
    unsigned failures = 0;
    do {
        fail_allocation(++failures);
        error = ferry_service_create(NULL, &service);
        check(error == 0 || error == -ENOMEM);
    } while (error != 0);
    allow_allocations();
    check(failures > 3); /* the service, its array, the owner: each was refused once */
}
