#!/bin/bash
# SPDX-License-Identifier: MIT
# What is installed can be used as the README says: by pkg-config, and by CMake's find_package.
# Usage: install.sh SOURCE_DIRECTORY BUILD_DIRECTORY
set -eu
source=$1 build=$2
export CMAKE_GENERATOR=Ninja # make(1) is not everywhere
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/first" >"$work/log" || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/prefix" # it may be moved
libraries=$(dirname "$(dirname "$(find "$work/prefix" -name ferry.pc)")")

echo 1234567890 >"$work/file"
check() {
    LD_LIBRARY_PATH=$libraries "$@" "$work/file" | grep -qx 'the peer read 17 bytes' ||
        { echo "install: $1 does not work" >&2; exit 1; }
}

export PKG_CONFIG_PATH=$libraries/pkgconfig
# shellcheck disable=SC2046
${CC:-cc} "$source/tools/examples/first.c" $(pkg-config --cflags --libs ferry) -o "$work/by_pc"
check "$work/by_pc"

mkdir "$work/static"
cp "$libraries/libferry.a" "$work/static"
# shellcheck disable=SC2046
${CC:-cc} "$source/tools/examples/first.c" -L"$work/static" \
    $(pkg-config --static --cflags --libs ferry | sed "s|-L[^ ]*||") -o "$work/by_static_pc"
check "$work/by_static_pc"

# Encrypted streams, where OpenSSL is.
tls=$(find "$libraries" -maxdepth 1 -name libferry-tls.so)
check_tls() {
    LD_LIBRARY_PATH=$libraries "$1" - "$work/file" - - 2>&1 | grep -q "$work/file" ||
        { echo "install: $1 does not work" >&2; exit 1; }
}
if [ -n "$tls" ]; then
    # shellcheck disable=SC2046
    ${CC:-cc} "$source/tools/examples/encrypted.c" $(pkg-config --cflags --libs ferry-tls) \
        -o "$work/tls_by_pc"
    check_tls "$work/tls_by_pc" # it says that this is no certificate
fi

# Wherever the libraries go to, by a relative or an absolute path: ferry.pc tells the places.
for libdir in lib/some-arch "$work/elsewhere/lib"; do
    cmake -S "$source" -B "$work/build" -DCMAKE_INSTALL_LIBDIR="$libdir" -DFERRY_BUILD_TESTS=OFF \
        -DFERRY_BUILD_TOOLS=OFF >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    cmake -DCMAKE_INSTALL_PREFIX="$work/other" -P "$work/build/install-pc.cmake" >"$work/log"
    libdir=$(cd "$work" && mkdir -p other && cd other && realpath -m "$libdir")
    for variable in "libdir $libdir" "includedir $work/other/include"; do
        told=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --variable="${variable%% *}" ferry)
        [ "$(realpath -m "$told")" = "$(realpath -m "${variable#* }")" ] ||
            { echo "install: ferry.pc has $told as ${variable%% *}" >&2; exit 1; }
    done
done

[ -f "$work/prefix/share/man/man3/ferry_stream_write.3" ] || { echo "install: no manual" >&2; exit 1; }
[ -f "$work/prefix/share/doc/ferry/examples/first.c" ] || { echo "install: no examples" >&2; exit 1; }

mkdir "$work/user"
cat >"$work/user/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES C)
find_package(ferry 0.1 REQUIRED)
foreach(kind shared static ferry)
    add_executable(by_\${kind} $source/tools/examples/first.c)
    target_link_libraries(by_\${kind} PRIVATE ferry::\${kind})
endforeach()
if("$tls" MATCHES tls)
    find_package(ferry-tls 0.1 REQUIRED)
    foreach(kind shared static)
        add_executable(tls_by_\${kind} $source/tools/examples/encrypted.c)
        target_link_libraries(tls_by_\${kind} PRIVATE ferry::tls_\${kind})
    endforeach()
endif()
END
cmake -S "$work/user" -B "$work/user/build" -DCMAKE_PREFIX_PATH="$work/prefix" >"$work/log" 2>&1 &&
    cmake --build "$work/user/build" >>"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
check "$work/user/build/by_shared"
check "$work/user/build/by_static"
check "$work/user/build/by_ferry"
if [ -n "$tls" ]; then
    check_tls "$work/user/build/tls_by_shared"
    check_tls "$work/user/build/tls_by_static"
fi

# As a part of another project: it is built as that wants it, and not installed with it.
cat >"$work/user/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES C)
set(BUILD_SHARED_LIBS OFF)
add_subdirectory($source ferry EXCLUDE_FROM_ALL)
add_executable(inside $source/tools/examples/first.c)
target_link_libraries(inside PRIVATE ferry::ferry)
install(TARGETS inside)
END
{ cmake -S "$work/user" -B "$work/user/inside" -DCMAKE_BUILD_TYPE=None && cmake --build "$work/user/inside" -j2 &&
    cmake --install "$work/user/inside" --prefix "$work/part"; } >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
check "$work/part/bin/inside"
! ldd "$work/part/bin/inside" | grep -q ferry || { echo "install: not the static one" >&2; exit 1; }
[ "$(find "$work/part" -type f | wc -l)" -eq 1 ] || { echo "install: more than its own" >&2; exit 1; }

# Where it cannot work, it says so.
if echo | ${CC:-cc} -m32 -E - >/dev/null 2>&1; then
    cmake -S "$source" -B "$work/small" -DCMAKE_C_FLAGS=-m32 \
        -DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY >"$work/log" 2>&1 || true
    grep -q 'ferry is for 64-bit machines' "$work/log" ||
        { echo "install: a 32-bit build is not refused" >&2; exit 1; }
fi

echo "install: usable by pkg-config and by find_package"
