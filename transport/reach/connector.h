/* SPDX-License-Identifier: MIT */
/* What a connect's promise knows beside its result. */
#ifndef FERRY_TRANSPORT_REACH_CONNECTOR_H
#define FERRY_TRANSPORT_REACH_CONNECTOR_H

#include "core/shared.h"

#include <ferry/connect.h>

/*
 * Any thread. Gives the stream whose handshake has failed: it stays as long as the promise.
 * @return 0; -EINVAL: it is another promise; -EBUSY: it has not settled; -ENODATA: it has not
 * failed so.
 */
FERRY__SHARED int ferry__connect_get_failed(ferry_promise *promise, ferry_stream **ret_stream);

#endif
