/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export.c - mailstore manifest, timeline and export: what a store tells of its messages for others
 * to keep.
 *
 *   cd /srv/mail && mailstore manifest | sha256sum -c
 *   mailstore timeline >body && mactime -b body -d >timeline.csv
 *   mailstore export --format jsonl joe@example.com >joe.jsonl
 *   mailstore export --bagit DIR joe@example.com
 */
#include "tools/site.h"
#include "tools/tools.h"

#include <string.h>

static char *format, *bag;

const GOptionEntry export_options[] = {
    {"format", 0, 0, G_OPTION_ARG_STRING, &format, "jsonl: one JSON object a line", "FORMAT"},
    {"bagit", 0, 0, G_OPTION_ARG_FILENAME, &bag,
     "put the messages with their digests into this directory (RFC 8493)", "DIR"},
    {NULL},
};

typedef bool (*WriteFunc) (Site *site, uint32_t number, FILE *out, GError **error);

static bool
write_all (Tool *tool, int argc, char **argv, WriteFunc write, GError **error)
{
  g_auto (StoreNode) node = {0};
  if (argc > 1)
    return fail (error, EINVAL, "%s takes one MAILBOX, USER or DOMAIN, or none", tool->command);
  /* A mount writes neither for its snapshots. */
  g_autoptr (Site) site =
      (tool->snapshot != NULL ? site_open_store : site_open) (tool, STORE_READ_ONLY, error);
  return site != NULL && site_resolve (site, argc > 0 ? argv[0] : "", &node, error) &&
         write (site, node.number, stdout, error);
}

bool
manifest_run (Tool *tool, int argc, char **argv, GError **error)
{
  return write_all (tool, argc, argv, tool->json ? site_manifest_json_write : site_manifest_write,
                    error);
}

bool
timeline_run (Tool *tool, int argc, char **argv, GError **error)
{
  return write_all (tool, argc, argv, site_timeline_write, error);
}

bool
export_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (bag != NULL && (format != NULL || argc > 1))
    return fail (error, EINVAL, "export --bagit takes one MAILBOX, USER or DOMAIN, or none");
  if (bag != NULL)
    return bag_write (tool, argc > 0 ? argv[0] : "", bag, error);
  if (format == NULL || strcmp (format, "jsonl") != 0)
    return fail (error, EINVAL, "export wants --format jsonl or --bagit DIR");
  return write_all (tool, argc, argv, site_export_write, error);
}
