#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The metrics: text that Prometheus takes, and figures that are true.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

ctl=$mnt/.ctl
allow_log 'job [0-9]+: |INBOX/0000000001.eml: '

cat >"$work/parse.py" <<'PYTHON'
# parse.py FILE: the samples of an exposition, by name and labels, if it keeps to the letter of the format:
# https://prometheus.io/docs/instrumenting/exposition_formats/
import re, sys

NAME = r'[a-zA-Z_:][a-zA-Z0-9_:]*'
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf'({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\+Inf|-?[0-9]+(?:\.[0-9]+)?)')
TYPES = {'counter', 'gauge', 'histogram'}

def parse(text):
    samples, types, helps, done, family = {}, {}, set(), set(), None
    assert text.endswith('\n')
    for line in text.split('\n')[:-1]:
        if line.startswith('# HELP '):
            _, _, name, help = line.split(' ', 3)
            assert name not in helps and re.fullmatch(NAME, name) and help, line
            assert name.startswith('mailfs_'), line
            helps.add(name)
            done.add(family)
            family = name
        elif line.startswith('# TYPE '):
            _, _, name, type = line.split(' ')
            assert name == family and name not in types and type in TYPES, line
            assert (type == 'counter') == name.endswith('_total'), line
            types[name] = type
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name, labels = match[1], dict((key, value) for key, value in re.findall(LABEL, match[2] or ''))
            base = re.sub('_(bucket|sum|count)$', '', name) if types[family] == 'histogram' else name
            assert base == family and family not in done, line
            assert ('le' in labels) == (name == family + '_bucket' and types[family] == 'histogram'), line
            key = (name, tuple(sorted(labels.items())))
            assert key not in samples, line
            samples[key] = float(match[match.lastindex])
    assert set(types) == helps
    check_histograms(samples, types)
    return samples, types

def check_histograms(samples, types):
    for name in (name for name, type in types.items() if type == 'histogram'):
        series = {}
        for (sample, labels), value in samples.items():
            if sample == name + '_bucket':
                rest = tuple(pair for pair in labels if pair[0] != 'le')
                series.setdefault(rest, []).append((float(dict(labels)['le']), value))
        for rest, buckets in series.items():
            bounds, counts = zip(*buckets)
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == float('inf'), rest
            assert list(counts) == sorted(counts), rest
            assert counts[-1] == samples[(name + '_count', rest)], rest
            assert samples[(name + '_sum', rest)] >= 0, rest

if __name__ == '__main__':
    parse(open(sys.argv[1], encoding='utf-8', newline='\n').read())
PYTHON

# The checker can fail.
strict() {
  printf '%s' "$1" >"$work/bad"
  ! python3 "$work/parse.py" "$work/bad" 2>/dev/null || complain_here "taken for good: $1"
}
strict $'# HELP mailfs_a A.\n# TYPE mailfs_a counter\nmailfs_a 1\n'
strict $'# HELP mailfs_a A.\n# TYPE mailfs_a gauge\nmailfs_a 1\nmailfs_a 2\n'
strict $'# HELP mailfs_a A.\n# TYPE mailfs_a gauge\nmailfs_a{b="c" 2\n'
strict $'# HELP mailfs_a A.\n# TYPE mailfs_a histogram\nmailfs_a_bucket{le="1"} 2\nmailfs_a_bucket{le="+Inf"} 1\nmailfs_a_sum 1\nmailfs_a_count 1\n'
strict $'mailfs_a 1\n'

# scrape NAME: keeps what the file shows now. What it shows is held for a moment after it was looked at.
scrape() {
  sleep 0.15
  cat "$ctl/metrics" >"$work/$1"
  python3 "$work/parse.py" "$work/$1" || complain_here "metrics ($1)"
}

# is NAME EXPRESSION: true of value ('NAME', label='...') in the scrape.
is() {
  (cd "$work" && python3 - "$1" "$2") <<'PYTHON' || complain_here "not so in $1: $2"
import sys
sys.path.insert(0, '.')
from parse import parse
def load(name):
    return parse(open(name, encoding='utf-8').read())
samples, types = load(sys.argv[1])
def value(name, **labels):
    return samples[('mailfs_' + name, tuple(sorted(labels.items())))]
def requests(operation):
    return value('request_duration_seconds_count', operation=operation)
def before(name, **labels):
    return load('before')[0][('mailfs_' + name, tuple(sorted(labels.items())))]
shown = {key: value for key, value in samples.items() if 'bucket' not in key[0]}
assert eval(sys.argv[2]), '\n'.join(f'{key} {value}' for key, value in shown.items())
PYTHON
}

make_sample_store
start -f
scrape before
for python in /usr/bin/python3 python3; do
  "$python" -c 'import prometheus_client' 2>/dev/null || continue
  "$python" - "$work/before" <<'PYTHON' || complain_here 'the parser of Prometheus'
import sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(open(sys.argv[1], encoding='utf-8').read()))
assert len(families) > 25 and all(family.documentation and family.type != 'unknown' for family in families)
assert {'counter', 'gauge', 'histogram'} == {family.type for family in families}
PYTHON
  break
done
expect_equal "$(stat -c %a "$ctl/metrics")" 440
expect_error EPERM write_to "$ctl/metrics"

# Every name is in the manual.
sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$work/before" | while read -r name; do
  grep -q "^\.It Li .*\b$name\b" "$MAILFS_SOURCE/docs/man/mailfs.ctl.5" || echo "$name"
