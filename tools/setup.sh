# SPDX-License-Identifier: MIT
# What the commands in tools/ share: installing what is missing, and building. To be sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# need PACKAGE... : installs those of Debian's packages that are not installed yet. Quiet if none.
need() {
    local missing=() package as_root=()
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "ferry: these packages are missing: ${missing[*]}; run this as root, or install sudo" >&2
            return 1
        }
        as_root=(sudo)
    fi
    echo "ferry: installing ${missing[*]}" >&2
    local log
    log=$(mktemp)
    if ! { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update &&
           "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
               --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# What every build needs.
need_to_build() {
    need gcc libc6-dev cmake ninja-build libck-dev libxxhash-dev libhttp-parser-dev "$@"
}

# build NAME CMAKE_ARGUMENT... : configures and builds build/NAME. Prints only failures.
build() {
    local directory=$root/build/$1 log
    shift
    log=$(mktemp)
    if ! { cmake -S "$root" -B "$directory" -G Ninja "$@" && cmake --build "$directory"; } \
        >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}
