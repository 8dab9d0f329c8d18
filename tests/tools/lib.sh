# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib.sh - what the tests of the tools share. Sourced first by each; gives it a directory of its own.
#
#   work          the private directory, removed at the end
#   store         $work/store, not made yet
#   mailstore     the program under test; $MAILSTORE is set to $store
#   run ARGS...   runs mailstore; leaves $status, $out and $err
#   expect_*      what the last run must have done
set -euo pipefail
: "${MAILFS_BUILD:?the build directory}" "${MAILFS_SOURCE:?the source directory}"

work=$(mktemp -d -t mailstore.XXXXXX)
store=$work/store
corpora=${MAILFS_CORPORA:-$MAILFS_SOURCE/../shared/corpora}
# shellcheck disable=SC2034 # for the tests
sample=$MAILFS_SOURCE/contrib/sample
mounts=()
failures=0
status=0 out='' err=''
export MAILSTORE=$store PATH=$MAILFS_BUILD/tools:$MAILFS_BUILD/fs:$PATH TZ=UTC0 LC_ALL=C.UTF-8
unset NO_COLOR
# libfuse keeps the mountpoint's name until it unmounts, which the daemon leaves to others.
echo 'leak:fuse_session_mount' >"$work/suppressions"
export LSAN_OPTIONS=suppressions=$work/suppressions:print_suppressions=0
# A daemon has no standard error to complain on.
for options in ASAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS; do
  export "$options=${!options:+${!options}:}log_path=$work/sanitizer"
done
umask 022

leave() {
  local code=${1:-$?} mount
  for mount in "${mounts[@]}"; do
    umount "$mount" 2>/dev/null || fusermount3 -u "$mount" 2>/dev/null || true
  done
  if compgen -G "$work/sanitizer.*" >/dev/null; then
    cat "$work"/sanitizer.*
    failures=$((failures + 1))
  fi
  rm -rf --one-file-system -- "$work"
  if [ "$code" -eq 0 ] && [ "$failures" -gt 0 ]; then
    echo "$failures expectations failed"
    code=1
  fi
  exit "$code"
}
trap leave EXIT

skip() {
  echo "skipped: $*"
  exit 77
}

# Names the line of the test that was not content.
complain() {
  local depth=0
  failures=$((failures + 1))
  while [ "${BASH_SOURCE[depth]}" == "${BASH_SOURCE[0]}" ]; do
    depth=$((depth + 1))
  done
  printf '%s:%s: %s\n' "$(basename "$0")" "${BASH_LINENO[depth - 1]}" "$*"
  printf '  status %s\n  out: %s\n  err: %s\n' "$status" "${out:0:2000}" "${err:0:2000}"
}

# Without it nothing can be mounted. Where everything has to be tested that is a failure.
needs_fuse() {
  [ ! -e /dev/fuse ] || return 0
  [ -z "${CI:-}" ] || [ "${MAILFS_NO_FUSE:-}" == 1 ] || {
    echo 'no /dev/fuse; MAILFS_NO_FUSE=1 says that there is none'
    exit 1
  }
  skip 'no /dev/fuse'
}

run() {
  status=0
  mailstore "$@" >"$work/out" 2>"$work/err" || status=$?
  out=$(tr -d '\0' <"$work/out")
  err=$(tr -d '\0' <"$work/err")
}

expect_status() {
  [ "$status" -eq "$1" ] || complain "exit status $status, not $1"
}

# Text that must be found, as it stands.
expect_out() {
  [[ $out == *"$1"* ]] || complain "standard output lacks: $1"
}

expect_err() {
  [[ $err == *"$1"* ]] || complain "standard error lacks: $1"
}

expect_no_out() {
  [ -z "$out" ] || complain 'standard output is not empty'
}

expect_no_err() {
  [ -z "$err" ] || complain 'standard error is not empty'
}

