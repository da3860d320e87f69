# bash completion of tierwise: source <(tierwise completion bash)
_tierwise() {
    local -a words=()
    local index word joined=""
    # bash splits words at "=", which tierwise does not
    for ((index = 1; index <= COMP_CWORD; index++)); do
        word="${COMP_WORDS[index]}"
        if [[ "$word" == "=" && ${#words[@]} -gt 0 ]]; then
            words[${#words[@]} - 1]+="="
            joined=yes
        elif [[ -n "$joined" ]]; then
            words[${#words[@]} - 1]+="$word"
            joined=""
        else
            words+=("$word")
        fi
    done
    local line directive=":0" prefix=""
    [[ "${words[${#words[@]} - 1]}" == --*=* ]] && prefix="${words[${#words[@]} - 1]%%=*}="
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ "$line" == :* ]]; then
            directive="$line"
        else
            line="${line%%$'\t'*}"
            COMPREPLY+=("${line#"$prefix"}")
        fi
    done < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
    if [[ "$directive" == ":0" ]]; then
        compopt -o default 2>/dev/null
    fi
}
complete -F _tierwise tierwise kubectl-tierwise
