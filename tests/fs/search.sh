#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Looking for messages by making directories: what is found is the messages themselves, as they are now.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore -q flag joe@example.com 1,3 +Seen
mailstore -q flag joe@example.com 3 '+Work'
allow_log 'search'
start -f
search=$mnt/.ctl/search

# names DIRECTORY: what is in it, by mailbox and UID as the store has them.
names() {
  find "$1" -mindepth 1 -printf '%f\n' | sort
}

# like QUERY [MAILBOX...]: the directory has just the messages that mailstore finds.
like() {
  local path
  mkdir "$search/$1" || complain_here "mkdir $1"
  mailstore search -p -- "$1" >"$work/paths" || true
  (cd "$search/$1" && find . -type f -exec sha256sum {} + | cut -d' ' -f1 | sort) >"$work/found"
  while read -r path; do
    sha256sum "$mnt/$path" | cut -d' ' -f1
  done <"$work/paths" | sort >"$work/wanted"
  [ -s "$work/wanted" ] || complain_here "nothing to find for $1"
  diff "$work/wanted" "$work/found" || complain_here "not the same: $1"
}

# ---- what is found ----
like 'flag:seen'
like 'flag:seen -keyword:work'
like 'body:"look for it with grep"'
mkdir "$search/in:joe%2FLists"
expect_equal "$(names "$search/in:joe%2FLists" | wc -l)" "$(find "$mnt/example.com/user/joe/Lists" -name '*.eml' | wc -l)"
rmdir "$search/in:joe%2FLists"
like 'in:INBOX larger:500'
like 'from:"orders@shop.example.net"'
expect [ "$(names "$search/flag:seen" | wc -l)" -eq 2 ]
mkdir "$search/subject:nothing-like-that"
expect [ -z "$(names "$search/subject:nothing-like-that")" ]
expect [ "$(find "$search" -mindepth 1 -maxdepth 1 | wc -l)" -eq 6 ]

# They are the messages: the same inode and attributes.
first=$(names "$search/flag:seen" | head -n 1)
[[ $first =~ ^[0-9]{8}-0000000001\.eml$ ]] || complain "not a name of a message: $first"
expect_equal "$(stat -c '%i %s %Y' "$search/flag:seen/$first")" "$(stat -c '%i %s %Y' "$inbox/0000000001.eml")"
cmp "$search/flag:seen/$first" "$inbox/0000000001.eml" || complain 'not the same bytes'
expect_equal "$(getfattr -h --only-values -n user.mailfs.flags "$search/flag:seen/$first")" '\Seen'
expect grep -rq 'Subject' "$search/flag:seen"

# ---- of the moment ----
mailstore -q flag joe@example.com 1 -Seen
expect [ "$(names "$search/flag:seen" | wc -l)" -eq 2 ]
mailstore -q expunge --uid 1 joe@example.com/INBOX >"$work/out"
within 20000 [ ! -e "$inbox/0000000001.eml" ]
expect [ ! -e "$search/flag:seen/$first" ]
rmdir "$search/flag:seen" || complain 'rmdir'
expect [ ! -e "$search/flag:seen" ]
mkdir "$search/flag:seen"
expect [ "$(names "$search/flag:seen" | wc -l)" -eq 1 ]

# ---- below a mailbox ----
mkdir "$inbox/.ctl/search/since:1990" || complain 'mkdir in a mailbox'
expect_equal "$(names "$inbox/.ctl/search/since:1990" | wc -l)" "$(find "$inbox" -name '*.eml' | wc -l)"
expect [ ! -e "$search/since:1990" ]
expect [ ! -e "$mnt/example.com/.ctl/search/since:1990" ]

# ---- what cannot be ----
# refused ERRNO COMMAND...
refused() {
  local code=$1
  shift
  if "$@" 2>"$work/err"; then
    complain_here "not refused: $*"
  fi
  grep -q "$code" "$work/err" || complain_here "$(<"$work/err")"
}
refused 'Invalid argument' mkdir "$search/form:ann"
expect grep -q "'form:ann': there is no such key" "$mnt/.ctl/last_error"
refused 'File exists' mkdir "$search/flag:seen"
refused 'Operation not permitted' mkdir "$search/flag:seen/x"
refused 'No such file' rmdir "$search/nothing"
refused 'Operation not permitted' rm "$search/flag:seen/$(names "$search/flag:seen")"
refused 'Operation not permitted' touch "$search/x"
refused 'No such file' cat "$search/flag:seen/00000001-1.eml"
refused 'No such file' cat "$search/flag:seen/$first"
expect grep -q '"command":"search query=flag:seen"' "$mnt/.ctl/audit"

# ---- bounded ----
for number in {1..70}; do
  mkdir "$search/uid:$number" 2>"$work/err" || break
done
expect grep -q 'No space left' "$work/err"
expect grep -q 'there are 64 searches' "$mnt/.ctl/last_error"
find "$search" -mindepth 1 -maxdepth 1 -name 'uid:*' -exec rmdir {} +
mkdir "$search/uid:1" || complain 'no room after rmdir'
stop

# ---- read-only, and in snapshots, nothing can be asked for ----
start -f -o ro
refused 'Read-only file system' mkdir "$search/flag:seen"
stop

# ---- the end of the daemon ends searches, too ----
start -f
mkdir "$search/flag:seen"
mkdir "$search/body:zzz" 2>"$work/err" &
making=$!
kill -INT "$daemon"
end_daemon 0
wait "$making" || true
expect [ ! -e "$search" ]
