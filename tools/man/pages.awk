# SPDX-License-Identifier: MIT
# Makes man pages of ferry's public headers. Each comment that stands before a declaration becomes
# the page of what is declared; a declaration without one belongs to the page before. What a header
# begins with becomes a page of its own, ferry-HEADER(7); what api.h begins with is part of
# ferry(7).
#
# Usage: awk -v out=DIRECTORY -v version=TEXT -f pages.awk pass=1 HEADER... pass=2 HEADER...
# DIRECTORY has man3 and man7. The first pass learns which names there are.

FNR == 1 {
    if (pass == 2 && is_describing)
        end_header()
    is_describing = pass == 2
    begin_header()
}

# ---- reading: comments, and what is declared behind them --------------------------------------

function begin_header() {
    header = FILENAME
    sub(/.*\//, "", header)
    sub(/\.h$/, "", header)
    has_top = in_comment = lines = depth = described = 0
    declaration = family = members = ""
}

in_comment { add_comment_line($0); next }
declaration == "" && /^\/\*/ && !/SPDX/ { lines = 0; in_comment = 1; add_comment_line($0); next }
declaration == "" && /^(#|$|FERRY_(BEGIN|END)|\/\*|\}|extern)/ { next_if_blank(); next }
{ add_declaration_line($0) }
END { if (pass == 2) { end_header(); write_overview() } }

function add_comment_line(line,    is_last) {
    is_last = line ~ /\*\/ *$/
    sub(/ *\*\/ *$/, "", line)
    sub(/^ *(\/\*|\*) ?/, "", line)
    if (!(line == "" && (lines == 0 || is_last)))
        comment[++lines] = line
    if (!is_last)
        return
    in_comment = 0
    described = 1
    if (comment[1] ~ /^---- /)
        lines = described = 0
    else if (!has_top)
        take_top()
}

# The first comment of a header is about all of it.
function take_top(    i) {
    has_top = 1
    tops[header] = lines
    for (i = 1; i <= lines; i++)
        top[header, i] = comment[i]
    lines = described = 0
}

# A comment that stands alone is about nothing that follows.
function next_if_blank() {
    if ($0 == "")
        lines = described = 0
}

function add_declaration_line(line) {
    declaration = declaration (declaration == "" ? "" : "\n") line
    depth += gsub(/\{/, "{", line) - gsub(/\}/, "}", line)
    if (depth > 0 || line !~ /[;}] *(\/\*.*)?$/)
        return
    if (pass == 1)
        learn()
    else
        describe()
    declaration = ""
    lines = described = depth = 0
}

# ---- what is declared -------------------------------------------------------------------------

function name_of(text,    name) {
    name = text
    if (text ~ /^typedef (struct|enum) [a-z_]+ \{/ || text ~ /^typedef enum/) {
        sub(/;$/, "", name)
        sub(/.*[} ]/, "", name)
        return name
    }
    if (!match(name, /ferry_[a-z_0-9]+\(/))
        return ""
    return substr(name, RSTART, RLENGTH - 1)
}

function learn(    name) {
    name = name_of(declaration)
    if (name != "")
        known[name] = header
}

function describe(    name, shown) {
    name = name_of(declaration)
    if (name == "")
        return
    members = members " " name
    if (!described && family != "") {
        print ".so man3/" family ".3" > (out "/man3/" name ".3")
        close(out "/man3/" name ".3")
        return
    }
    family = name
    shown = declaration
    if (shown ~ /^static inline/) {
        sub(/\n\{.*/, "", shown)
        shown = shown ";"
    }
    sub(/^FERRY_API /, "", shown)
    write_page(name, shown)
}

# ---- writing ----------------------------------------------------------------------------------

function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    if (text ~ /^[.']/)
        text = "\\&" text
    return text
}

# @param ends what ends it
function first_sentence(ends,    i, text) {
    for (i = 1; i <= lines && comment[i] != ""; i++)
        text = text (i > 1 ? " " : "") comment[i]
    if (match(text, "[" ends "] |[" ends "]$"))
        text = substr(text, 1, RSTART - 1)
    return text
}

function begin_page(file, name, section) {
    printf ".\\\" Made from <ferry/%s.h>.\n.TH %s %s \"\" \"ferry %s\" \"ferry\"\n", header, name, section, version > file
}

function write_page(name, shown,    file, i, count, rows) {
    file = out "/man3/" name ".3"
    begin_page(file, name, 3)
    printf ".SH NAME\n%s \\- %s\n", name, escaped(first_sentence(".:;")) > file
    printf ".SH SYNOPSIS\n.nf\n#include <ferry/%s.h>\n.PP\n", header > file
    count = split(shown, rows, "\n")
    for (i = 1; i <= count; i++)
        print (rows[i] == "" ? ".PP" : escaped(rows[i])) > file
    printf ".fi\n.SH DESCRIPTION\n" > file
    write_text(file)
    write_references(file, name)
    close(file)
}

# One of the tags of a docstring, which then is in tag; its text stays in text.
function takes_tag() {
    if (match(text, /^@param +([a-z_.*]+,? +(and )?)*/)) {
        tag = substr(text, 1, RLENGTH)
        if (match(text, /^@param +[a-z_.]+(, [a-z_.]+)*/)) {
            tag = substr(text, 8, RLENGTH - 7)
            text = substr(text, RLENGTH + 1)
        }
    } else if (match(text, /^@return ?/)) {
        tag = "Returns"
        text = substr(text, RLENGTH + 1)
    } else if (match(text, /^(Threads|Borrows|Takes|Gives|Settles|Outcome|Cancel|Source|Reports): ?/)) {
        tag = substr(text, 1, RLENGTH)
        sub(/: ?$/, "", tag)
        text = substr(text, RLENGTH + 1)
    } else
        return 0
    sub(/^ +/, "", text)
    return 1
}

function write_text(file,    i, j, count, parts, line, in_tag, in_table) {
    in_tag = in_table = 0
    for (i = 1; i <= lines; i++) {
        line = comment[i]
        gsub(/ (@return|@param|Threads:|Gives:|Borrows:|Takes:|Settles:|Cancel:) /, "\n&", line)
        count = split(line, parts, "\n")
        if (count == 0) { # a blank line
            if (in_table)
                print ".fi" > file
            print ".PP" > file
            in_tag = in_table = 0
            continue
        }
        for (j = 1; j <= count; j++) {
            text = parts[j]
            if (j > 1)
                sub(/^ +/, "", text)
            if (takes_tag()) {
                if (in_table)
                    print ".fi" > file
                in_table = 0
                in_tag = 1
                printf ".TP\n.B %s\n", escaped(tag) > file
                if (text != "")
                    print escaped(text) > file
            } else if (text ~ /^ / && !in_tag) {
                if (!in_table)
                    print ".nf" > file
                in_table = 1
                print escaped(text) > file
            } else {
                if (in_table)
                    print ".fi" > file
                in_table = 0
                if (text ~ /^ +(-E[A-Z]|phase |any of )/ || text ~ /^ +- /)
                    print ".br" > file
                sub(/^ +/, "", text)
                print escaped(text) > file
            }
        }
    }
    if (in_table)
        print ".fi" > file
}

# What the text speaks of, and the page of its header.
function write_references(file, name,    i, rest, found, seen, list, word) {
    list = (header == "api" ? "" : "ferry\\-" header "(7), ") "ferry(7)"
    seen[name] = 1
    for (i = 1; i <= lines; i++) {
        rest = comment[i]
        while (match(rest, /ferry_[a-z_]+/)) {
            word = substr(rest, RSTART, RLENGTH)
            rest = substr(rest, RSTART + RLENGTH)
            if ((word in known) && !(word in seen))
                list = list ", " word "(3)"
            seen[word] = 1
        }
    }
    printf ".SH SEE ALSO\n%s\n", list > file
}

# The page of a header: what it begins with, and what it declares.
function end_header(    file, i, count, names) {
    if (tops[header] == 0)
        return
    lines = tops[header]
    for (i = 1; i <= lines; i++)
        comment[i] = top[header, i]
    headers[++header_count] = header
    summaries[header] = first_sentence(".")
    contents[header] = members
    if (header == "api") # ferry(7) has it
        return
    file = out "/man7/ferry-" header ".7"
    begin_page(file, "ferry\\-" header, 7)
    printf ".SH NAME\nferry\\-%s \\- %s\n", header, escaped(summaries[header]) > file
    printf ".SH SYNOPSIS\n#include <ferry/%s.h>\n.SH DESCRIPTION\n", header > file
    write_text(file)
    count = split(members, names, " ")
    if (count > 0)
        print ".SH WHAT IT DECLARES" > file
    for (i = 1; i <= count; i++)
        printf "%s%s(3)%s\n", (i > 1 ? ".br\n" : ""), names[i], "" > file
    printf ".SH SEE ALSO\nferry(7)\n" > file
    close(file)
}

function write_overview(    file, i, j, count, names) {
    header = "ferry"
    file = out "/man7/ferry.7"
    begin_page(file, "ferry", 7)
    printf ".SH NAME\nferry \\- sends files and memory over sockets, by threads of its own\n" > file
    printf ".SH SYNOPSIS\n#include <ferry/ferry.h>\n.PP\ncc ... $(pkg\\-config \\-\\-cflags \\-\\-libs ferry)\n" > file
    printf ".SH DESCRIPTION\n" > file
    for (i = 1; i <= tops["api"]; i++)
        comment[i] = top["api", i]
    lines = tops["api"]
    write_text(file)
    printf ".SH PAGES\n" > file
    for (i = 1; i <= header_count; i++) {
        if (headers[i] == "ferry" || headers[i] == "api")
            continue
        printf ".TP\n.B ferry\\-%s(7)\n%s.\n", headers[i], escaped(summaries[headers[i]]) > file
    }
    count = split(contents["api"], names, " ")
    if (count > 0)
        printf ".TP\n.B <ferry/api.h>\n" > file
    for (j = 1; j <= count; j++)
        printf "%s(3)%s\n", names[j], (j < count ? "," : ".") > file
    printf ".SH SEE ALSO\nferry(1)\n" > file
    close(file)
}
