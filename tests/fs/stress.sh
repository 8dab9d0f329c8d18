#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writers, an administrator, a worker and a reader of a mount, all at once on one user; see stress.py.
# $STRESS_SECONDS makes it longer.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
start -f
allow_log 'queued|repair|reconstruct|cleanup|done'
python3 -B "$(dirname "$0")/stress.py" "$mnt" "${STRESS_SECONDS:-10}" || complain 'everything at once'
stop
