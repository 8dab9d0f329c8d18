#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kill-at does what it says; or the other tests here say nothing.
set -eu
kill_at=$MAILFS_BUILD/tests/crash/kill-at
work=$(realpath "$(mktemp -d)")
trap 'rm -rf "$work"' EXIT
cd "$work"

# expect RESULT OUTCOME [OPTION...]: the exit code, and what is left of five calls: create, write, rename, create, write.
expect() {
  local result=0 outcome
  rm -rf d outside && mkdir d
  "$kill_at" -d "$work/d" -l log "${@:3}" bash -c \
    'echo not counted >outside; echo one >d/a; mv d/a d/b; echo two >d/c' 2>/dev/null || result=$?
  outcome=$(cd d && grep -r . . | sort | tr '\n' ' ')
  [ "$result $outcome" = "$1 $2" ] || {
    echo "kill-at ${*:3}: exit $result, '$outcome' instead of $1, '$2'"
    exit 1
  }
}

expect 0 './b:one ./c:two '
diff log - <<'LOG'
1 openat /a
2 write /a
3 renameat2 /b <- /a
4 openat /c
5 write /c
LOG
for n in 1 2; do expect 137 '' -n $n; done
expect 137 './a:one ' -n 3
for n in 4 5; do expect 137 './b:one ' -n $n; done
expect 0 './b:one ./c:two ' -n 6
expect 0 './a:one ./c:two ' -n 3 -e EIO
expect 1 './b:one ' -n 5 -e ENOSPC
expect 1 '' -n 1 -e EIO -s
expect 0 './b:one ./c:two ' -n 2 -e short
grep -qx '3 write /a' log # the rest, which bash then writes
expect 1 './a:on ' -n 2 -e short -s
expect 127 '' nothing-of-that-name
