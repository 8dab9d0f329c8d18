#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The damages that mail stores are known for, each followed by a check and a repair; see damages.py.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

setfattr -n user.test -v 1 "$work" 2>/dev/null || skip 'the filesystem keeps no user attributes'
python3 -B "$(dirname "$0")/damages.py" "$work" || complain 'the damages'
