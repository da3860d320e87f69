# fish completion of tierwise: tierwise completion fish > ~/.config/fish/completions/tierwise.fish
function __tierwise_complete
    set -l before (commandline --tokenize --cut-at-cursor --current-process)
    set -l last (commandline --current-token --cut-at-cursor)
    set -l lines ($before[1] __complete $before[2..-1] "$last" 2>/dev/null)
    for line in $lines
        switch $line
            case ':0'
                __fish_complete_path "$last"
            case ':*'
            case '*'
                echo $line
        end
    end
end
complete --command tierwise --no-files --arguments '(__tierwise_complete)'
complete --command kubectl-tierwise --no-files --arguments '(__tierwise_complete)'
