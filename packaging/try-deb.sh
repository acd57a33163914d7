#!/usr/bin/env bash
# Tries a Debian package in a root of its own, made by debootstrap and thrown away: installed with apt, started by its unit's
# own command line as its own user, upgraded with mail in it, removed, purged. `try-deb.sh PACKAGE [ROOT]`, as root; a
# ROOT that is there already is used and kept.
set -euo pipefail

package=$(realpath "$1")
say() { printf 'try-deb: %s\n' "$*"; }
die() { printf 'try-deb: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "run this as root: it makes a root of its own"

work=$(mktemp -d)
root=${2:-$work/root}
server=
cleanup() {
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi
  for place in proc dev/shm; do umount "$root/$place" 2>/dev/null || true; done
  rm -rf --one-file-system "$work"
}
trap cleanup EXIT

if [ ! -e "$root/etc/debian_version" ]; then
  say "making a root of Debian bookworm"
  debootstrap --variant=minbase bookworm "$root" >"$work/log" || { tail -n 5 "$work/log"; exit 1; }
fi
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"
enter=(chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin)
inside() { "${enter[@]}" "$@"; }

# The unit's own command line, as its own user. systemd would wait for READY=1; here it is server.url.
start() {
  local words
  words=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/mailserver.service" "$root/lib/systemd/system/mailserver.service" 2>/dev/null | head -n 1)
  [ -n "$words" ] || die "the package brought no unit"
  # No function: the process that is stopped later must be the server itself.
  # shellcheck disable=SC2086 # these are words
  "${enter[@]}" setpriv --reuid mailserver --regid mailserver --clear-groups $words >>"$work/server.log" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    if inside mailserver healthcheck --data-dir /var/lib/mailserver >/dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  cat "$work/server.log"; die "it did not get ready"
}
stop() {
  kill "$server"; wait "$server" || die "it did not end in order"
  server=
}
ctl() { inside mailctl --server /var/lib/mailserver/server.url --home /tmp/mail "$@"; }

install_it() {
  cp "$package" "$root/tmp/correio.deb"
  inside apt-get install -y -qq --no-install-recommends "$@" /tmp/correio.deb >"$work/log" 2>&1 || { tail -n 20 "$work/log"; die "apt could not install it"; }
}

inside apt-get update -qq
say "installing"
install_it
inside mailserver --version
[ "$(inside stat -c %U:%a /var/lib/mailserver)" = mailserver:711 ] || die "the data folder is not the server's"
inside mailserver check-config --config /etc/mailserver/mailserver.toml

inside mailserver doctor --config /etc/mailserver/mailserver.toml

say "looking for manual pages and completions"
for page in man1/mailctl.1 man1/mailctl-send.1 man8/mailserver.8 man8/mailserver-doctor.8; do
  gzip -dc "$root/usr/share/man/$page.gz" | grep -q '^\.TH' || die "$page is no manual page"
done
for script in bash-completion/completions/mailctl zsh/vendor-completions/_mailctl fish/vendor_completions.d/mailctl.fish; do
  grep -q mailctl "$root/usr/share/$script" || die "$script completes nothing"
done

say "starting, with a mail"
start
ctl login ana >/dev/null
ctl send ana -b "before the upgrade" >/dev/null
inside mailserver healthcheck --data-dir /var/lib/mailserver
stop

say "upgrading over it, with settings that were changed"
echo '# changed by the administrator' >>"$root/etc/mailserver/mailserver.toml"
dpkg-deb -R "$package" "$work/newer"
sed -i 's/^Version: .*/&+newer/' "$work/newer/DEBIAN/control"
dpkg-deb -b "$work/newer" "$work/newer.deb" >/dev/null
package=$work/newer.deb
install_it -o Dpkg::Options::=--force-confold
inside dpkg-query -W correio | grep -q newer || die "it was not upgraded"
grep -q 'changed by the administrator' "$root/etc/mailserver/mailserver.toml" || die "the settings were not kept"
start
[ "$(ctl refresh --json | grep -c 'before the upgrade')" = 1 ] || die "the mail is gone"
stop

say "removing: mail and settings stay"
inside apt-get remove -y -qq correio >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
[ -e "$root/var/lib/mailserver/server.key" ] || die "removing took the data"
[ -e "$root/etc/mailserver/mailserver.toml" ] || die "removing took the settings"

say "purging: nothing stays"
inside apt-get purge -y -qq correio >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
for left in /var/lib/mailserver /etc/mailserver /usr/bin/mailserver /usr/share/doc/correio \
  /usr/share/man/man8/mailserver.8.gz /usr/share/bash-completion/completions/mailctl; do
  [ ! -e "$root$left" ] || die "$left was left"
done
if inside getent passwd mailserver >/dev/null; then die "the user was left"; fi
say "all of it works"
