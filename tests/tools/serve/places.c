/* SPDX-License-Identifier: MIT */
/* Places and who has them, without connections: those are made up here. */
#include "tools/ferry/serve/places.h"

#include "tests/support.h"

PUT_AWAY(free_places, struct places, places_free)

struct connection {
    struct seat seat; /* first */
    int asked;        /* how often it was asked to leave */
    bool is_seated;
};

static struct connection *connection_of(struct seat *seat)
{
    return (struct connection *)(void *)seat;
}

static bool has_answers(const struct seat *)
{
    return false;
}

static void be_seated(struct seat *seat)
{
    connection_of(seat)->is_seated = true;
}

static void ask_to_leave(struct seat *seat)
{
    connection_of(seat)->asked++;
}

static bool enter(struct places *places, struct connection *connection)
{
    static const struct seat_calls calls = {has_answers, be_seated, ask_to_leave};
    return places_enter(places, &connection->seat, &calls);
}

PROMISE(places, who_leaves_before_it_answers_is_not_counted_twice)
{
    AT_END(free_places) struct places *places = places_create(NULL, 1);
    struct connection first = {0}, second = {0}, third = {0};
    check(enter(places, &first));
    places_is_idle(&first.seat);
    check(!enter(places, &second));
    check_eq(first.asked, 1);
    places_leave(&first.seat);
    check(second.is_seated);
    places_is_idle(&second.seat);
    places_stay(&first.seat); /* its answer is late */
    check(!enter(places, &third));
    check_eq(second.asked, 1);
    places_leave(&second.seat);
    check(third.is_seated);
    places_leave(&third.seat);
}

PROMISE(places, who_was_at_a_request_since_it_was_asked_stays)
{
    AT_END(free_places) struct places *places = places_create(NULL, 1);
    struct connection first = {0}, second = {0};
    check(enter(places, &first));
    places_is_idle(&first.seat);
    check(!enter(places, &second));
    check(places_is_to_leave(&first.seat));
    places_is_busy(&first.seat);
    check(!places_is_to_leave(&first.seat));
    places_is_idle(&first.seat); /* within the same tick of the clock, most likely */
    check(!places_is_to_leave(&first.seat));
    places_stay(&first.seat); /* so it is asked again */
    check_eq(first.asked, 2);
    check(places_is_to_leave(&first.seat));
    places_leave(&first.seat);
    places_leave(&second.seat);
}

PROMISE(places, who_becomes_idle_while_somebody_waits_is_asked)
{
    AT_END(free_places) struct places *places = places_create(NULL, 2);
    struct connection seated[2] = {0}, waiting[2] = {0};
    for (int i = 0; i < 2; i++)
        check(enter(places, &seated[i]));
    for (int i = 0; i < 2; i++)
        check(!enter(places, &waiting[i]));
    places_is_idle(&seated[1].seat);
    check_eq(seated[1].asked, 1);
    check_eq(seated[0].asked, 0);
    places_leave(&waiting[0].seat); /* it has had enough */
    places_leave(&seated[1].seat);
    check(!waiting[0].is_seated);
    check(waiting[1].is_seated);
    places_leave(&seated[0].seat);
    places_leave(&waiting[1].seat);
}
