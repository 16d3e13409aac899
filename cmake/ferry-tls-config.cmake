# SPDX-License-Identifier: MIT
# find_package(ferry-tls): then link ferry::tls_shared or ferry::tls_static.
include(CMakeFindDependencyMacro)
find_dependency(ferry)
find_dependency(OpenSSL 3.0)
include(${CMAKE_CURRENT_LIST_DIR}/ferry-tls-targets.cmake)
