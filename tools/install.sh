#!/usr/bin/env bash
# install.sh BIN TO: puts both programs, their manual pages and what shells complete below TO.
set -euo pipefail
bin=$1 to=$2

install -d "$to/bin" "$to/share/man/man1" "$to/share/man/man8" \
  "$to/share/bash-completion/completions" "$to/share/zsh/site-functions" "$to/share/fish/vendor_completions.d"
install -m 0755 "$bin/mailserver" "$bin/mailctl" "$to/bin/"

pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT
"$bin/mailctl" man "$pages" >/dev/null
install -m 0644 "$pages"/*.1 "$to/share/man/man1/"
install -m 0644 "$pages"/*.8 "$to/share/man/man8/"

"$bin/mailctl" completions bash >"$to/share/bash-completion/completions/mailctl"
"$bin/mailctl" completions zsh >"$to/share/zsh/site-functions/_mailctl"
"$bin/mailctl" completions fish >"$to/share/fish/vendor_completions.d/mailctl.fish"
echo "mailserver and mailctl are in $to/bin; manual pages and completions for bash, zsh and fish in $to/share"