# One line on standard error, beginning with the program's name.
expect_one_error() {
  [[ $err == "mailstore: "* && $(wc -l <"$work/err") -eq 1 ]] || complain 'not one error line'
}

expect_equal() {
  [ "$1" == "$2" ] || complain "'$1' is not '$2'${3:+: $3}"
}

# Every line of standard output is a JSON object. The expressions are Python over `rows`, its list.
expect_json() {
  python3 - "$work/out" "$@" <<'PYTHON' || complain "JSON: $*"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8', errors='strict')]
assert all(isinstance(row, dict) and 'type' in row for row in rows)
for expression in sys.argv[2:]:
    assert eval(expression), expression
PYTHON
}

# How many messages the store has.
count() {
  mailstore list --json |
    python3 -c 'import json, sys; print(sum(json.loads(line)["messages"] for line in sys.stdin))'
}

# job ID KEY: what --json says of it.
job() {
  mailstore --json jobs "$1" | python3 -c '
import json, sys
print(json.loads(sys.stdin.readline())[sys.argv[1]])' "$2"
}
# wait_for ID KEY TEXT: until it says so.
wait_for() {
  until [[ $(job "$1" "$2" 2>/dev/null) == *"$3"* ]]; do sleep 0.05; done
}
# Nothing that changes joe's mail goes on until release.
hold() {
  flock "$store/mail/example.com/user/joe" -c "touch '$work/held'; until [ -e '$work/go' ]; do sleep 0.01; done" &
  holder=$!
  until [ -e "$work/held" ]; do sleep 0.01; done
}
release() {
  touch "$work/go"
  wait "$holder"
  rm "$work/go" "$work/held"
}

# Leaves a database in the middle of a write: with a journal beside it that somebody must take back.
interrupt() {
  python3 -B - "$1" <<'PYTHON'
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.executescript('PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE')
db.execute('CREATE TABLE torn (a)')
for i in range(2000):
    db.execute('INSERT INTO torn VALUES (hex (randomblob (500)))')
os._exit(0)
PYTHON
  [ -s "$1-journal" ] || complain "no journal beside $1"
}

# As another user, with no other rights than theirs.
as_nobody() {
  [ "$(id -u)" -eq 0 ] || skip 'needs root to become somebody else'
  setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all "$@"
}

needs_corpora() {
  [ -d "$corpora/eml" ] || skip "no real mail in $corpora"
}

# Makes a mount namespace, in which `inside COMMAND...` runs. The test itself stays outside, and removes
# its directory there: whatever is mounted or bound inside, that cannot reach it. Still, nothing that is not
# the test's own may be bound below $work. Copies of others' mounts are let go: they would keep their daemons.
make_namespace() {
  { [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; } || skip 'no mount namespaces here'
  # shellcheck disable=SC2016 # for the shell inside
  unshare --mount --propagation private sh -c \
    'umount -a -l -t fuse.mailfs 2>/dev/null; touch "$1"; exec sleep infinity' - "$work/namespace" &
  namespace=$!
  until [ -e "$work/namespace" ]; do sleep 0.01; done
  trap leave_namespace EXIT
}

inside() {
  nsenter --mount="/proc/$namespace/ns/mnt" -- env -C "$PWD" "$@"
}

leave_namespace() {
  local code=$?
  inside umount -a -t fuse.mailfs 2>/dev/null || true
  kill "$namespace" 2>/dev/null || true
  wait "$namespace" 2>/dev/null || true
  leave "$code"
}

# Mounts the store at $work/mnt.
mount_store() {
  needs_fuse
  mkdir -p "$work/mnt"
  mailfs "$store" "$work/mnt"
  mounts+=("$work/mnt")
}

# Returns when the daemon is gone, and has said what it has to say.
unmount_store() {
  local daemon
  daemon=$(sed -n 's/^pid //p' "$work/mnt/.ctl/status")
  umount "$work/mnt"
  while kill -0 "$daemon" 2>/dev/null; do sleep 0.01; done
  mounts=()
}
