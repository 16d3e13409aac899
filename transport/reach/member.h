/* SPDX-License-Identifier: MIT */
/*
 * A stream as a member of its service: what the service asks of it, and what a dump says of it.
 */
#ifndef FERRY_TRANSPORT_REACH_MEMBER_H
#define FERRY_TRANSPORT_REACH_MEMBER_H

#include "transport/service/service.h"

extern const ferry__member_type ferry__stream_member;

#endif
