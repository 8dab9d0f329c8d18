# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash source-path=SCRIPTDIR
# lib.sh - what the tests of the package share: the package, and a fresh Debian in a mount namespace.
#
#   deb                   the package, made of the build as it is
#   make_fresh PACKAGES   makes $fresh, Debian 12 with these packages and ours, from where this machine's own
#                         packages come from; skips where that cannot be
source "$(dirname "${BASH_SOURCE[0]}")/../tools/lib.sh"
PATH+=:/usr/sbin:/sbin
[ -z "${MAILFS_SANITIZE:-}" ] || skip 'programs with sanitizers are not for packages'
for program in cpack dpkg-deb dpkg-shlibdeps; do
  command -v "$program" >/dev/null || skip "no $program"
done
chmod 755 "$work"

# Nothing is built here, as cpack would like to.
(cd "$work" && cpack -G DEB --config "$MAILFS_BUILD/CPackConfig.cmake" -D CPACK_CMAKE_GENERATOR=Ninja -B "$work/deb") \
  >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
deb=$(echo "$work"/deb/*.deb)

make_fresh() {
  local mirror
  needs_fuse
  make_namespace
  command -v mmdebstrap >/dev/null || skip 'no mmdebstrap'
  # shellcheck disable=SC2016 # for apt-get
  mirror=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
    sed -n 's/^Debian bookworm main //p' | sort -u | head -n 1)
  [ -n "$mirror" ] || skip 'no mirror of Debian 12 is configured here'
  fresh=$work/fresh
  inside timeout 300 mmdebstrap --quiet --variant=apt --include="$1" --dpkgopt=force-unsafe-io \
    --aptopt='Acquire::http::Timeout "10"' --aptopt='Acquire::Retries "0"' \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --customize-hook="copy-in $deb /" \
    --customize-hook="chroot \"\$1\" sh -c 'apt-get install -y -q --no-install-recommends /*.deb'" \
    --skip=cleanup/tmp bookworm "$fresh" "$mirror" >"$work/log" 2>&1 || {
    # Whatever goes wrong once our package is being installed is our fault.
    if grep -q '^Setting up mailfs\|mailfs.*unmet\|mailfs :' "$work/log"; then
      cat "$work/log"
      exit 1
    fi
    skip "no fresh Debian: $(tail -n 3 "$work/log")"
  }
}
