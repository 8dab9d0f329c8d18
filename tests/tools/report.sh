#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore report: in words, as JSON, and as a page that a browser shows as it should.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

# An empty store has something to say, too.
mailstore -q init
run report
expect_status 0
expect_out 'health      ok: '
expect_out 'There is nothing to do.'
run report --html "$work/empty.html"
expect_status 0
expect_no_out

# Names and subjects are whatever somebody sent.
mailstore -q import --format eml "$sample" joe@example.com >/dev/null
mailstore -q import --format eml "$sample" ann@example.org >/dev/null
hostile='joe@example.com/<script>alert(1)<%2Fscript>'
image='joe@example.com/"><img src=x onerror=alert(2)>&amp;'
long="joe@example.com/$(printf 'W%.0s' {1..200})"
mailstore -q mailbox create "$hostile" "$image" "$long"
printf 'From: "</td><script>alert(3)</script>" <a@example.com>\nSubject: </table><script>alert(4)</script>\n\nHello\n' |
  mailstore -q deliver "$hostile" >/dev/null
mailstore -q deliver "$image" <"$sample/01-welcome.eml" >/dev/null

# A message rots, an index is lost, a job fails, and some wait.
message="$store/mail/example.com/user/joe/<script>alert(1)<%2Fscript>/0000000001.eml"
printf X | dd of="$message" bs=1 seek=80 conv=notrunc status=none
run reconstruct --force "$hostile"
rm "$store/index/example.org/user/ann.sqlite3"
run backup /proc/nowhere
[ "$status" -ne 0 ] || complain 'that cannot be backed up to'
run queue add check

# In words.
run report
expect_status 0
expect_out 'damaged: 1 message is not what was delivered. 3 mailboxes are served from the files.'
expect_out '18 messages'
expect_out 'digest  joe@example.com/<script>alert(1)<%2Fscript> 1'
expect_out 'mailstore restore DIR'
expect_out 'mailstore repair'
expect_out '1 job has failed'
expect_out '1 job waits and none runs'
[[ $out != *alert\(4\)* ]] || complain 'a subject that nobody asked for'
run report --subjects
expect_out '</table><script>alert(4)</script>'
run report ann@example.org ann@example.org/INBOX
expect_out ' 8 messages'
expect_out 'mailstore repair ann@example.org'
run report nobody@example.com
expect_status 66
expect_one_error

# Without its list the store is as whole as before, but not well. A mount of it does as well.
mv "$store/mailboxes.sqlite3" "$work/list.sqlite3"
run report joe@example.com/INBOX
expect_out 'health      degraded: The mailbox list is not as the directories are.'
expect_out 'mailstore reconstruct -m'
mv "$work/list.sqlite3" "$store/mailboxes.sqlite3"
run report joe@example.com/INBOX
expect_out 'health      ok: '
if [ -e /dev/fuse ] && [ "$(id -u)" -eq 0 ]; then
  mkdir "$work/mnt"
  mailfs -o ro "$store" "$work/mnt"
  mounts+=("$work/mnt")
  run -s "$work/mnt" report
  expect_out ' 18 messages'
  umount "$work/mnt"
  mounts=()
fi

# Every figure is one that the list gives.
mailstore --json list >"$work/list"
run --json report
cat "$work/list" >>"$work/out"
expect_json 'rows[0]["messages"] == sum(r["messages"] for r in rows if r["type"] == "mailbox")' \
  'rows[0]["bytes"] == sum(r["bytes"] for r in rows if r["type"] == "mailbox")' \
  'rows[0]["unseen"] == sum(r["unseen"] for r in rows if r["type"] == "mailbox")' \
  'rows[0]["mailboxes"] == sum(r["type"] == "mailbox" for r in rows)' \
  'rows[0]["users"] == 2 and rows[0]["damaged"] == 1 and rows[0]["behind"] == 3' \
  'rows[0]["waiting"] == 1 and rows[0]["health"] == "damaged"' \
  'any(r["type"] == "step" and r["command"] == "mailstore repair" for r in rows)'

