/* SPDX-License-Identifier: MIT */
/* What libferry.so shows to libferry-tls.so of the same version, and to nobody else
 * (cmake/ferry.map). */
#ifndef FERRY_CORE_SHARED_H
#define FERRY_CORE_SHARED_H

/* Protected: calls inside the library stay direct. FERRY__IS_BESIDE: libferry-tls is compiled. */
#ifdef FERRY__IS_BESIDE
#define FERRY__SHARED __attribute__((visibility("default")))
#else
#define FERRY__SHARED __attribute__((visibility("protected")))
#endif

#endif
