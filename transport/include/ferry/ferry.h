/* SPDX-License-Identifier: MIT */
/*
 * ferry: ordered writes and file transfers from any thread, outcomes as promises.
 *
 * The whole interface. Begin with <ferry/service.h> and <ferry/stream.h>. Streams come from
 * <ferry/listen.h> and <ferry/connect.h>. Outcomes are in <ferry/promise.h>, <ferry/result.h> and
 * <ferry/inbox.h>. <ferry/api.h> has the conventions of all calls. <ferry/fault.h> is for tests.
 */
#ifndef FERRY_FERRY_H
#define FERRY_FERRY_H

#include <ferry/combine.h>
#include <ferry/connect.h>
#include <ferry/fault.h>
#include <ferry/file.h>
#include <ferry/hooks.h>
#include <ferry/inbox.h>
#include <ferry/limiter.h>
#include <ferry/listen.h>
#include <ferry/part.h>
#include <ferry/promise.h>
#include <ferry/read.h>
#include <ferry/result.h>
#include <ferry/service.h>
#include <ferry/error.h>
#include <ferry/stream.h>

#endif