# The page takes the place of the last one when it is whole, and only of a file.
echo old >"$work/report.html"
run report --subjects --html "$work/report.html"
expect_status 0
expect_no_out
expect_equal "$(stat -c %a "$work/report.html")" 640
expect_equal "$(find "$work" -name 'report.html?*' | wc -l)" 0 'something is left'
mailstore report --html - | grep -q '^</html>$' || complain 'no page on standard output'
run report --html "$work"
expect_status 73
run report --html "$work/nowhere/report.html"
expect_err "write $work/nowhere/report.html: "
[ "$status" -ne 0 ] || complain 'there is no such directory'
expect_one_error
run report --html /dev/full
expect_status 73
for bad in '<script' '<img' 'alert(1)</' 'onerror=alert(2)>' 'http://' 'https://'; do
  ! grep -qF "$bad" "$work/report.html" || complain "the page has $bad"
done

# Very many damaged messages, each in a way of its own: cut, zeros, longer, a byte.
many=${REPORT_MANY:-2000}
MAILSTORE=$work/many
mailstore -q init
python3 - "$many" >"$work/many.mbox" <<'PYTHON'
import sys
for number in range(int(sys.argv[1])):
    print(f'From joe Thu Jan  1 00:00:00 2026\nSubject: {number}\n\n' + ('x' * 70 + '\n') * (100 + number % 60))
