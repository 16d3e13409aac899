/* SPDX-License-Identifier: MIT */
#include "http_date.h"

#include <string.h>
#include <time.h>

enum { DAY_S = 24 * 60 * 60 };

static const int64_t EARLIEST = INT64_C(-62167219200); /* 0000-01-01 00:00:00 */
static const int64_t LATEST = INT64_C(253402300799);   /* 9999-12-31 23:59:59 */

static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* A moment, taken apart. */
struct moment {
    int year;
    int month; /* 0 to 11 */
    int day;   /* 1 to 31 */
    int hour;
    int minute;
    int second;
};

/* ---- the calendar ---------------------------------------------------------------------------- */

/*
 * The days from 1970-01-01 to a date. A year begins in March here, so that the leap day is its
 * last; 400 years have 146097 days. Source: Howard Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms".
 */
static int64_t days_from_date(int year, int month, int day)
{
    int64_t y = month < 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * ((month + 10) % 12) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int days_in_month(int year, int month)
{
    return (int)(days_from_date(month == 11 ? year + 1 : year, (month + 1) % 12, 1) -
                 days_from_date(year, month, 1));
}

static bool is_possible(const struct moment *moment)
{
    return moment->year >= 0 && moment->year <= 9999 && moment->day >= 1 &&
           moment->day <= days_in_month(moment->year, moment->month) && moment->hour < 24 &&
           moment->minute < 60 && moment->second <= 60; /* a leap second */
}

static int64_t to_seconds(const struct moment *moment)
{
    return days_from_date(moment->year, moment->month, moment->day) * DAY_S + moment->hour * 3600 +
           moment->minute * 60 + moment->second;
}

/* ---- writing --------------------------------------------------------------------------------- */

static char *put_digits(char *at, int number, int digits)
{
    for (int i = digits; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + digits;
}

static char *put(char *at, const char *string)
{
    size_t length = strlen(string);
    memcpy(at, string, length);
    return at + length;
}

void http_date_format(int64_t seconds, char *buffer)
{
    seconds = seconds < EARLIEST ? EARLIEST : seconds > LATEST ? LATEST : seconds;
    const time_t time = seconds;
    struct tm tm;
    (void)gmtime_r(&time, &tm);
    char *at = put(buffer, day_names[tm.tm_wday]);
    at = put_digits(put(at, ", "), tm.tm_mday, 2);
    at = put(put(put(at, " "), month_names[tm.tm_mon]), " ");
    at = put_digits(at, tm.tm_year + 1900, 4);
    at = put_digits(put(at, " "), tm.tm_hour, 2);
    at = put_digits(put(at, ":"), tm.tm_min, 2);
    at = put_digits(put(at, ":"), tm.tm_sec, 2);
    (void)put(at, " GMT");
}

const char *http_date_now(int64_t *ret_seconds)
{
    static _Thread_local char text[HTTP_DATE_LENGTH];
    static _Thread_local int64_t written = -1;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now); /* no system call; exact enough for seconds */
    if (now.tv_sec != written)
        http_date_format(now.tv_sec, text);
    written = now.tv_sec;
    if (ret_seconds != NULL)
        *ret_seconds = written;
    return text;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What is left to read. A reader that fails sets at to NULL, and those after it fail as well. */
struct scan {
    const char *at; /* or NULL: it failed */
    const char *end;
};

static void expect(struct scan *scan, const char *string)
{
    size_t length = strlen(string);
    bool is_there = scan->at != NULL && (size_t)(scan->end - scan->at) >= length &&
                    memcmp(scan->at, string, length) == 0;
    scan->at = is_there ? scan->at + length : NULL;
}

static int read_digits(struct scan *scan, int digits)
{
    int number = 0;
    for (int i = 0; i < digits; i++) {
        if (scan->at == NULL || scan->at == scan->end || *scan->at < '0' || *scan->at > '9') {
            scan->at = NULL;
            return 0;
        }
        number = number * 10 + (*scan->at++ - '0');
    }
    return number;
}

/* A day of asctime's, which pads with a space. */
static int read_padded_day(struct scan *scan)
{
    if (scan->at == NULL || scan->at == scan->end || *scan->at != ' ')
        return read_digits(scan, 2);
    scan->at++;
    return read_digits(scan, 1);
}

static int read_month(struct scan *scan)
{
    for (int i = 0; scan->at != NULL && scan->end - scan->at >= 3 && i < 12; i++) {
        if (memcmp(scan->at, month_names[i], 3) == 0) {
            scan->at += 3;
            return i;
        }
    }
    scan->at = NULL;
    return 0;
}

static void read_time(struct scan *scan, struct moment *moment)
{
    moment->hour = read_digits(scan, 2);
    expect(scan, ":");
    moment->minute = read_digits(scan, 2);
    expect(scan, ":");
    moment->second = read_digits(scan, 2);
}

/* "06 Nov 1994 08:49:37 GMT" */
static void read_fixed(struct scan *scan, struct moment *moment)
{
    moment->day = read_digits(scan, 2);
    expect(scan, " ");
    moment->month = read_month(scan);
    expect(scan, " ");
    moment->year = read_digits(scan, 4);
    expect(scan, " ");
    read_time(scan, moment);
    expect(scan, " GMT");
}

/* A year of two digits that seems more than 50 years ahead is of the century before. */
static int nearest_year(int two_digits)
{
    time_t now = time(NULL);
    struct tm tm;
    (void)gmtime_r(&now, &tm);
    int this_year = tm.tm_year + 1900;
    int year = this_year / 100 * 100 + two_digits;
    return year > this_year + 50 ? year - 100 : year;
}

/* "06-Nov-94 08:49:37 GMT" */
static void read_rfc850(struct scan *scan, struct moment *moment)
{
    moment->day = read_digits(scan, 2);
    expect(scan, "-");
    moment->month = read_month(scan);
    expect(scan, "-");
    moment->year = nearest_year(read_digits(scan, 2));
    expect(scan, " ");
    read_time(scan, moment);
    expect(scan, " GMT");
}

/* "Nov  6 08:49:37 1994" */
static void read_asctime(struct scan *scan, struct moment *moment)
{
    moment->month = read_month(scan);
    expect(scan, " ");
    moment->day = read_padded_day(scan);
    expect(scan, " ");
    read_time(scan, moment);
    expect(scan, " ");
    moment->year = read_digits(scan, 4);
}

/* The day's name says which form it is: cut to three letters or not, with a comma or without. The
 * name itself is not checked: the date counts. */
static void read_any(struct scan *scan, struct moment *moment)
{
    const char *name = scan->at;
    while (scan->at < scan->end && ((*scan->at | 32) >= 'a' && (*scan->at | 32) <= 'z'))
        scan->at++;
    bool is_cut = scan->at - name == 3;
    if (is_cut && scan->at < scan->end && *scan->at == ' ') {
        expect(scan, " ");
        read_asctime(scan, moment);
        return;
    }
    expect(scan, ", ");
    if (is_cut)
        read_fixed(scan, moment);
    else
        read_rfc850(scan, moment);
}

bool http_date_parse(const char *text, size_t length, int64_t *ret_seconds)
{
    struct scan scan = {text, text + length};
    struct moment moment = {0};
    read_any(&scan, &moment);
    if (scan.at != scan.end || !is_possible(&moment))
        return false;
    *ret_seconds = to_seconds(&moment);
    return true;
}
