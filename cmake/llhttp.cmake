# SPDX-License-Identifier: MIT
# The target ferry_llhttp: the parser of HTTP (tools/ferry/serve/parser.h), 8.1 or later.
#
# It is, whichever is there first: the sources in FERRY_LLHTTP_SOURCE; the installed library (Debian
# 13: libllhttp-dev); the sources that tools/setup.sh, or this file, has unpacked from Debian 12's
# package node-llhttp, which is not installed, since Node would come along.

set(FERRY_LLHTTP_SOURCE "" CACHE PATH
    "A folder with llhttp's C sources, to be used in place of an installed library")

# ferry_find_llhttp_source(FOLDER...) : finds sources in one of them, as packages and releases lay
# them out: LLHTTP_SOURCE_DIR, LLHTTP_SOURCE_INCLUDE_DIR.
macro(ferry_find_llhttp_source)
    unset(LLHTTP_SOURCE_DIR)
    unset(LLHTTP_SOURCE_INCLUDE_DIR)
    find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS ${ARGN} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH NO_CACHE
              PATH_SUFFIXES usr/share/llhttp src .)
    find_path(LLHTTP_SOURCE_INCLUDE_DIR llhttp.h PATHS ${ARGN} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH NO_CACHE
              PATH_SUFFIXES usr/share/include/llhttp include .)
endmacro()

set(unpacked ${PROJECT_SOURCE_DIR}/build/llhttp ${PROJECT_BINARY_DIR}/llhttp)
if(FERRY_LLHTTP_SOURCE)
    ferry_find_llhttp_source(${FERRY_LLHTTP_SOURCE})
else()
    find_path(LLHTTP_INCLUDE_DIR llhttp.h NO_CACHE)
    find_library(LLHTTP_LIBRARY llhttp NO_CACHE)
    if(NOT LLHTTP_INCLUDE_DIR OR NOT LLHTTP_LIBRARY)
        ferry_find_llhttp_source(${unpacked})
        if(NOT LLHTTP_SOURCE_DIR)
            message(STATUS "llhttp is not installed: unpacking its sources from Debian's package")
            execute_process(COMMAND ${PROJECT_SOURCE_DIR}/tools/unpack-llhttp
                                    ${PROJECT_BINARY_DIR}/llhttp
                            RESULT_VARIABLE ignored OUTPUT_QUIET ERROR_QUIET)
            ferry_find_llhttp_source(${unpacked})
        endif()
    endif()
endif()

if(LLHTTP_SOURCE_DIR AND LLHTTP_SOURCE_INCLUDE_DIR)
    add_library(ferry_llhttp STATIC ${LLHTTP_SOURCE_DIR}/llhttp.c ${LLHTTP_SOURCE_DIR}/api.c
                                    ${LLHTTP_SOURCE_DIR}/http.c)
    target_include_directories(ferry_llhttp SYSTEM PUBLIC ${LLHTTP_SOURCE_INCLUDE_DIR})
    target_compile_options(ferry_llhttp PRIVATE -w) # not ours to mend
elseif(LLHTTP_INCLUDE_DIR AND LLHTTP_LIBRARY)
    add_library(ferry_llhttp INTERFACE)
    target_include_directories(ferry_llhttp SYSTEM INTERFACE ${LLHTTP_INCLUDE_DIR})
    target_link_libraries(ferry_llhttp INTERFACE ${LLHTTP_LIBRARY})
else()
    message(FATAL_ERROR
        "ferry serve needs llhttp. Install its library (Debian 13: libllhttp-dev), or give a folder "
        "with its C sources: -DFERRY_LLHTTP_SOURCE=FOLDER (on Debian 12 tools/unpack-llhttp FOLDER "
        "makes one), or build without the tools: -DFERRY_BUILD_TOOLS=OFF")
endif()
