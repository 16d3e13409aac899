/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/authority.h"

#include "tests/harness.h"

static bool is_valid(const char *text)
{
    return authority_is_valid((struct slice){text, strlen(text)});
}

PROMISE(authority, names_and_addresses_with_and_without_a_port_are_some)
{
    static const char *const texts[] = {
        "h",
        "localhost",
        "example.org",
        "example.org.",
        "EXAMPLE.org:80",
        "a-b_c~d.e",
        "a:",
        "a:0",
        "a:65535",
        "a:00080",
        "192.0.2.1",
        "192.0.2.1:8080",
        "[::1]",
        "[::1]:80",
        "[::1]:",
        "[2001:db8::1]",
        "[::ffff:1.2.3.4]:80",
        "xn--bcher-kva.example",
        "a%41b",
        "1",
        "a!$&'()*+;=b",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check(is_valid(texts[i]));
}

PROMISE(authority, what_names_no_host_is_none)
{
    static const char *const texts[] = {
        "",
        ":",
        ":80",
        "a:b",
        "a:80:80",
        "a:80 ",
        "a:+80",
        "a:-1",
        "a:8o",
        "a:65536",
        "a:99999999999999999999",
        "::1",
        "::1:80",
        "[",
        "[]",
        "[::1",
        "::1]",
        "[::1]a",
        "[::1]80",
        "[::1]:a",
        "[[::1]]",
        "[1.2.3.4]",
        "[:::1]",
        "[::1%25e]",
        "[::1]:80:80",
        "[g::1]",
        "a..b",
        ".",
        ".a",
        "a..",
        "..",
        "a%zz",
        "a%4",
        "a%",
        "%",
        "a b",
        " a",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "u@a",
        "u:p@a",
        "a,b",
        "a\"b",
        "<a>",
        "a\tb",
        "a\x01",
        "a\x7f",
        "a\xc3\xa9",
        "a[b]",
        "{a}",
        "a|b",
        "a^b",
        "[00000000000000000000000000000000000000000000000000000000::1]",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (is_valid(texts[i]))
            fprintf(stderr, "%s\n", texts[i]);
        check(!is_valid(texts[i]));
    }
    check(!authority_is_valid((struct slice){"a\0b", 3}));
    check(!authority_is_valid((struct slice){"[::1\0]", 6}));
}