done >"$work/lacking"
expect_equal "$(<"$work/lacking")" ''

# ---- how the store is -------------------------------------------------------------------------------

is before 'value ("build_info", version="'"$(mailfs -V | sed 's/^mailfs \(.*\),.*/\1/')"'", libfuse="'"$(mailfs -V | sed 's/.*libfuse //')"'") == 1'
is before '[value ("health", state=state) for state in ("ok", "degraded", "damaged", "rebuilding")] == [1, 0, 0, 0]'
is before '[value (name) for name in ("domains", "users", "mailboxes", "messages")] == [1, 1, 3, 8]'
is before 'value ("messages_bytes") == '"$(find "$store/mail" -name '*.eml' -printf '%s\n' | awk '{ sum += $1 } END { print sum }')"
is before 'value ("messages_damaged") == value ("census_failed") == value ("queue_length") == value ("jobs_running") == 0'
is before 'all (value == 0 for (name, labels), value in samples.items () if name in ("mailfs_notices_total", "mailfs_actions_total"))'
is before 'value ("uptime_seconds") < 600'

# ---- what was done ------------------------------------------------------------------------------------

# As many requests as strace sees answers would be exact; here each kind has grown by what was surely asked.
find "$mnt" -type f >"$work/files"
python3 - "$mnt" "$work/files" <<'PYTHON'
import os, sys
for path in open(sys.argv[2]).read().splitlines():
    open(path, 'rb').read()
    os.getxattr(path, 'user.mailfs.uid')
    os.listxattr(path)
for i in range(25):
    try:
        os.stat(sys.argv[1] + f'/nothing-{i}')
    except FileNotFoundError:
        pass
os.statvfs(sys.argv[1])
PYTHON
scrape now
is now 'requests ("getxattr") - before ("request_duration_seconds_count", operation="getxattr") >= 8'
is now 'requests ("listxattr") - before ("request_duration_seconds_count", operation="listxattr") >= 8'
is now 'requests ("lookup") - before ("request_duration_seconds_count", operation="lookup") >= 25'
is now 'requests ("statfs") - before ("request_duration_seconds_count", operation="statfs") == 1'
is now 'requests ("readdirplus") > 3 and requests ("getattr") > 0 and requests ("write") == requests ("wait") == 0'
is now 'value ("listing_pages_total", made="then") + value ("listing_pages_total", made="before") == requests ("readdirplus")'
# Messages were read, by the kernel or by the daemon ahead of it; the control file itself was read twice.
is now 'value ("messages_verified_total") == value ("messages_verified_here") == 8'
is now 'value ("read_bytes_total") + value ("pushed_bytes_total") - before ("read_bytes_total") >= value ("messages_bytes")'
is now 'all (value >= load ("before")[0][key] for key, value in samples.items () if types.get (key[0]) == "counter")'
is now 'sum (requests (name) for name in ("other", "lookup", "getattr", "readdirplus", "read", "getxattr", "listxattr", "setxattr", "write", "statfs", "wait")) <= '"$(status_of requests)"

# Reading again what the kernel has costs no request.
cp "$work/now" "$work/before"
xargs cat <"$work/files" >/dev/null
scrape now
is now 'value ("messages_verified_total") == 8'
is now 'requests ("lookup") - before ("request_duration_seconds_count", operation="lookup") < 20'

# ---- control, jobs and damage ----------------------------------------------------------------------------

echo 'reconstruct joe@example.com wait' >"$ctl/ctl"
write_to "$ctl/ctl" 2>/dev/null || true
within 20000 grep -q '"state":"done"' "$ctl/events"
scrape now
is now 'value ("actions_total", result="done") == value ("actions_total", result="refused") == 1'
is now 'value ("jobs_ended_total", state="done") == 1 and value ("jobs_ended_total", state="failed") == 0'
is now 'requests ("write") == 1 and requests ("wait") == 1'
is now 'value ("events_total") == '"$(wc -l <"$ctl/events")"
file=$store/mail/example.com/user/joe/INBOX/0000000001.eml
printf X | dd of="$file" bs=1 seek=20 conv=notrunc status=none
umount "$mnt"
end_daemon 0
start -f -o worker=off
expect_error EIO cat "$inbox/0000000001.eml"
scrape now
is now 'value ("request_failures_total", errno="EIO") >= 1 and value ("request_failures_total", errno="EUCLEAN") == 0'
is now 'value ("messages_damaged_here") == 1 and value ("messages_damaged") == 0'
is now 'value ("health", state="damaged") == 1 and value ("health", state="ok") == 0'
echo check >"$ctl/ctl"
echo 'check full' >"$ctl/ctl"
scrape now
is now 'value ("queue_length") == 2'

# ---- while everything moves it stays valid ------------------------------------------------------------------

(until [ -e "$work/still" ]; do find "$mnt" -exec stat -c %s {} + >/dev/null 2>&1 || true; done) &
mover=$!
for i in 1 2 3 4 5 6; do
  scrape "moving$i"
done
touch "$work/still" # and not killed: what it has begun would keep the mount busy
wait "$mover"
for i in 2 3 4 5 6; do
  cp "$work/moving$((i - 1))" "$work/before"
  is "moving$i" 'all (value >= load ("before")[0][key] for key, value in samples.items () if key[0].endswith (("_bucket", "_total", "_count", "_sum")))'
done
stop
