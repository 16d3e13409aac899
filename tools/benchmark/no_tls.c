/* SPDX-License-Identifier: MIT */
/* In tls.c's place, where libferry-tls was not built. */
#include "comparisons.h"

#include <errno.h>

int tls_compare(const bench *settings)
{
    (void)settings;
    return complain("tls: this ferry was built without it", -EOPNOTSUPP);
}
