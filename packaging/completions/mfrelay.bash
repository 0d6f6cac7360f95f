# Completion of mfrelay(1) for bash. The command knows its words itself: mfrelay "[suggest:POSITION]" LINE
_mfrelay() {
    local current=${2-} line=${COMP_LINE:0:COMP_POINT}
    line="mfrelay${line#"${COMP_WORDS[0]}"}"
    mapfile -t COMPREPLY < <(mfrelay "[suggest:${#line}]" "$line" 2>/dev/null | grep -vxE -e '/.*|-[?h]')
    # Options only where one has begun.
    [[ $current == -* ]] || mapfile -t COMPREPLY < <(printf '%s\n' "${COMPREPLY[@]}" | grep -v '^-')
    mapfile -t COMPREPLY < <(compgen -W "${COMPREPLY[*]}" -- "$current")
}
complete -o default -F _mfrelay mfrelay
