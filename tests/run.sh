#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what the build and the tests need (Debian), builds, and runs every test.
#
#   tests/run.sh                 debug build, warnings are errors
#   tests/run.sh asan|tsan       under the address and undefined, or the thread, sanitizer
#   tests/run.sh debug -R tools  what follows goes to ctest
#
# Real mail to test with is looked for in $MAILFS_CORPORA, then in ../shared/corpora; tests that need it
# are skipped without it. Tests that mount are skipped without /dev/fuse; where $CI is set they fail then,
# unless MAILFS_NO_FUSE=1 says that there is none. With $CI the build is configured afresh.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(gcc libc6-dev cmake make pkg-config git
  libglib2.0-dev libjson-glib-dev libsqlite3-dev libfuse3-dev libgmime-3.0-dev libssl-dev libattr1-dev
  fuse3 attr rsync strace sqlite3 python3 openssl procps e2fsprogs mount util-linux
  mandoc shellcheck bash-completion python3-prometheus-client chromium-headless-shell
  systemd systemd-container dpkg-dev lintian mmdebstrap rdiff-backup python3-pyxattr borgbackup restic python3-pyte sleuthkit)

preset=${1:-debug}
[ $# -eq 0 ] || shift
case $preset in
debug | release | asan | tsan) ;;
*)
  echo "tests/run.sh: no preset '$preset': debug, release, asan or tsan" >&2
  exit 64
  ;;
esac

install_packages() {
  local missing=() package sudo=()
  command -v dpkg-query >/dev/null || return 0
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq </dev/null
  "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

install_packages
# The quickstart leaves its build directory without tests.
cmake --preset "$preset" ${CI:+--fresh} -DBUILD_TESTING=ON >/dev/null
cmake --build --preset "$preset" --parallel 2
exec ctest --preset "$preset" --parallel 2 "$@" </dev/null
