# SPDX-License-Identifier: MIT
# find_package(ferry): then link ferry::shared or ferry::static; or ferry::ferry, which is the one
# that BUILD_SHARED_LIBS asks for.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/ferry-targets.cmake)
if(NOT TARGET ferry::ferry)
    add_library(ferry::ferry INTERFACE IMPORTED)
    if(DEFINED BUILD_SHARED_LIBS AND NOT BUILD_SHARED_LIBS)
        set_target_properties(ferry::ferry PROPERTIES INTERFACE_LINK_LIBRARIES ferry::static)
    else()
        set_target_properties(ferry::ferry PROPERTIES INTERFACE_LINK_LIBRARIES ferry::shared)
    endif()
endif()
