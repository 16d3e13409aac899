/* SPDX-License-Identifier: MIT */
#include "core/handover.h"

#if __has_include(<valgrind/helgrind.h>)
#include <valgrind/helgrind.h>
#else
#define RUNNING_ON_VALGRIND                        0
#define ANNOTATE_HAPPENS_BEFORE(address)           (void)(address)
#define ANNOTATE_HAPPENS_AFTER(address)            (void)(address)
#define VALGRIND_HG_DISABLE_CHECKING(memory, size) (void)(memory), (void)(size)
#endif

/* Defined by ThreadSanitizer's runtime, if the program has it. */
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

bool ferry__is_watched;

__attribute__((constructor)) static void look_who_listens(void)
{
    ferry__is_watched = __tsan_release != NULL || RUNNING_ON_VALGRIND;
}

void ferry__tell_handed_over(const void *address)
{
    if (__tsan_release != NULL)
        __tsan_release((void *)(uintptr_t)address);
    ANNOTATE_HAPPENS_BEFORE(address);
}

void ferry__tell_taken_over(const void *address)
{
    if (__tsan_acquire != NULL)
        __tsan_acquire((void *)(uintptr_t)address);
    ANNOTATE_HAPPENS_AFTER(address);
}

void ferry__tell_own(void *memory, size_t size)
{
    VALGRIND_HG_DISABLE_CHECKING(memory, size);
}
