#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# From a fresh Debian 12 to a mounted mail store; see usage below. With $MAILFS_BUILD nothing is
# installed or built: the programs are taken from that build directory.
set -euo pipefail

packages=(gcc libc6-dev cmake make pkg-config libglib2.0-dev libjson-glib-dev libsqlite3-dev libfuse3-dev
  libgmime-3.0-dev libssl-dev libattr1-dev fuse3 attr rsync)
source_dir=$(cd "$(dirname "$0")/.." && pwd)
store=${MAILSTORE:-/var/lib/mailfs}

usage() {
  cat <<END
usage: contrib/quickstart.sh [MAIL [MOUNTPOINT]]     as root

Installs what is needed, builds, makes a mail store in \$MAILSTORE (/var/lib/mailfs), brings MAIL in
and mounts the store on MOUNTPOINT (/mnt/mailfs). Run again, it does only what is left to do.

MAIL is copied and stays as it is. Without it some sample messages come in, for the user sample;
else the user is the owner of MAIL. MAIL is one of
  a directory with cur/ and new/    a Maildir
  another directory                 mbox files, if more files in it begin with "From " than are
                                    called *.eml; else its *.eml files
  a file                            an mbox, if it begins with "From "; else one message
END
}

step() {
  printf '==> %s\n' "$*"
}

die() {
  printf 'quickstart: %s\n' "$*" >&2
  exit 1
}

is_mbox() {
  local start=
  LC_ALL=C IFS= read -r -N 5 -d '' start <"$1" || true
  [ "$start" = 'From ' ]
} 2>/dev/null

# Tells what the directory $1 is by most of its files: a note among them, or a Maildir's index, says
# nothing.
detect_directory() {
  local file messages boxes=0
  messages=$(find "$1" -type f -name '*.eml' -printf x | wc -c)
  while IFS= read -r -d '' file; do
    ! is_mbox "$file" || boxes=$((boxes + 1))
  done < <(find "$1" -type f ! -name '*.eml' ! -name '.*' -size +0 -print0)
  if [ "$boxes" -gt "$messages" ]; then
    echo mbox
  elif [ "$messages" -gt 0 ]; then
    echo eml
  else
    die "$1 is no Maildir, and holds neither *.eml nor mbox files"
  fi
}

# Tells what MAIL is, in the words of mailstore import --format.
detect_format() {
  if [ -d "$1/cur" ] && [ -d "$1/new" ]; then
    echo maildir
  elif [ -d "$1" ]; then
    detect_directory "$1"
  elif is_mbox "$1"; then
    echo mbox
  else
    echo eml
  fi
}

# What is mounted on MOUNTPOINT already must be the store: a second look at it does no harm, but
# another one's mail is not what was asked for. Sets `mounted` to yes, no, or dead: the daemon of the
# store is gone, and nothing can be read there until it is mounted again.
look_at_mountpoint() {
  local type origin
  mounted=no
  type=$(findmnt -n -o FSTYPE --mountpoint "$mountpoint" | tail -n 1 || true)
  origin=$(findmnt -n -o SOURCE --mountpoint "$mountpoint" | tail -n 1 || true)
  case $type in
  fuse.mailfs)
    [ "$origin" -ef "$store" ] ||
      die "another store, $origin, is mounted on $mountpoint; name another: quickstart.sh MAIL MOUNTPOINT"
    mounted=yes
    stat -f "$mountpoint" >/dev/null 2>&1 || mounted=dead # plain stat may be answered from a cache
    ;;
  '')
    [ ! -e "$mountpoint" ] || [ -d "$mountpoint" ] || die "$mountpoint is not a directory"
    [ -z "$(ls -A "$mountpoint" 2>/dev/null)" ] ||
      die "$mountpoint is not empty; name another: quickstart.sh MAIL MOUNTPOINT"
    ;;
  *) die "something else ($type) is mounted on $mountpoint" ;;
  esac
}

# All that can be refused is refused before anything is changed.
look_first() {
  [ "$(id -u)" -eq 0 ] || die 'must be run by root: it installs packages and mounts'
  [ -e "$mail" ] || die "$mail: no such file or directory"
  format=$(detect_format "$mail")
  [ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
  [ -e /dev/fuse ] || die 'there is no /dev/fuse: this kernel or container cannot mount'
  look_at_mountpoint
  if [ -e "$store" ] && [ ! -e "$store/mailfs.conf" ] && [ -n "$(ls -A "$store")" ]; then
    die "$store is no mail store and not empty; set MAILSTORE to another place"
  fi
}

install_packages() {
  local missing=() package
  command -v apt-get >/dev/null ||
    die "this is no Debian; install what these packages hold, build, and set MAILFS_BUILD: ${packages[*]}"
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  step "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || die 'apt-get update failed'
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die 'apt-get could not install the packages'
}

build() {
  local log=$source_dir/build-release/quickstart.log
  step "building in $source_dir/build-release"
  mkdir -p "$source_dir/build-release"
  if ! (cd "$source_dir" && cmake --preset release -DBUILD_TESTING=OFF &&
    cmake --build --preset release --parallel "$(nproc)") >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "the build failed; all of its output is in $log"
  fi
}

make_store() {
  [ ! -e "$store/mailfs.conf" ] || return 0
  step "making a mail store in $store"
  mailstore -q init "$store"
}

# What is in the store already is left alone, so this is right the second time too.
import_mail() {
  local status=0
  step "importing $mail ($format) for $user"
  mailstore import --format "$format" "$mail" "$user" || status=$?
  # 65: some messages were refused, and named. The rest is there to be looked at.
  [ "$status" -eq 0 ] || [ "$status" -eq 65 ] || exit "$status"
}

mount_store() {
  case $mounted in
  yes)
    step "$mountpoint is mounted already"
    return
    ;;
  dead)
    step "what was mounted on $mountpoint has died; mounting $store in its place"
    mailfs -o replace "$store" "$mountpoint"
    return
    ;;
  esac
  step "mounting $store on $mountpoint"
  mkdir -p "$mountpoint"
  mailfs "$store" "$mountpoint"
}

# A word as a shell takes it.
quote() {
  printf '%q' "$1"
}

show() {
  # The tree may be large; whoever reads 20 lines need not wait for it.
  (set +o pipefail && find "$mountpoint" 2>/dev/null | head -n 20)
  cat <<END

The mail is in $mountpoint now. Three things to try:

  grep -rl 'Subject:.*order' $(quote "$mountpoint")
  $(quote "$programs/tools/mailstore") -s $(quote "$store") list -l
  rsync -aX $(quote "$mountpoint/") /var/backups/mail/

'umount $(quote "$mountpoint")' takes it away again; the store stays in $store.
END
}

case ${1:-} in
-h | --help)
  usage
  exit 0
  ;;
-*) die "unknown option '$1'; see quickstart.sh --help" ;;
esac
[ $# -le 2 ] || die 'too many words; see quickstart.sh --help'
mail=${1:-$source_dir/contrib/sample}
mountpoint=${2:-/mnt/mailfs}
user=sample@local
[ -z "${1:-}" ] || user=$(stat -c %U -- "$mail" 2>/dev/null || true)@local
programs=${MAILFS_BUILD:-$source_dir/build-release}
export MAILSTORE=$store PATH=$programs/tools:$programs/fs:$PATH
look_first
if [ -z "${MAILFS_BUILD:-}" ]; then
  install_packages
  build
fi
make_store
import_mail
mount_store
show
