#!/bin/bash
# SPDX-License-Identifier: MIT
# A program on ferry as it is installed is not called racy, by ThreadSanitizer if it is built with
# that, or by helgrind; and if it is, it is. Usage: watched_host.sh PROGRAM [CHECKER [ARGUMENT...]]
set -u
export TSAN_OPTIONS="io_sync=0 exitcode=66"
command=("${@:2}" "$1")

if ! said=$("${command[@]}" 2>&1); then
    printf 'a correct host was called racy, or failed:\n%s\n' "$said" | head -60
    exit 1
fi
said=$("${command[@]}" racy 2>&1)
[ $? -eq 66 ] && grep -q "data race" <<<"$said" && exit 0
printf 'a racy host was not found out:\n%s\n' "$said" | head -60
exit 1
