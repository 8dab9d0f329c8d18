#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# From a fresh Debian 12 to a mounted mail store, as root:
#
#   contrib/quickstart.sh [MAIL [MOUNTPOINT]]
#
# MAIL is a Maildir, an mbox file, a message file, or a directory of mbox files or of *.eml files;
# without it some sample messages are brought in. MOUNTPOINT is /mnt/mailfs unless it is given. The
# store is $MAILSTORE, or /var/lib/mailfs. MAIL is copied and stays as it is. Running it again does only
# what is left to do.
#
# With $MAILFS_BUILD nothing is installed or built: the programs are taken from that build directory.
set -euo pipefail

packages=(gcc libc6-dev cmake make pkg-config libglib2.0-dev libsqlite3-dev libfuse3-dev
  libgmime-3.0-dev libssl-dev libattr1-dev fuse3 attr)
source_dir=$(cd "$(dirname "$0")/.." && pwd)
store=${MAILSTORE:-/var/lib/mailfs}

step() {
  printf '==> %s\n' "$*"
}

die() {
  printf 'quickstart: %s\n' "$*" >&2
  exit 1
}

# Tells what MAIL is, in the words of mailstore import --format.
detect_format() {
  local mail=$1 first
  if [ -d "$mail/cur" ] && [ -d "$mail/new" ]; then
    echo maildir
    return
  fi
  first=$mail
  if [ -d "$mail" ]; then
    if [ -n "$(find "$mail" -type f -name '*.eml' -print -quit)" ]; then
      echo eml
      return
    fi
    first=$(find "$mail" -type f -size +0 -print -quit)
    [ -n "$first" ] || die "$mail is empty"
  fi
  if [ "$(head -c 5 -- "$first" | tr -d '\0')" = 'From ' ]; then
    echo mbox
  elif [ -f "$mail" ]; then
    echo eml
  else
    die "$mail is no Maildir, and holds neither *.eml nor mbox files"
  fi
}

# All that can be refused is refused before anything is changed.
look_first() {
  [ "$(id -u)" -eq 0 ] || die 'must be run by root: it installs packages and mounts'
  [ -e "$mail" ] || die "$mail: no such file or directory"
  format=$(detect_format "$mail")
  [ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
  [ -e /dev/fuse ] || die 'there is no /dev/fuse: this kernel or container cannot mount'
  local mounted
  mounted=$(findmnt -n -o FSTYPE --mountpoint "$mountpoint" || true)
  case $mounted in
  fuse.mailfs) ;;
  '')
    [ ! -e "$mountpoint" ] || [ -d "$mountpoint" ] || die "$mountpoint is not a directory"
    [ -z "$(ls -A "$mountpoint" 2>/dev/null)" ] ||
      die "$mountpoint is not empty; name another: quickstart.sh MAIL MOUNTPOINT"
    ;;
  *) die "something else ($mounted) is mounted on $mountpoint" ;;
  esac
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
  if [ -n "$(findmnt -n --mountpoint "$mountpoint" || true)" ]; then
    step "$mountpoint is mounted already"
    return
  fi
  step "mounting $store on $mountpoint"
  mkdir -p "$mountpoint"
  mailfs "$store" "$mountpoint"
}

show() {
  # The tree may be large; whoever reads 20 lines need not wait for it.
  (set +o pipefail && find "$mountpoint" 2>/dev/null | head -n 20)
  cat <<END

The mail is in $mountpoint now. Three things to try:

  grep -rl 'Subject:.*order' $mountpoint
  $programs/tools/mailstore -s $store list -l
  rsync -aX $mountpoint/ /var/backups/mail/

'umount $mountpoint' takes it away again; the store stays in $store.
END
}

[ $# -le 2 ] || die 'usage: quickstart.sh [MAIL [MOUNTPOINT]]'
mail=${1:-$source_dir/contrib/sample}
mountpoint=${2:-/mnt/mailfs}
user=sample@local
[ $# -eq 0 ] || user=$(stat -c %U -- "$mail" 2>/dev/null || true)@local
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
