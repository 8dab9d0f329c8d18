#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that people can name is in a manual: options of mailfs, control files, verbs, words, settings,
# attributes, keys and events. (Commands of mailstore and their options: layers/lint.sh.)
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
pages=$MAILFS_SOURCE/docs/man

# named PAGE WHAT NAME...: the names must stand in the page, as words.
named() {
  local page=$1 what=$2 name escaped
  shift 2
  [ $# -gt 0 ] || complain_here "no $what at all"
  for name; do
    escaped=${name//./\\.} escaped=${escaped//+/\\+}
    grep -qE "^\.[A-Za-z].*[ (\"]${escaped}[],;:)*\"=]?( |/|$)" "$pages/$page" ||
      complain_here "$page does not name the $what '$name'"
  done
}

make_sample_store
mapfile -t options < <(mailfs -h | sed -nE '/^Options of mount/q; s/^  -o ([a-z_]+(=[A-Z]+,[a-z]+)?).*/\1/p' |
  sed 's/=[A-Z]*,/\n/')
named mailfs.8 option "${options[@]}"
mapfile -t options < <(mailfs -h | sed -nE 's/^  -([a-zV]), .*/\1/p; s/^  -([fs]) .*/\1/p')
named mailfs.8 option "${options[@]}"

allow_log 'job 1: check'
start -f
echo 'check wait' >"$mnt/.ctl/ctl"
mapfile -t files < <(find "$mnt/.ctl/" "$inbox/.ctl/" "$mnt/.ctl/jobs/last/" -mindepth 1 -maxdepth 1 -printf '%f\n' |
  grep -v '^[0-9]' | sort -u)
named mailfs.ctl.5 'control file' "${files[@]}"
mapfile -t settings < <(find "$mnt/.ctl/config" -type f -printf '%f\n')
named mailfs.ctl.5 setting "${settings[@]}"
mapfile -t settings < <(find "$mnt/.ctl/config" -name '*.*' -printf '%f\n')
for setting in "${settings[@]}"; do
  named mailfs-store.5 setting "${setting#*.}"
done
mapfile -t verbs < <(sed -n '/^#/d; s/ .*//p' "$mnt/.ctl/ctl")
named mailfs.ctl.5 verb "${verbs[@]}"
mapfile -t words < <(sed '/^#/d' "$mnt/.ctl/ctl" | grep -oE '\[[a-z-]+' | tr -d '[' | sort -u)
named mailfs.ctl.5 word "${words[@]}" 1 wait now cancel tag
# What the words are in the table of the interface's own, the README tells too.
mapfile -t words < <(sed -nE '/^Words:/,/^A line/s/^([a-z0-9-]+)(=[^ ]*)?  +.*/\1/p' "$mnt/.ctl/README")
named mailfs.ctl.5 word "${words[@]}"
mapfile -t columns < <(head -n 1 "$mnt/.ctl/queue" | tr -s ' ' '\n')
named mailfs.ctl.5 column "${columns[@]}"
mapfile -t keys < <(tail -n 1 "$mnt/.ctl/audit" | grep -oE '"[a-z]+":' | tr -d '":' | sort -u)
named mailfs.ctl.5 'key of the audit' "${keys[@]}" tag reason
mapfile -t rows < <(grep -ohE '^\{"type":"[a-z-]+"' "$mnt/.ctl/export.jsonl" | cut -d'"' -f4 | sort -u)
named mailfs.ctl.5 'row of the export' "${rows[@]}"
stop

# What only the source lists: attributes and types of events.
mapfile -t attributes < <(sed -nE 's/^    \{"([a-z0-9_-]+)", ON_.*/\1/p' "$MAILFS_SOURCE/fs/attribute.c")
named mailfs.ctl.5 attribute "${attributes[@]}"
mapfile -t events < <(grep -ohE '(trail_event \([a-z]+, |begin_event \()"[a-z-]+"' "$MAILFS_SOURCE"/fs/*.c | cut -d'"' -f2 | sort -u)
named mailfs.ctl.5 event "${events[@]}" action