PYTHON
mailstore -q import --format mbox "$work/many.mbox" joe@example.com
python3 - "$MAILSTORE/mail/example.com/user/joe/INBOX" <<'PYTHON'
import os, sys
for number, name in enumerate(sorted(name for name in os.listdir(sys.argv[1]) if name.endswith('.eml'))):
    path = os.path.join(sys.argv[1], name)
    size = os.path.getsize(path)
    if number % 4 == 0:
        os.truncate(path, size // 2)
    with open(path, 'r+b') as file:
        if number % 4 == 1:
            file.seek(number % 1000)
            file.write(bytes(4096))
        elif number % 4 == 2:
            file.seek(size)
            file.write(b'more' * 1000)
        elif number % 4 == 3:
            file.seek(20)
            file.write(b'\377')
PYTHON
mailstore -q repair --full joe@example.com >"$work/out" 2>&1 || true
run report --html "$work/many.html"
expect_status 0
[ "$(stat -c %s "$work/many.html")" -lt 400000 ] || complain 'a page that grows with the damage'
MAILSTORE=$store

# In a browser, where there is one.
status=0
python3 - "$(dirname "$0")" "$work" <<'PYTHON' || status=$?
import json, os, sys
sys.path.insert(0, sys.argv[1])
from browser import Browser, find_program

work = sys.argv[2]
if find_program() is None:
    sys.exit(77)
MANY = int(os.environ.get('REPORT_MANY', '2000'))
mailboxes = [json.loads(line) for line in open(work + '/list')]
messages = sum(row['messages'] for row in mailboxes)
TEXT = 'document.querySelector("%s").firstChild.textContent'
failed = 0


def expect(name, value, wanted):
    global failed
    if value != wanted:
        failed += 1
        print(f'{name}: {value!r}, not {wanted!r}')


def look(browser, file, **how):
    url = f'file://{work}/{file}'
    page = browser.open(url, **how)
    expect(f'{how}: console', page.complaints, [])
    expect(f'{how}: requests', page.requests, [url])
    expect(f'{how}: overflow', page.evaluate(
        '[...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > '
        'document.documentElement.clientWidth + 1 && !e.closest("svg")).map(e => e.outerHTML.slice(0, 60))'), [])
    expect(f'{how}: scrolling', page.evaluate('document.documentElement.scrollWidth <= innerWidth'), True)
    return page


CONTRAST = '''(() => {
  const light = c => c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { const c = getComputedStyle(e).backgroundColor;
    return c !== 'rgba(0, 0, 0, 0)' ? c : e.parentElement ? behind(e.parentElement) : 'rgb(255, 255, 255)'; };
  return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() &&
      [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).filter(e => {
    const style = getComputedStyle(e), text = style[e.closest('svg') ? 'fill' : 'color'];
    const [a, b] = [light(text), light(behind(e.closest('svg') || e))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5 && e.localName !== 'title';
  }).map(e => e.outerHTML.slice(0, 80));
})()'''

OVERLAPS = '''[...document.querySelectorAll('svg.plot, svg.scale')].flatMap(svg => {
  const boxes = [...svg.querySelectorAll('text')].filter(e => e.checkVisibility())
    .map(e => [e.textContent, e.getBoundingClientRect()]);
  return boxes.flatMap(([name, a], i) => boxes.slice(i + 1).filter(([, b]) => a.left < b.right && b.left < a.right &&
    a.top + 2 < b.bottom && b.top + 2 < a.bottom).map(([other]) => name + ' and ' + other));
})'''

with Browser(work + '/profile') as browser:
    for how in ({'width': 1100, 'height': 900}, {'width': 1100, 'height': 900, 'dark': True},
                {'width': 360, 'height': 740}, {'width': 700, 'height': 900, 'paper': True}):
        page = look(browser, 'report.html', **how)
        expect(f'{how}: contrast', page.evaluate(CONTRAST), [])
        expect(f'{how}: overlaps', page.evaluate(OVERLAPS), [])
        expect('messages', page.evaluate(TEXT % '#messages'), f'{messages:,}')
        expect('mailboxes', page.evaluate(TEXT % '#mailboxes'), f'{len(mailboxes):,}')
        expect('damaged', page.evaluate(TEXT % '#damaged'), '1')
        expect('health', page.evaluate('document.querySelector("#health").className'), 'health damaged')
        expect('elements', page.evaluate('document.querySelectorAll("script, img, [onerror]").length'), 0)
        names = page.evaluate('[...document.querySelectorAll("#tops bdi")].map(e => e.textContent)')
        for row in mailboxes:
            if row['bytes'] > 0 and row['mailbox'] not in names:
                expect('names', names, row['mailbox'])
        # What a plot shows adds up, and so does its table.
        for figure in range(3):
            expect('table', page.evaluate(
                f'[...document.querySelectorAll("figure")][{figure}].querySelectorAll("tbody tr").length'),
                page.evaluate(f'[...document.querySelectorAll("figure")][{figure}].querySelectorAll("rect.bar").length'))
            expect('sum', page.evaluate(
                f'[...[...document.querySelectorAll("figure")][{figure}].querySelectorAll("td:nth-child(2)")]'
                '.map(e => +e.textContent.replace(",", "")).reduce((a, b) => a + b)'), messages)
        expect('subject', page.evaluate('document.body.textContent.includes("</table><script>alert(4)")'), True)
        expect('strip', page.evaluate('document.querySelectorAll("#damage rect.bad").length'), 1)
        expect('names of plots', page.evaluate(
            '[...document.querySelectorAll("[role=img]")].every(e => e.getAttribute("aria-label"))'), True)
    look(browser, 'empty.html', width=360, height=740)
    for width in 1100, 360:
        page = look(browser, 'many.html', width=width, height=900, dark=width < 1000)
        expect('overlaps', page.evaluate(OVERLAPS), [])
        expect('lanes', page.evaluate(
            '[...document.querySelectorAll("#places .scale text")].map(e => e.textContent)'),
            ['truncated', 'zero-run', 'size-mismatch', 'hash-mismatch'])
        expect('messages', page.evaluate('document.querySelector("#places .note").textContent').split('. ')[:4],
               [f'{kind}: {MANY // 4:,}' for kind in ('truncated', 'zero-run', 'size-mismatch', 'hash-mismatch')])
        # The second half of each cut one is missing, the end of each longer one is too much.
        lanes = page.evaluate('[...document.querySelectorAll("#places rect")].map(e => '
                              '[e.getAttribute("class"), e.getAttribute("y"), parseFloat(e.getAttribute("x"))])')
        expect('cut', 49 < min(x for kind, y, x in lanes if y == '0' and kind == 'bad') <= 50, True)
        expect('longer', 60 < min(x for kind, y, x in lanes if y == '36' and kind == 'bad') < 80, True)
        expect('a byte', [(kind, x) for kind, y, x in lanes if y == '54' and kind != 'there'], [('warn', 0)])
        expect('bars', page.evaluate('document.querySelectorAll("svg.within").length'), 200)
        expect('a bar', page.evaluate('[...document.querySelector("svg.within").querySelectorAll("rect.bad")]'
                                      '.map(e => e.getAttribute("x") + " " + e.getAttribute("width"))'),
               ['50.00% 50.00%'])
    page = look(browser, 'report.html', width=360, height=740, scripts=False)
    if os.environ.get('REPORT_PICTURES'):
        page.screenshot(os.environ['REPORT_PICTURES'])
sys.exit(failed > 0)
PYTHON
case $status in
0) ;;
77) [ "$failures" -gt 0 ] || skip 'no browser to look at the page with' ;;
*) complain 'the page' ;;
esac
