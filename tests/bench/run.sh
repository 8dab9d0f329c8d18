#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# run.sh [PART...] - how fast and how small, as ratios to peers measured in the same run. See README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export MAILFS_BUILD=${MAILFS_BUILD:-$here/../../build-release}
export BENCH_PEERS=${BENCH_PEERS:-$here/../../../shared/bench}
export BENCH_WORK=${BENCH_WORK:-/var/tmp/mailfs-bench}
exec python3 -B "$here/bench.py" "$@"
