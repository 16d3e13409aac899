/* SPDX-License-Identifier: MIT */
/*
 * What every public header of ferry shares.
 *
 * Conventions of the whole interface: functions return 0 (or a count) when a call was accepted and
 * a negative errno when it was not; errno itself carries nothing. Out-parameters come last, are
 * named ret_..., and stay untouched on failure. Option structs are valid when
 * zero-initialised, and NULL means "all defaults". Units stand in names: _ms, _ns, _bytes.
 * Every ..._unref and ..._destroy accepts NULL.
 */
#ifndef FERRY_API_H
#define FERRY_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The version of these headers. */
#define FERRY_VERSION "0.1.0"

#define FERRY_API __attribute__((visibility("default")))

#ifdef __cplusplus
#define FERRY_BEGIN extern "C" {
#define FERRY_END   }
#else
#define FERRY_BEGIN
#define FERRY_END
#endif

#endif
