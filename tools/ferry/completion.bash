# SPDX-License-Identifier: MIT
# Completes command lines of ferry in bash(1): commands, their options, and files. It asks the
# program what there is, so it knows what that version has.

_ferry_options() {
    "$@" --help 2>/dev/null | grep -oE '^ {2,6}(-., )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+'
}

_ferry() {
    local word=${COMP_WORDS[COMP_CWORD]} command=() choices
    [ "$COMP_CWORD" -gt 1 ] && [[ ${COMP_WORDS[1]} != -* ]] && command=("${COMP_WORDS[1]}")
    if [[ $word == -* ]]; then
        choices=$(_ferry_options "$1" "${command[@]}")
    elif [ "$COMP_CWORD" -eq 1 ]; then
        choices=$("$1" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
        return
    fi
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word")
}

complete -o filenames -F _ferry ferry
