/* SPDX-License-Identifier: MIT */
/*
 * A stream as a member of its service: what that asks of it, and what it says of itself in a dump.
 */
#ifndef FERRY_TRANSPORT_REACH_MEMBER_H
#define FERRY_TRANSPORT_REACH_MEMBER_H

#include "transport/service/service.h"

extern const ferry__member_type ferry__stream_member;

#endif
