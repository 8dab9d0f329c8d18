/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - config/: one value a file.
 *
 * The store's settings are set in mailfs.conf, too; what belongs to this mount only lives as long
 * as it does.
 */
#include "fs/control.h"
#include "fs/jobs.h"
#include "fs/order.h"
#include "fs/rows.h"
#include "store/commands.h"

#include <string.h>

/* The words for a value, by the enums of Options. */
static const char *const switch_names[] = {"off", "on", NULL};
static const char *const ctl_names[] = {"hidden", "visible", "off", NULL};
static const char *const xattrs_names[] = {"all", "data", "none", NULL};
static const char *const verify_names[] = {"first", "always", "never", NULL};
static const char *const damaged_names[] = {"eio", "partial", "raw", NULL};
static const char *const audit_names[] = {"actions", "read"};

/* Which of the words the text is. */
static bool
take_word (Order *order, char *text, const char *const *names, int *out, GError **error)
{
  g_autofree char *all = g_strjoinv (", ", (char **)names);

  order->text = g_strdup (g_strstrip (text));
  for (int i = 0; names[i] != NULL; i++)
    if (g_str_equal (text, names[i])) {
      *out = i;
      return true;
    }
  return fail (error, EINVAL, "the value is one of: %s", all);
}

static bool
show (GString *out, const char *value)
{
  g_string_append_printf (out, "%s\n", value);
  return true;
}

/* ---- settings of the store ---------------------------------------------------------------- */

bool
config_render_setting (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_autofree char *value = store_setting_string (mount->store, (StoreSetting)node->row);

  return show (out, value);
}

bool
config_write_setting (Order *order, char *text, GError **error)
{
  order->text = g_strdup (g_strstrip (text));
  return store_setting_set (order->mount->store, (StoreSetting)order->node.row, text, error);
}

/* ---- of this mount ------------------------------------------------------------------------ */

bool
config_render_store (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, store_path (mount->store));
}

bool
config_render_uuid (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, store_uuid (mount->store));
}

bool
config_render_mountpoint (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, mount->options->mountpoint);
}

bool
config_render_ctl (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, ctl_names[mount->options->ctl]);
}

bool
config_render_ctldir (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, mount->options->ctldir);
}

bool
config_render_xattrs (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, xattrs_names[mount->options->xattrs]);
}

bool
config_render_read_only (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, switch_names[store_is_read_only (mount->store)]);
}

bool
config_render_verify (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, verify_names[mount->verify]);
}

bool
config_write_verify (Order *order, char *text, GError **error)
{
  int mode;

  if (!take_word (order, text, verify_names, &mode, error))
    return false;
  order->mount->verify = (VerifyMode)mode;
  return true;
}

bool
config_render_damaged (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, damaged_names[mount->options->damaged]);
}

bool
config_render_audit (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, audit_names[mount->options->audit]);
}

bool
config_render_worker (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  return show (out, switch_names[worker_is_on (mount->worker)]);
}

bool
config_write_worker (Order *order, char *text, GError **error)
{
  int on;

  if (!take_word (order, text, switch_names, &on, error))
    return false;
  worker_turn (order->mount->worker, on != 0);
  return true;
}
