# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash source-path=SCRIPTDIR
# lib.sh - what the tests of the mount share, beside what the tests of the tools share.
#
#   start -f [OPTIONS] mounts $store at $mnt, as the job $daemon, with its log in $work/log
#   stop               unmounts; the daemon must end well and must have logged nothing but what
#                      allow_log names
#   within MS COMMAND  tries the command again and again until it is true, at most that long
#   requests           how many requests the daemon has answered
source "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"

needs_fuse
[ "$(id -u)" -eq 0 ] || skip 'needs root'

mnt=$work/mnt
daemon=
allowed='^$'
mkdir "$mnt"
mounts+=("$mnt")

# libfuse frees the name of the mountpoint only when it unmounts, which a daemon in the background must not.
echo 'leak:fuse_session_mount' >"$work/suppressions"
export LSAN_OPTIONS=suppressions=$work/suppressions:print_suppressions=0

# What the daemon may log in this test: an extended regular expression.
allow_log() {
  allowed=$1
}

# Returns when the filesystem is there; the first access then waits for the daemon by itself.
start() {
  env --default-signal=INT mailfs "$@" "$store" "$mnt" 2>"$work/log" &
  daemon=$!
  until mountpoint -q "$mnt"; do
    kill -0 "$daemon" 2>/dev/null || {
      cat "$work/log"
      echo 'the daemon did not mount'
      exit 1
    }
  done
}

stop() {
  umount "$mnt"
  end_daemon 0
}

# Waits for the daemon and looks at what it left: its exit status must be $1.
end_daemon() {
  local code=0
  wait "$daemon" || code=$?
  [ "$code" -eq "$1" ] || complain_here "the daemon ended with $code, not $1: $(<"$work/log")"
  if grep -vE "$allowed" "$work/log"; then
    complain_here 'the daemon logged what it should not have'
  fi
  daemon=
}

# Names the line of the test that led here.
complain_here() {
  local depth=0
  failures=$((failures + 1))
  while [[ ${BASH_SOURCE[depth]} == */lib.sh ]]; do
    depth=$((depth + 1))
  done
  printf '%s:%s: %s\n' "$(basename "${BASH_SOURCE[depth]}")" "${BASH_LINENO[depth - 1]}" "$*"
}

# The command must be true.
expect() {
  "$@" || complain_here "false: $*"
}

# The command must fail, with the error of that name: expect_error EROFS touch file.
expect_error() {
  local name=$1 text said
  shift
  text=$(python3 -c 'import errno, os, sys; print(os.strerror(getattr(errno, sys.argv[1])))' "$name")
  [ "$name" != ENODATA ] || text='No such attribute' # as getfattr and setfattr have it
  if said=$("$@" 2>&1); then
    complain_here "no error: $*"
  elif [[ $said != *"$text"* ]]; then
    complain_here "'$said' is not $name: $*"
  fi
}

write_to() {
  echo x >"$1"
}

append_to() {
  echo x >>"$1"
}

within() {
  local end=$(($(date +%s%3N) + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if [ "$(date +%s%3N)" -gt "$end" ]; then
      complain_here "not in time: $*"
      return 0
    fi
  done
}

# Equality as a command, for within.
equal() {
  [ "$1" == "$2" ]
}

# status_of KEY: what the mount's status file says.
status_of() {
  sed -n "s/^$1 //p" "$mnt/.ctl/status"
}

# What a control file shows is held for a tenth of a second after it was asked for.
requests() {
  sleep 0.15
  status_of requests
}

# A store with the sample mail: joe@example.com with INBOX, Lists and Receipts.
make_sample_store() {
  mailstore -q init
  mailstore -q import --format eml "$sample" joe@example.com >"$work/out"
}
# shellcheck disable=SC2034 # for the tests
inbox=$mnt/example.com/user/joe/INBOX
