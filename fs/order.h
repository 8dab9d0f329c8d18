/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.h - what somebody asked for by writing to a control file or setting an attribute.
 */
#pragma once

#include "fs/control.h"
#include "fs/trail.h"
#include "store/commands.h"

/* ---- order.c: what somebody asked for ------------------------------------------------------ */

/* One write(2) or setxattr(2), while it is looked at and acted on. */
struct Order {
  Mount *mount;
  ControlNode node; /* that was written to, or whose attribute was set */
  Caller caller;
  const char *through; /* "ctl", "repair", "user.mailfs.cmd.repair": for the audit */
  char *text;          /* what was asked for, for the audit; owned */
  char *tag;           /* that the caller gave it, NULL; owned */
  GArray *jobs;        /* uint64_t: what was queued or started; owned */
  bool wait;           /* reply when these have ended */
};

Order order_begin (fuse_req_t req, const ControlNode *node, const char *through);
void order_clear (Order *order);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Order, order_clear)

/* What is written to ctl: one command a line. All lines are looked at before any acts. */
bool order_lines (Order *order, const char *text, GError **error);

/* What is written to a verb file or a command attribute: "1", "dry-run age=7d", "wait", "cancel",
 * for the directory `number` (STORE_ROOT: the whole store); one request a line. */
bool order_verb (Order *order, const StoreCommand *command, uint32_t number, const char *words,
                 GError **error);

/* Leaves the trail and answers the request: now, or when the jobs have ended. `size` is that of a
 * write; 0 for setxattr. */
void order_reply (fuse_req_t req, Order *order, bool good, const GError *error, size_t size);

/* What write(2) or setxattr(2) brought, as text; NULL: it is none. */
char *order_text (const char *bytes, size_t size, GError **error);

/* ---- write.c: whole lines ------------------------------------------------------------------ */

Pieces *pieces_new (void);
void pieces_free (Pieces *self);

/* Drops the beginnings of lines that nobody has ended. */
void pieces_expire (Mount *mount);
