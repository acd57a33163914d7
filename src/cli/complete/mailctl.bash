# bash completion for mailctl. Made by: mailctl completions bash
_mailctl() {
    local line=${COMP_LINE:0:COMP_POINT} word
    COMPREPLY=()
    while IFS= read -r word; do
        case $word in
            $'\tfile') compopt -o default 2>/dev/null ;;
            $'\tfolder') compopt -o dirnames 2>/dev/null ;;
            *) COMPREPLY+=("$word") ;;
        esac
    done < <("${1/#\~\//$HOME/}" __complete bash "$line" "$2" "$COMP_TYPE" 2>/dev/null </dev/null)
}
complete -o nosort -F _mailctl mailctl 2>/dev/null || complete -F _mailctl mailctl
