#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is written for people and shells is well formed, and says what the programs say.
set -euo pipefail
cd "$MAILFS_SOURCE"
broken=0
complain() {
  echo "$*"
  broken=1
}

for program in mandoc shellcheck; do
  command -v "$program" >/dev/null || { echo "skipped: no $program"; exit 77; }
done

# Whether a page that another one refers to is installed says nothing about either.
if { mandoc -Tlint -W style docs/man/*.[1-8] 2>/dev/null || true; } | grep -v 'referenced manual not found'; then
  complain 'mandoc'
fi
mapfile -t scripts < <(find contrib tests .ci -name '*.sh' -o -path '.ci/run' -o -path 'contrib/compat/*' ! -name '*.md' -o -path 'contrib/mailfs-backup' -o -path 'contrib/completion/*' -o -path 'contrib/debian/p*' ! -name '*.cmake' | sort)
shellcheck -x "${scripts[@]}" || complain 'shellcheck'
for script in contrib/quickstart.sh contrib/mailfs-backup tests/run.sh .ci/run; do
  [ -x "$script" ] || complain "$script cannot be run"
done

# Every command of the program is in its manual.
mapfile -t commands < <("$MAILFS_BUILD/tools/mailstore" -h | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p')
for command in "${commands[@]}"; do
  grep -qE "^\.It Ic $command( |\$)|^\.Ss $command\$" docs/man/mailstore.1 ||
    complain "mailstore(1) does not describe '$command'"
done
# And every option of each.
while read -r option; do
  grep -q -- "Fl Fl ${option#--}" docs/man/mailstore.1 || complain "mailstore(1) lacks $option"
done < <(
  for command in "${commands[@]}"; do
    "$MAILFS_BUILD/tools/mailstore" "$command" -h
  done | grep -oE '^ .*--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u
)

# And every problem that check may name.
while read -r problem; do
  grep -qx "\.It Cm $problem" docs/man/mailstore.1 || complain "mailstore(1) lacks the problem '$problem'"
done < <(sed -n 's/.*\[STORE_PROBLEM_[A-Z_]*\] = {"\([^"]*\)".*/\1/p' store/*.c)

# No path of the machine that it was written on.
if git grep -nE '/work/(main|shared)|/home/' -- . ':!tests/layers/lint.sh' 2>/dev/null; then
  complain 'a path of somebody'"'"'s machine'
fi
exit "$broken"
