#compdef mfrelay
# Completion of mfrelay(1) for zsh. The command knows its words itself: mfrelay "[suggest:POSITION]" LINE
local line="mfrelay"
local -a found
(( CURRENT > 2 )) && line+=" ${(j: :)words[2,CURRENT-1]}"
line+=" $PREFIX"
found=(${(f)"$(command mfrelay "[suggest:${#line}]" "$line" 2>/dev/null)"})
found=(${found:#(/*|-[?h])})
# Options only where one has begun.
[[ $PREFIX == -* ]] || found=(${found:#-*})
compadd -a found || _files
