# SPDX-License-Identifier: MIT
# What the commands in tools/ share: installing what is missing, and building. To be sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# quietly COMMAND... : runs it, and shows what it says only if it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 </dev/null || status=$?
    [ $status -eq 0 ] || cat "$log" >&2
    rm -f "$log"
    return $status
}

# as_root COMMAND... : runs it as root, through sudo if need be.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# need PACKAGE... : installs those of Debian's packages that are not installed yet. Quiet if none.
need() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "ferry: these packages are missing: ${missing[*]}; run this as root, or install sudo" >&2
        return 1
    fi
    echo "ferry: installing ${missing[*]}" >&2
    quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get update &&
        quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y \
            --no-install-recommends "${missing[@]}"
}

# llhttp: the library where the system has one (Debian 13), else the sources, in build/llhttp. CMake
# looks for both (cmake/llhttp.cmake).
need_llhttp() {
    { [ -e /usr/include/llhttp.h ] || [ -e "$root/build/llhttp" ]; } && return
    apt-cache show node-llhttp >/dev/null 2>&1 || quietly as_root apt-get update || return
    if apt-cache show libllhttp-dev >/dev/null 2>&1; then
        need libllhttp-dev
    else
        quietly "$root/tools/unpack-llhttp" "$root/build/llhttp"
    fi
}

# What every build needs.
need_to_build() {
    need gcc libc6-dev cmake ninja-build libck-dev libxxhash-dev "$@" && need_llhttp
}

# build NAME CMAKE_ARGUMENT... : configures and builds build/NAME. Prints only failures.
build() {
    local directory=$root/build/$1
    shift
    quietly cmake -S "$root" -B "$directory" -G Ninja "$@" && quietly cmake --build "$directory"
}
