/* SPDX-License-Identifier: MIT */
/*
 * What libFuzzer throws at the request parser and the target decoder. The first byte says where the
 * rest is cut in two: fed in two pieces it must give what it gives in one. What is understood must
 * keep its promises: pieces lie within the request, and no path leads out.
 */
#include "tools/ferry/serve/request.h"
#include "tools/ferry/serve/target.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_so)
{
    if (!is_so)
        abort();
}

static void check_slice(const struct request *request, struct slice slice)
{
    if (slice.at == NULL)
        return;
    check(slice.at > request->data && slice.length < request->head.length);
    check(slice.at + slice.length < request->data + request->head.length);
    check(memchr(slice.at, '\n', slice.length) == NULL);
}

static void check_target(struct slice text)
{
    static struct target target;
    if (target_parse(text.at, text.length, &target) != 0)
        return;
    check(strlen(target.path) == target.length && target.path[0] != '/');
    static char framed[sizeof target.path + 2];
    framed[0] = '/';
    memcpy(framed + 1, target.path, target.length);
    memcpy(framed + 1 + target.length, "/", 2);
    check(strstr(framed, "/../") == NULL && strstr(framed, "/./") == NULL);
    check(strstr(target.path, "//") == NULL);
    bool has_query = target.query_length > 0;
    check(!has_query ||
          (target.query[0] == '?' && target.query + target.query_length <= text.at + text.length));
}

static void check_whole(const struct request *request, size_t size)
{
    check(request->length <= size && request->head.length <= request->length);
    for (int field = 0; field < REQUEST_FIELDS; field++)
        check_slice(request, request_get(request, (enum request_field)field));
    check_slice(request, request_target(request));
    check_target(request_target(request));
}

/* A place of their own, so that a byte too far is noticed. */
static char *copy(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size > 0 ? size : 1);
    check(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct request whole, cut;
    if (size == 0)
        return 0;
    size_t first = data[0] % size;
    char *bytes = copy(data + 1, size - 1), *piece = copy(data + 1, first);
    request_begin(&whole);
    enum request_state state = request_feed(&whole, bytes, size - 1);
    request_begin(&cut);
    enum request_state other = request_feed(&cut, piece, first);
    if (other == REQUEST_PARTIAL)
        other = request_feed(&cut, bytes, size - 1);
    check(state == other);
    check((state == REQUEST_BAD) == (whole.status != 0));
    if (state == REQUEST_WHOLE) {
        check(whole.length == cut.length);
        check_whole(&whole, size - 1);
        check_whole(&cut, size - 1);
    }
    free(piece);
    free(bytes);
    return 0;
}
