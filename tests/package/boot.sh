#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The units at work: a fresh Debian with the package is booted in a container, mounts a store, has its daemon
# killed, checks, cleans up, and loses the package.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
command -v systemd-nspawn >/dev/null || skip 'no systemd-nspawn'
make_fresh fuse3,systemd-sysv,dbus
cp -r "$sample" "$fresh/root/sample"

# Runs while the system boots. What it prints is looked at below.
cat >"$fresh/root/try" <<'INSIDE'
exec >/root/log 2>&1
say() { echo "$1: $("${@:2}" 2>&1 | tail -n 1)"; }
mailstore -q init
mailstore -q import --format eml /root/sample joe@example.com
systemctl start mailfs@mail
say mounted ls /mnt/mail/example.com/user/joe/INBOX
echo wait >/mnt/mail/.ctl/check
say checked cat /mnt/mail/.ctl/check
pid=$(systemctl show -P MainPID mailfs@mail)
[ "$pid" -gt 1 ] && kill -KILL "$pid"
until [ "$(systemctl show -P NRestarts mailfs@mail)" = 1 ] && systemctl -q is-active mailfs@mail; do sleep 0.1; done
say again ls /mnt/mail/example.com/user/joe/INBOX
say status systemctl show -P StatusText mailfs@mail
for service in mailfs-check@mail mailfs-clean@mail; do
  systemctl start "$service"
  say "$service" systemctl show -P Result "$service"
done
rm -r /var/lib/mailfs/index
systemctl start mailfs-check@mail
say found systemctl show -P Result mailfs-check@mail
say timers systemctl enable --now mailfs-check@mail.timer mailfs-clean@mail.timer
say due systemctl is-active mailfs-check@mail.timer
dpkg -P mailfs
say left sh -c "grep -c mailfs /proc/mounts; ls -A /mnt/mail; find /etc/systemd -name 'mailfs*'"
systemctl -q poweroff
INSIDE
cat >"$fresh/etc/systemd/system/try.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=bash /root/try
TimeoutStartSec=400
UNIT
mkdir -p "$fresh/etc/systemd/system/multi-user.target.wants"
ln -s /etc/systemd/system/try.service "$fresh/etc/systemd/system/multi-user.target.wants/"
inside mount -t tmpfs tmpfs /run
inside timeout 420 systemd-nspawn --quiet --register=no --keep-unit --bind=/dev/fuse -D "$fresh" --boot \
  >"$work/log" 2>&1 </dev/null || true
[ -e "$fresh/root/log" ] || skip "no container can be booted here: $(head -n 3 "$work/log")"
out=$(<"$fresh/root/log")
for line in 'mounted: 0000000005.eml' 'checked: done 1 fixed=0 left=0' 'again: 0000000005.eml' 'status: mounted' \
  'mailfs-check@mail: success' 'mailfs-clean@mail: success' 'found: exit-code' 'due: active' 'left: 0'; do
  expect_out "$line"
done
