/* SPDX-License-Identifier: Apache-2.0 */
/*
 * damage.c - mailstore damage: which bytes of which messages are damaged.
 *
 *   mailstore damage joe@example.com/INBOX
 *   mailstore damage --json | jq 'select (.kind == "zero-run")'
 *
 * The map comes as it is written for the control file of a mount; as JSON each line becomes an
 * object, whose members the first line names.
 */
#include "tools/site.h"
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>

typedef struct {
  GString *line; /* as far as it has come */
  char **names;  /* of the columns; NULL: not known yet */
} Converter;

static bool
is_figure (const char *name)
{
  return g_str_equal (name, "uid") || g_str_equal (name, "offset") || g_str_equal (name, "length");
}

static void
convert_line (Converter *self)
{
  if (*self->line->str == '#') {
    if (self->names == NULL)
      self->names = g_strsplit (self->line->str + strlen ("# "), "\t", 0);
    return;
  }
  g_auto (GStrv) fields = g_strsplit (self->line->str, "\t", 0);
  GString *json = json_begin ("damage");
  for (guint i = 0; fields[i] != NULL && self->names != NULL && self->names[i] != NULL; i++) {
    if (is_figure (self->names[i]))
      json_uint (json, self->names[i], g_ascii_strtoull (fields[i], NULL, 10));
    else
      json_string (json, self->names[i], fields[i]);
  }
  json_print (json);
}

static ssize_t
write_lines (void *cookie, const char *bytes, size_t size)
{
  Converter *self = cookie;
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] != '\n') {
      g_string_append_c (self->line, bytes[i]);
      continue;
    }
    convert_line (self);
    g_string_truncate (self->line, 0);
  }
  return (ssize_t)size;
}

static bool
write_json (Site *site, uint32_t number, GError **error)
{
  g_autoptr (GString) line = g_string_new (NULL);
  Converter converter = {.line = line};
  FILE *out = fopencookie (&converter, "w", (cookie_io_functions_t){.write = write_lines});
  if (out == NULL)
    return fail_errno (error, "standard output");
  bool good = site_damage_write (site, number, out, error);
  fclose (out);
  g_strfreev (converter.names);
  return good;
}

bool
damage_run (Tool *tool, int argc, char **argv, GError **error)
{
  g_auto (StoreNode) node = {0};
  if (argc > 1)
    return fail (error, EINVAL, "damage takes one MAILBOX, USER or DOMAIN, or none");
  g_autoptr (Site) site = site_open (tool, STORE_READ_ONLY, error);
  if (site == NULL || !site_resolve (site, argc > 0 ? argv[0] : "", &node, error))
    return false;
  return tool->json ? write_json (site, node.number, error)
                    : site_damage_write (site, node.number, stdout, error);
}
