# SPDX-License-Identifier: MIT
# find_package(ferry): then link ferry::shared or ferry::static.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/ferry-targets.cmake)
