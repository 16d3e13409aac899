/* SPDX-License-Identifier: MIT */
#include "head.h"

#include <assert.h>
#include <string.h>

/* ---- what may follow what -------------------------------------------------------------------- */

enum byte_class {
    CONTROL, /* and DEL: nowhere */
    TAB,     /* within a value */
    LF,
    CR,
    BLANK,
    TOKEN, /* what names are made of (RFC 9110, 5.6.2) */
    COLON,
    OTHER, /* all else of ASCII that can be seen, and all beyond ASCII */
    CLASSES
};

static const uint8_t classes[256] = {
    ['\t'] = TAB,
    ['\n'] = LF,
    ['\r'] = CR,
    [' '] = BLANK,
    [':'] = COLON,
    ['!'] = TOKEN,
    ['"'] = OTHER,
    ['#' ... '\''] = TOKEN,
    ['(' ... ')'] = OTHER,
    ['*' ... '+'] = TOKEN,
    [','] = OTHER,
    ['-' ... '.'] = TOKEN,
    ['/'] = OTHER,
    ['0' ... '9'] = TOKEN,
    [';' ... '@'] = OTHER,
    ['A' ... 'Z'] = TOKEN,
    ['[' ... ']'] = OTHER,
    ['^' ... 'z'] = TOKEN,
    ['{'] = OTHER,
    ['|'] = TOKEN,
    ['}'] = OTHER,
    ['~'] = TOKEN,
    [0x80 ... 0xff] = OTHER,
};

/* What is not here is refused: HEAD_REFUSED is 0. */
static const uint8_t next_states[HEAD_STATES][CLASSES] = {
    [HEAD_BEFORE] = {[CR] = HEAD_BEFORE_LF, [TOKEN] = HEAD_METHOD},
    [HEAD_BEFORE_LF] = {[LF] = HEAD_BEFORE},
    [HEAD_METHOD] = {[TOKEN] = HEAD_METHOD, [BLANK] = HEAD_BEFORE_TARGET},
    [HEAD_BEFORE_TARGET] = {[TOKEN] = HEAD_TARGET, [COLON] = HEAD_TARGET, [OTHER] = HEAD_TARGET},
    [HEAD_TARGET] = {[TOKEN] = HEAD_TARGET,
                     [COLON] = HEAD_TARGET,
                     [OTHER] = HEAD_TARGET,
                     [BLANK] = HEAD_VERSION},
    [HEAD_VERSION] = {[TOKEN] = HEAD_VERSION, [OTHER] = HEAD_VERSION, [CR] = HEAD_VERSION_LF},
    [HEAD_VERSION_LF] = {[LF] = HEAD_LINE},
    [HEAD_LINE] = {[TOKEN] = HEAD_NAME, [CR] = HEAD_END_LF},
    [HEAD_NAME] = {[TOKEN] = HEAD_NAME, [COLON] = HEAD_VALUE},
    [HEAD_VALUE] = {[TAB] = HEAD_VALUE,
                    [BLANK] = HEAD_VALUE,
                    [TOKEN] = HEAD_VALUE,
                    [COLON] = HEAD_VALUE,
                    [OTHER] = HEAD_VALUE,
                    [CR] = HEAD_VALUE_LF},
    [HEAD_VALUE_LF] = {[LF] = HEAD_LINE},
    [HEAD_END_LF] = {[LF] = HEAD_WHOLE},
};

/* ---- scanning -------------------------------------------------------------------------------- */

void head_begin(struct request_head *head)
{
    *head = (struct request_head){.state = HEAD_BEFORE};
}

void head_begin_trailer(struct request_head *head)
{
    *head = (struct request_head){.state = HEAD_LINE};
}

