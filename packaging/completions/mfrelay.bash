# mfrelay(1) completion for bash: the command itself knows its words ("mfrelay '[suggest:POSITION]' LINE").
_mfrelay() {
    local line=${COMP_LINE#"${COMP_WORDS[0]}"} current=${COMP_WORDS[COMP_CWORD]}
    mapfile -t COMPREPLY < <(mfrelay "[suggest:$((COMP_POINT - ${#COMP_WORDS[0]} + 7))]" "mfrelay$line" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 0 ]] || mapfile -t COMPREPLY < <(compgen -W "${COMPREPLY[*]}" -- "$current")
}
complete -o default -F _mfrelay mfrelay
