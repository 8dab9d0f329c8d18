#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The arrows of docs/architecture.md are the only ones: fs, tools -> store -> index -> sqlite.
# layers.sh [TREE] looks at the sources in TREE; without it, it first proves on a small tree of its own
# that each rule can fail.
set -euo pipefail

tree=${1:-$MAILFS_SOURCE}
broken=0

# refuse WHY PATTERN FOLDER...: no source in the folders may have a line that matches.
refuse() {
  local why=$1 pattern=$2 folder hits
  shift 2
  for folder in "$@"; do
    [ -d "$tree/$folder" ] || continue
    if hits=$(grep -rnE --include='*.[ch]' -- "$pattern" "$tree/$folder"); then
      printf '%s:\n%s\n' "$why" "$hits"
      broken=1
    fi
  done
}

look() {
  local ours='^[[:space:]]*#[[:space:]]*include[[:space:]]+[<"]'
  refuse 'index/ stands on nothing of ours' "$ours(store|fs|tools)/" index
  refuse 'store/ stands on index/ alone' "$ours(fs|tools)/" store
  refuse 'of index/, store/ sees the contract' "${ours}index/(internal|db|connection|schema)" store fs tools
  refuse 'fs/ and tools/ stand on the contracts of store/ and index/error.h' "${ours}index/index\.h" fs tools
  refuse 'of store/, fs/ and tools/ see the contract' "${ours}store/(internal|formats/)" fs tools
  refuse 'tools/ knows no fs/' "${ours}fs/" tools
  refuse 'fs/ knows no tools/' "${ours}tools/" fs
  refuse 'only index/ knows SQLite' "${ours}sqlite3" store fs tools
  refuse 'only fs/ knows FUSE' "${ours}fuse" index store tools
  refuse 'only store/ knows GMime and OpenSSL' "${ours}(gmime|openssl)/" index fs tools
  refuse 'SQL stands in index/ alone' \
    '"[^"]*(SELECT [^"]* FROM |INSERT (OR [A-Z]+ )?INTO |DELETE FROM |UPDATE [a-z_]+ SET |CREATE (TABLE|INDEX)|PRAGMA )' \
    store fs tools
}

# A contract is included by its full name, so anything that the patterns above do not name is new.
# Whatever fs/ and tools/ include of other folders must be one of the contracts.
look_for_strangers() {
  local folder hits
  for folder in fs tools; do
    [ -d "$tree/$folder" ] || continue
    hits=$(grep -rnE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' "$tree/$folder" |
      grep -vE "\"($folder/[a-z_-]+\.h|store/(store|commands|rescue|text)\.h|index/error\.h)\"" || true)
    if [ -n "$hits" ]; then
      printf '%s/ includes what is no contract:\n%s\n' "$folder" "$hits"
      broken=1
    fi
  done
}

# Every rule must be able to fail: FILE holding LINE has to be refused.
prove() {
  local file=$1 line=$2 scratch
  scratch=$(mktemp -d)
  mkdir -p "$scratch/$(dirname "$file")"
  printf '%s\n' "$line" >"$scratch/$file"
  if bash "${BASH_SOURCE[0]}" "$scratch" >/dev/null; then
    echo "not noticed: '$line' in $file"
    broken=1
  fi
  rm -r "$scratch"
}

look
look_for_strangers
if [ $# -eq 0 ]; then
  prove index/a.c '#include "store/store.h"'
  prove index/a.c '#include <fuse_lowlevel.h>'
  prove store/a.c '#include "fs/inode.h"'
  prove store/a.c '#include <sqlite3.h>'
  prove store/formats/a.c '#include "index/internal.h"'
  prove store/a.c '  "SELECT uid FROM message"'
  prove fs/a.c '#include "index/index.h"'
  prove fs/a.c '#include "store/internal.h"'
  prove fs/a.c '#include "store/jobs.h"'
  prove fs/a.c '#include <gmime/gmime.h>'
  prove fs/a.c '#include "store/layout.h"'
  prove tools/a.c '#include "fs/inode.h"'
  prove tools/a.c '#include <openssl/evp.h>'
  prove tools/a.c '  "DELETE FROM message"'
fi
exit "$broken"
