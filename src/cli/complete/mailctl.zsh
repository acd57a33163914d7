#compdef mailctl
# zsh completion for mailctl. Made by: mailctl completions zsh
_mailctl() {
    local -a values shown
    local line value text
    while IFS= read -r line; do
        value=${line%%$'\t'*} text=${line#*$'\t'}
        if [[ -z $value ]]; then
            case $text in
                file) _files ;;
                folder) _files -/ ;;
            esac
            continue
        fi
        values+=("$value")
        if [[ -n $text ]]; then shown+=("$value  -- $text"); else shown+=("$value"); fi
    done < <("${(Q)words[1]/#\~\//$HOME/}" __complete zsh "${(@Q)words[1,CURRENT]}" 2>/dev/null </dev/null)
    (( $#values )) && compadd -l -V mailctl -d shown -a values
}
if [[ ${funcstack[1]} == _mailctl ]]; then
    _mailctl "$@"
else
    compdef _mailctl mailctl
fi
