#compdef tierwise kubectl-tierwise
# zsh completion of tierwise: source <(tierwise completion zsh)
_tierwise() {
    local -a lines candidates
    local line word directive=":0"
    lines=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${lines[@]}"; do
        if [[ "$line" == :<-> ]]; then
            directive="$line"
        elif [[ -n "$line" ]]; then
            word="${line%%$'\t'*}"
            word="${word//:/\\:}"
            if [[ "$line" == *$'\t'* ]]; then
                candidates+=("$word:${line#*$'\t'}")
            else
                candidates+=("$word")
            fi
        fi
    done
    (( ${#candidates} )) && _describe -V 'tierwise' candidates
    [[ "$directive" == ":0" ]] && _files
    return 0
}
compdef _tierwise tierwise kubectl-tierwise
