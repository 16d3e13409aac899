#!/bin/bash
# SPDX-License-Identifier: MIT
# A program that is built with ThreadSanitizer, on ferry as it is installed, is not called racy; and if it
# is, it is. Usage: tsan_host.sh PROGRAM
set -u
export TSAN_OPTIONS="io_sync=0 exitcode=66"

if ! said=$("$1" 2>&1); then
    printf 'a correct host was called racy, or failed:\n%s\n' "$said" | head -60
    exit 1
fi
said=$("$1" racy 2>&1)
[ $? -eq 66 ] && grep -q "data race" <<<"$said" && exit 0
printf 'a racy host was not found out:\n%s\n' "$said" | head -60
exit 1
