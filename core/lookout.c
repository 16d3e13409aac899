/* SPDX-License-Identifier: MIT */
#include "core/lookout.h"

#include "core/clock.h"

#include <limits.h>

static bool look(int64_t span_ns, bool (*has_come)(void *context), void *context)
{
    int64_t until = ferry__clock_now() + span_ns;
    do {
        if (has_come(context))
            return true;
        for (unsigned i = 0; i < 8; i++)
            ferry__pause();
    } while (ferry__clock_now() < until);
    return false;
}

bool ferry__lookout_look(ferry__lookout *self, int64_t span_ns, bool (*has_come)(void *context),
                         void *context)
{
    if (self->left_out > 0) {
        self->left_out--;
        return false;
    }
    bool came = look(span_ns, has_come, context);
    unsigned in_vain = came ? self->in_vain / 2U : 2U * self->in_vain + 1;
    self->in_vain = (unsigned char)(in_vain < UCHAR_MAX ? in_vain : UCHAR_MAX);
    self->left_out = self->in_vain;
    return came;
}
