#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A job that is cancelled at any moment of its life: it ends, loses nothing, and what it began can be done.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mkdir "$work/mail"
for i in $(seq 3000); do
  printf 'Subject: message %d\n\n%d\n' "$i" "$i" >"$work/mail/$i.eml"
done
mailstore -q init
mailstore -q import --format eml "$work/mail" joe@example.com >"$work/out"
allow_log 'job [0-9]+: '
start -f
ctl=$mnt/.ctl inbox=$mnt/example.com/user/joe/INBOX
(cd "$mnt" && sha256sum -- example.com/user/joe/INBOX/*.eml) >"$work/before"

# Who cancels too late is told so.
cancel() {
  local failure
  failure=$(bash -c "echo 'cancel $1' >'$ctl/ctl'" 2>&1) || [[ $failure =~ already|Invalid ]] || complain_here "$failure"
}
has_ended() {
  [[ $(<"$ctl/jobs/$1/state") =~ ^(done|cancelled)$ ]]
}

# At once it waits; then it begins, scans, applies, and is over.
declare -A states=()
for pause in 0 0 0.01 0.02 0.03 0.05 0.08 0.1 0.15 0.2 0.3 0.5; do
  for verb in 'reconstruct force' 'verify now' 'repair full now'; do
    # The readers of the last round may have asked for a repair, which makes it anew meanwhile.
    until rm -rf "$store/index/example.com" 2>"$work/err"; do :; done
    echo "$verb joe@example.com" >"$ctl/ctl"
    job=$(readlink "$ctl/jobs/last")
    sleep "$pause"
    cancel "$job"
    within 20000 has_ended "$job"
    states[$(<"$ctl/jobs/$job/state")]=1
    expect_equal "$(find "$inbox" -name '*.eml' | wc -l)" 3000 "$verb, cancelled after $pause s"
  done
done
expect [ -n "${states[cancelled]:-}" ]

echo 'recursive wait' >"$ctl/repair"
expect_equal "$(<"$ctl/health")" ok
run check --full
expect_status 0
(cd "$mnt" && sha256sum --quiet -c "$work/before") || complain_here "the mail is not what it was"
