/* SPDX-License-Identifier: MIT */
/* Tickets' keys change by time. */
#include "tls/tickets.h"

#include "core/clock.h"
#include "tests/harness.h"

static const int64_t PERIOD = (int64_t)FERRY__TICKET_SECONDS * FERRY__NS_PER_S;

PROMISE(tickets, key_serves_for_its_time_and_is_known_for_as_long_again)
{
    ferry__tickets tickets;
    ferry__tickets_init(&tickets);
    ferry__ticket_key first, again, found, second;
    check(ferry__tickets_current(&tickets, 1, &first));
    check(ferry__tickets_current(&tickets, PERIOD, &again));
    check(memcmp(&first, &again, sizeof first) == 0);
    check_eq(ferry__tickets_find(&tickets, PERIOD, first.name, &found), 1);
    check(ferry__tickets_current(&tickets, PERIOD + 1, &second));
    check(memcmp(first.name, second.name, sizeof first.name) != 0);
    check_eq(ferry__tickets_find(&tickets, PERIOD + 1, first.name, &found), 2);
    check(memcmp(&first, &found, sizeof first) == 0);
    check_eq(ferry__tickets_find(&tickets, 2 * PERIOD, first.name, &found), 2);
    check_eq(ferry__tickets_find(&tickets, 2 * PERIOD + 1, first.name, &found), 0);
    check_eq(ferry__tickets_find(&tickets, 2 * PERIOD + 1, second.name, &found), 2);
    ferry__tickets_deinit(&tickets);
}

PROMISE(tickets, nobodys_key_is_not_found)
{
    ferry__tickets tickets;
    ferry__tickets_init(&tickets);
    ferry__ticket_key found;
    const unsigned char name[16] = {0};
    check_eq(ferry__tickets_find(&tickets, 1, name, &found), 0);
    ferry__tickets_deinit(&tickets);
}
