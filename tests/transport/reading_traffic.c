/* SPDX-License-Identifier: MIT */
/* Reading much, by many, while things fail: every byte arrives once, in its place. */
#include "tests/notes.h"

#include <errno.h>
