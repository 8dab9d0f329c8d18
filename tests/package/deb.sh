#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Debian package: it is well formed, and in a fresh Debian it installs, mounts a store, goes, and leaves
# nothing but the mail. The fresh Debian comes from where this machine's own packages come from.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
if command -v lintian >/dev/null; then
  lintian --allow-root --fail-on error "$deb" >"$work/log" 2>&1 || complain "lintian: $(<"$work/log")"
fi
out=$(dpkg-deb -I "$deb" control)
expect_out 'libfuse3-3 (>='
expect_out 'libsqlite3-0 (>='
# Everything that is installed otherwise is in the package, too, manuals compressed.
dpkg-deb -x "$deb" "$work/content"
DESTDIR=$work/root cmake --install "$MAILFS_BUILD" --prefix /usr >"$work/log" 2>&1
while IFS= read -r file; do
  file=${file/#.\/usr\/lib\/systemd/.\/lib\/systemd}
  [[ $file != ./usr/share/man/* ]] || file+=.gz
  [ -e "$work/content/$file" ] || [ -L "$work/content/$file" ] || complain "the package lacks $file"
done < <(cd "$work/root" && find . ! -type d)

# ---- in a fresh Debian ----
make_fresh fuse3
inside mount -t proc proc "$fresh/proc"
mknod -m 666 "$fresh/dev/fuse" c 10 229

# there STATUS COMMAND...: leaves $out and $err.
there() {
  status=0
  inside chroot "$fresh" env -u MAILSTORE "${@:2}" >"$work/out" 2>"$work/err" </dev/null || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
  [ "$status" -eq "$1" ] || complain "${*:2}: exit status $status, not $1"
}
there 0 dpkg -s mailfs
expect_out 'Status: install ok installed'
cp -r "$sample" "$fresh/root/sample"
there 0 mailstore init
there 0 mailstore import --format eml /root/sample joe@example.com
expect_out "8 imported"
mkdir "$fresh/mnt/mail"
echo '/var/lib/mailfs /mnt/mail mailfs defaults,nofail 0 0' >>"$fresh/etc/fstab"
for command in 'mailfs /var/lib/mailfs /mnt/mail' 'mount /mnt/mail' 'mount -a' \
  'mount -t fuse.mailfs /var/lib/mailfs /mnt/mail'; do
  # shellcheck disable=SC2086 # words
  there 0 $command
  there 0 cmp /root/sample/01-welcome.eml /mnt/mail/example.com/user/joe/INBOX/0000000001.eml
  there 0 umount /mnt/mail
done
there 0 fsck.mailfs -n /var/lib/mailfs
expect_out 'clean, 3 mailboxes, 8 messages'

# Scripts can be run again and again; the settings that somebody changed stay when the package is
# installed again, and when it is removed.
for script in 'postinst configure' 'postinst configure 0.1.0-1' 'prerm upgrade 0.1.0-2' 'postrm upgrade 0.1.0-2'; do
  # shellcheck disable=SC2086 # words
  there 0 sh /var/lib/dpkg/info/mailfs.${script%% *} ${script#* }
done
echo 'OPTIONS=ro' >>"$fresh/etc/mailfs/mail.conf"
cp "$fresh/etc/mailfs/mail.conf" "$work/changed"
cp "$deb" "$fresh/mailfs.deb"
there 0 dpkg -i /mailfs.deb
there 0 dpkg -r mailfs
cmp "$work/changed" "$fresh/etc/mailfs/mail.conf" || complain 'settings were lost'
[ ! -e "$fresh/usr/bin/mailfs" ] || complain 'a program was left'
mkdir -p "$fresh/etc/systemd/system/multi-user.target.wants"
ln -s /lib/systemd/system/mailfs@.service "$fresh/etc/systemd/system/multi-user.target.wants/mailfs@mail.service"
there 0 dpkg -P mailfs
there 0 sh -c 'dpkg -i /mailfs.deb && dpkg -P mailfs'
out=$(cd "$fresh" && find . -xdev -name '*mailfs*' ! -path './proc/*' ! -path './var/log/*' ! -path './mailfs*.deb' | sort)
expect_equal "$out" './var/lib/mailfs
./var/lib/mailfs/mailfs.conf'
