/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rows.h - what the rows of the control table show, and do with what is written to them; control.h
 * tells what each kind of function is for.
 */
#pragma once

#include "fs/order.h"

/* ---- readme.c: how to use it --------------------------------------------------------------- */

bool readme_render (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- status.c: how the store is ------------------------------------------------------------ */

bool status_render_health (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool status_render_text (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool status_render_json (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- metrics.c: what was counted ----------------------------------------------------------- */

bool metrics_render (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- trail.c, audit.c: what happened ------------------------------------------------------- */

bool trail_render_events (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool trail_render_last_error (Mount *mount, const ControlNode *node, GString *out, GError **error);
int audit_open (Mount *mount, const ControlNode *node, GError **error);

/* ---- order.c: commands --------------------------------------------------------------------- */

bool order_write_ctl (Order *order, char *text, GError **error);
bool order_write_verb (Order *order, char *text, GError **error);
bool order_render_state (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool order_render_grammar (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- jobs.c: the jobs ---------------------------------------------------------------------- */

bool job_render_names (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_last (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_cmd (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_state (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_progress (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_result (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_log (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_spill_report (Mount *mount, const ControlNode *node, FILE *out, GError **error);
bool job_spill_queue (Mount *mount, const ControlNode *node, FILE *out, GError **error);
bool job_write_cancel (Order *order, char *text, GError **error);

/* ---- snapshots.c: the snapshots ------------------------------------------------------------ */

bool snapshots_render_names (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool snapshots_render_latest (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- config.c: one value a file ------------------------------------------------------------ */

bool config_render_setting (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_write_setting (Order *order, char *text, GError **error);
bool config_render_store (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_uuid (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_mountpoint (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_ctl (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_ctldir (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_xattrs (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_read_only (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_verify (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_damaged (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_audit (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_worker (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_write_verify (Order *order, char *text, GError **error);
bool config_write_worker (Order *order, char *text, GError **error);
