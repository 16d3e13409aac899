# SPDX-License-Identifier: MIT
# A build with musl beside a system's own glibc: by Debian's musl-tools, and by what tools/test musl
# makes for it. Where musl is the system's own, as on Alpine, no toolchain is needed.
set(CMAKE_C_COMPILER musl-gcc)
set(CMAKE_CXX_COMPILER NOTFOUND) # the system's C++ library needs glibc
set(ENV{PKG_CONFIG_LIBDIR} /nowhere) # and so do all that pkg-config knows
set(CMAKE_FIND_ROOT_PATH ${CMAKE_CURRENT_LIST_DIR}/../../build/foreign/musl)
set(CMAKE_C_FLAGS_INIT "-isystem ${CMAKE_FIND_ROOT_PATH}/include") # the kernel's headers, too
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
