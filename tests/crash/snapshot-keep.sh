#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is left when these are cut short at any of their calls; see crash.py.
exec python3 -B "$(dirname "$0")/crash.py" keep
