/* SPDX-License-Identifier: MIT */
#include "tools/ferry/serve/text.h"

#include "tests/harness.h"

static void check_text(const struct text *text, const char *expected)
{
    check_eq(text->length, strlen(expected));
    check(memcmp(text->data, expected, text->length) == 0);
}

PROMISE(text, pieces_stand_one_behind_the_other)
{
    char buffer[64];
    struct text text = text_in(buffer, sizeof buffer);
    text_add_string(&text, "a");
    text_add(&text, "bcd", 2);
    text_add_number(&text, 0);
    text_add_number(&text, UINT64_MAX);
    text_add_hex(&text, 0xabc0);
    check_text(&text, "abc018446744073709551615abc0");
    check(!text.is_cut);
}

PROMISE(text, what_does_not_fit_is_left_out_whole_and_all_behind_it)
{
    char buffer[4];
    struct text text = text_in(buffer, sizeof buffer);
    text_add_string(&text, "abc");
    check(!text.is_cut);
    text_add_string(&text, "de");
    check(text.is_cut);
    text_add_string(&text, "f");
    check_text(&text, "abc");
}

PROMISE(text, growing_text_has_room_for_all)
{
    struct text text = text_growing();
    for (int i = 0; i < 100000; i++)
        text_add_string(&text, "ten bytes.");
    check(!text.is_cut);
    check_eq(text.length, 1000000);
    check(memcmp(text.data + 999990, "ten bytes.", 10) == 0);
    free(text.data);
}

PROMISE(text, html_has_no_markup_left)
{
    char buffer[128];
    struct text text = text_in(buffer, sizeof buffer);
    text_add_html(&text, "<a href=\"x\" on='y'>&amp;");
    check_text(&text, "&lt;a href=&quot;x&quot; on=&#39;y&#39;&gt;&amp;amp;");
}

PROMISE(text, url_has_only_unreserved_characters_and_slashes)
{
    char buffer[128];
    struct text text = text_in(buffer, sizeof buffer);
    static const char path[] = "dir/a b%?#\r\n:\xc3\xa9-._~";
    text_add_url(&text, path, sizeof path - 1);
    check_text(&text, "dir/a%20b%25%3F%23%0D%0A%3A%C3%A9-._~");
}

PROMISE(text, query_stays_as_it_is_but_for_what_no_url_has)
{
    char buffer[128];
    struct text text = text_in(buffer, sizeof buffer);
    static const char query[] = "?a=%C3%A9&b=\xc3\xa9\"|+/#\r\n \x7f<>[]{}\\^`-._~!$'()*,;:@?";
    text_add_query(&text, query, sizeof query - 1);
    check_text(&text, "?a=%C3%A9&b=%C3%A9%22%7C+/%23%0D%0A%20%7F%3C%3E%5B%5D%7B%7D%5C%5E%60"
                      "-._~!$'()*,;:@?");
}
