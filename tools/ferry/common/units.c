/* SPDX-License-Identifier: MIT */
#include "units.h"

#include <stdio.h>
#include <time.h>

struct units_text units_bytes(double bytes)
{
    static const char *const names[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    enum { LAST = sizeof names / sizeof names[0] - 1 };
    struct units_text result;
    int unit = 0;
    while (bytes >= 999.5 && unit < LAST) {
        bytes /= 1000;
        unit++;
    }
    int decimals = unit == 0 || bytes >= 99.95 ? 0 : bytes >= 9.995 ? 1 : 2;
    (void)snprintf(result.text, sizeof result.text, "%.*f %s", decimals, bytes, names[unit]);
    return result;
}

struct units_text units_duration(double seconds)
{
    struct units_text result;
    uint64_t whole = (uint64_t)(seconds + 0.5);
    unsigned s = (unsigned)(whole % 60), m = (unsigned)(whole / 60 % 60);
    if (whole < 3600)
        (void)snprintf(result.text, sizeof result.text, "%u:%02u", m, s);
    else
        (void)snprintf(result.text, sizeof result.text, "%llu:%02u:%02u",
                       (unsigned long long)(whole / 3600), m, s);
    return result;
}

double units_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void units_print_summary(const char *done, uint64_t bytes, double seconds)
{
    double rate = seconds > 0 ? (double)bytes / seconds : 0;
    (void)fprintf(stderr, "%s %llu bytes (%s) in %.2f s, %s/s\n", done, (unsigned long long)bytes,
                  units_bytes((double)bytes).text, seconds, units_bytes(rate).text);
}
