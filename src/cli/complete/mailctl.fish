# fish completion for mailctl. Made by: mailctl completions fish
function __mailctl_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l word (commandline --current-token --cut-at-cursor)
    for line in (command $words[1] __complete fish $words "$word" 2>/dev/null </dev/null)
        switch $line
            case \tfile
                __fish_complete_path "$word"
            case \tfolder
                __fish_complete_directories "$word"
            case '*'
                echo $line
        end
    end
end
complete --command mailctl --no-files --keep-order --arguments '(__mailctl_complete)'
