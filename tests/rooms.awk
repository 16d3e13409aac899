# SPDX-License-Identifier: MIT
# Which files use which, and whether they may: the work of tests/layers.sh.
# Reads, one after the other: the table of rooms; the paths of all files; their #include lines, as
# grep -H gives them; the symbols of their objects, as nm -A -P does, with a line at least for each
# object. Complains on standard output.
# A file is here a .c and a .h of one name: they are understood together.

# "tools/ferry/../number.h" -> "tools/number.h"
function normal(path) {
    while (sub(/[^\/]+\/\.\.\//, "", path)) {
    }
    return path
}

function file_of(path) {
    sub(/\.[ch]$/, "", path)
    return path
}

# The folder; of public headers core/include, not core/include/ferry.
function room_of(path) {
    sub(/\/[^\/]*$/, "", path)
    sub(/\/include\/ferry$/, "/include", path)
    return path
}

function complain(text) {
    print "rooms: " text
}

function use(from, to, why) {
    if (from == to || (from, to) in uses)
        return
    uses[from, to] = why
    if (room_of(from) != room_of(to) && !((room_of(from), room_of(to)) in may_use))
        complain(from " may not use " to " (" why ")")
}

FNR == 1 { input++ }

# The table.
function allow(room, others,    names, count, i) {
    count = split(others, names, " ")
    for (i = 1; i <= count; i++)
        if (names[i] in named)
            allow(room, named[names[i]])
        else
            may_use[room, names[i]] = 1
}

input == 1 && (NF == 0 || /^#/) {
    next
}
input == 1 && $2 == "=" {
    named[$1] = substr($0, index($0, "=") + 1)
    next
}
input == 1 && $1 == "circle:" {
    for (i = 2; i <= NF; i++)
        is_known[$i] = 1
    next
}
input == 1 {
    room = substr($1, 1, length($1) - 1)
    is_room[room] = 1
    allow(room, substr($0, length($1) + 1))
}

# The files.
input == 2 {
    is_path[$0] = 1
    is_file[file_of($0)] = 1
    if (!(room_of($0) in is_room) && !(room_of($0) in is_missing)) {
        is_missing[room_of($0)] = 1
        complain("the table of rooms lacks " room_of($0))
    }
}

# core/await.c:#include "core/await.h"
input == 3 {
    from = $0
    sub(/:.*/, "", from)
    name = $0
    sub(/^[^"<]*["<]/, "", name)
    sub(/[">].*/, "", name)
    split("core/include/ transport/include/ tls/include/", places, " ")
    places[0] = ""
    places[4] = from
    sub(/[^\/]*$/, "", places[4])
    for (i = 0; i <= 4; i++)
        if (normal(places[i] name) in is_path)
            use(file_of(from), file_of(normal(places[i] name)), "include")
}

# .../tools/ferry/CMakeFiles/ferry_program.dir/__/number.c.o: number_parse T ...
input == 4 {
    path = substr($1, length(build) + 2)
    sub(/\.o:$/, "", path)
    sub(/CMakeFiles\/[^\/]*\.dir\//, "", path)
    gsub(/__\//, "../", path)
    path = normal(path)
    if (!(path in is_path))
        next # of a source that is gone
    has_object[file_of(path)] = 1
    if ($3 == "U")
        wants[file_of(path), $2] = 1
    else if ($3 ~ /^[A-Z]$/)
        defined[$2, room_of(path)] = defined[$2, ""] = file_of(path)
}

function is_tool(file) {
    return file ~ /^tools\//
}

# Two programs may each have a function of one name: the one in the same room is meant.
function call(from, symbol,    to) {
    to = (symbol, room_of(from)) in defined ? defined[symbol, room_of(from)] : defined[symbol, ""]
    if (!is_tool(from) || is_tool(to))
        use(from, to, symbol)
    else if (symbol !~ /^ferry_[a-z]/)
        complain(from " calls " symbol ", which is not public")
}

# Notes of each file that is left one that it uses, and whether it is used, among those that are
# left.
function look_around(    pair, ends) {
    split("", next_of)
    split("", is_used)
    for (pair in uses) {
        split(pair, ends, SUBSEP)
        if (ends[1] in is_left && ends[2] in is_left) {
            next_of[ends[1]] = ends[2]
            is_used[ends[2]] = 1
        }
    }
}

# Takes away what uses nothing that is left, or is used by nothing that is left, again and again:
# those that stay stand in a circle, or between two.
function peel(    file, ends, count) {
    do {
        look_around()
        count = 0
        for (file in is_left)
            if (!(file in next_of) || !(file in is_used))
                ends[++count] = file
        for (i = 1; i <= count; i++)
            delete is_left[ends[i]]
    } while (count > 0)
}

# Tells a circle that can be reached from a file that is left, and takes it away.
function tell_circle(at,    text, is_passed) {
    while (!(at in is_passed)) { # until it is in the circle
        is_passed[at] = 1
        at = next_of[at]
    }
    text = at
    while (at in is_left) {
        delete is_left[at]
        text = text " -(" uses[at, next_of[at]] ")-> " next_of[at]
        at = next_of[at]
    }
    complain("a circle: " text)
}

function any_left(    file) {
    for (file in is_left)
        return file
    return ""
}

END {
    for (pair in wants) {
        split(pair, ends, SUBSEP)
        if ((ends[2], "") in defined)
            call(ends[1], ends[2])
    }
    for (path in is_path)
        if (path ~ /\.c$/ && path ~ must_have_object && !(file_of(path) in has_object))
            complain("there is no object of " path)

    for (file in is_known)
        is_left[file] = 1
    peel()
    for (file in is_known)
        if (!(file in is_left))
            complain(file " stands in no circle any more: strike it from the table")

    # Uses between two that are known are known, too.
    for (pair in uses) {
        split(pair, ends, SUBSEP)
        if (ends[1] in is_known && ends[2] in is_known)
            delete uses[pair]
    }
    for (file in is_file)
        is_left[file] = 1
    for (peel(); any_left() != ""; peel())
        tell_circle(any_left())
}