static void refuse(struct request_head *head, int status)
{
    head->state = HEAD_REFUSED;
    head->status = status;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* @return 0, or the status to refuse it with. A higher minor version means to be understood by who
 * knows a lower one. */
static int check_version(struct slice version)
{
    static const char name[] = "HTTP/";
    const size_t length = sizeof name - 1;
    if (version.length != length + 3 || memcmp(version.at, name, length) != 0)
        return 400;
    char major = version.at[length], point = version.at[length + 1], minor = version.at[length + 2];
    if (!is_digit(major) || point != '.' || !is_digit(minor) || major == '0')
        return 400;
    return major == '1' ? 0 : 505;
}

/* Something ends with this byte, and something else begins. */
static void enter(struct request_head *head, enum head_state state, const char *data)
{
    if (state == HEAD_REFUSED) {
        refuse(head, 400);
        return;
    }
    head->state = state;
    head->begins[state] = head->length;
    if (state != HEAD_VERSION_LF)
        return;
    int status = check_version(head_version(head, data));
    if (status != 0)
        refuse(head, status);
}

static bool is_too_long(const struct request_head *head)
{
    return head->state == HEAD_TARGET &&
           head->length - head->begins[HEAD_TARGET] > HEAD_MOST_TARGET_BYTES;
}

/* Passes over bytes that go on with what others began. @return where one does not, or the end. */
static uint32_t skip(const struct request_head *head, const char *data, uint32_t end)
{
    const uint8_t *next = next_states[head->state], state = (uint8_t)head->state;
    uint32_t at = head->length;
    while (at < end && next[classes[(unsigned char)data[at]]] == state)
        at++;
    return at;
}

static bool is_over(const struct request_head *head)
{
    return head->state == HEAD_REFUSED || head->state == HEAD_WHOLE;
}

static void scan_piece(struct request_head *head, const char *data, uint32_t end)
{
    head->length = skip(head, data, end);
    if (is_too_long(head)) {
        refuse(head, 414);
    } else if (head->length < end) {
        unsigned char byte = (unsigned char)data[head->length];
        enter(head, next_states[head->state][classes[byte]], data);
        head->length++;
    }
}

void head_scan(struct request_head *head, const char *data, size_t length)
{
    uint32_t end = length < HEAD_MOST_BYTES ? (uint32_t)length : HEAD_MOST_BYTES;
    while (head->length < end && !is_over(head))
        scan_piece(head, data, end);
    if (!is_over(head) && head->length < length)
        refuse(head, 431);
}

/* ---- what was found -------------------------------------------------------------------------- */

bool head_has_begun(const struct request_head *head)
{
    return head->length > 0 && head->state != HEAD_BEFORE && head->state != HEAD_BEFORE_LF;
}

/* The text that begins where a state was entered, and ends where another was. */
static struct slice piece(const struct request_head *head, const char *data, uint32_t begin,
                          enum head_state end)
{
    if (head->begins[end] == 0)
        return (struct slice){.at = NULL};
    return (struct slice){data + begin, head->begins[end] - begin};
}

struct slice head_method(const struct request_head *head, const char *data)
{
    return piece(head, data, head->begins[HEAD_METHOD], HEAD_BEFORE_TARGET);
}

struct slice head_target(const struct request_head *head, const char *data)
{
    return piece(head, data, head->begins[HEAD_TARGET], HEAD_VERSION);
}

struct slice head_version(const struct request_head *head, const char *data)
{
    return piece(head, data, head->begins[HEAD_VERSION] + 1, HEAD_VERSION_LF);
}

/* Each line was scanned, so all that is looked for is there. */
bool head_next_field(const struct request_head *head, const char *data, uint32_t *at,
                     struct head_field *ret_field)
{
    assert(head->state == HEAD_WHOLE);
    const uint32_t end = head->begins[HEAD_END_LF], line_end = 2;
    if (*at == 0)
        *at = head->begins[HEAD_VERSION_LF] + line_end;
    if (*at == end)
        return false;
    const char *line = data + *at;
    const char *colon = memchr(line, ':', end - *at);
    const char *cr = memchr(colon, '\r', (size_t)(data + end - colon));
    ret_field->name = (struct slice){line, (size_t)(colon - line)};
    ret_field->value = slice_trim((struct slice){colon + 1, (size_t)(cr - colon - 1)});
    *at = (uint32_t)(cr - data) + line_end;
    return true;
}
