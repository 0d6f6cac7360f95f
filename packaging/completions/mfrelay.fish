# Completion of mfrelay(1) for fish. The command knows its words itself: mfrelay "[suggest:POSITION]" LINE
function __mfrelay_words
    set -l before (commandline -opc)
    set -l line (string join ' ' -- mfrelay $before[2..-1] (commandline -ct))
    mfrelay "[suggest:"(string length -- $line)"]" $line 2>/dev/null | string match -v -r '^(/.*|-[?h])$'
end
complete -c mfrelay -f -a '(__mfrelay_words)'
complete -c mfrelay -l config -r -F
