/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.c - mailstore list: the mailboxes of a store, or the messages of a mailbox.
 *
 * Lines are printed as they are found, so a store of any size is listed in little memory; columns
 * are aligned by widths that hold all but the largest figures, and what may be long comes last.
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define PAGE 128

static gboolean recursive, detailed, no_headers;

const GOptionEntry list_options[] = {
    {"long", 'l', 0, G_OPTION_ARG_NONE, &detailed, "print more of each", NULL},
    {"recursive", 'r', 0, G_OPTION_ARG_NONE, &recursive,
     "list a mailbox and all below it, instead of its messages", NULL},
    {"no-headers", 0, 0, G_OPTION_ARG_NONE, &no_headers, "leave the headings out", NULL},
    {NULL},
};

/* ---- mailboxes ---- */

bool
mailbox_print (Site *site, const StoreNode *node, GError **error)
{
  StoreMailboxInfo info;
  g_autofree char *path = site_node_path (site, node->number, error);
  if (path == NULL || !site_mailbox_info (site, node->number, &info, error))
    return false;
  g_autofree char *title = store_path_title (path);
  g_autofree char *unescaped = store_name_unescape (node->name);
  GString *json = json_begin ("mailbox");
  json_string (json, "mailbox", title);
  json_string (json, "path", path);
  json_string (json, "name", node->full_name != NULL ? node->full_name : unescaped);
  json_uint (json, "messages", info.messages);
  json_uint (json, "unseen", info.unseen);
  json_uint (json, "expunged", info.expunged);
  json_uint (json, "bytes", info.bytes);
  json_uint (json, "uidvalidity", info.uidvalidity);
  json_uint (json, "uidnext", info.uidnext);
  json_uint (json, "highestmodseq", info.highestmodseq);
  json_string (json, "health", store_health_name (info.health));
  json_bool (json, "subscribed", node->subscribed);
  json_string (json, "special_use", node->special_use);
  json_print (json);
  return true;
}

static bool
print_mailbox (Site *site, StoreNode *node, void *data, GError **error)
{
  const Tool *tool = data;
  if (tool->json)
    return site_node_state (site, node, error) && mailbox_print (site, node, error);
  g_autofree char *title = site_node_title (site, node->number, error);
  if (title == NULL)
    return false;
  g_autofree char *printable = store_text_printable (title);
  if (!detailed) {
    puts (printable);
    return true;
  }
  StoreMailboxInfo info;
  if (!site_mailbox_info (site, node->number, &info, error))
    return false;
  g_autofree char *size = text_size (info.bytes);
  printf ("%6u %8s %6u %5u %10u %6u %-8s %s\n", info.messages, size, info.unseen, info.expunged,
          info.uidvalidity, info.uidnext, store_health_name (info.health), printable);
  return true;
}

/* The mailbox `top`, if it is one, and every mailbox below it. */
static bool
list_mailboxes (const Tool *tool, Site *site, uint32_t top, GError **error)
{
  if (detailed && !no_headers && !tool->json)
    printf ("%6s %8s %6s %5s %10s %6s %-8s %s\n", "MSGS", "SIZE", "UNSEEN", "GONE", "VALIDITY",
            "NEXT", "HEALTH", "MAILBOX");
  return tree_each (site, top, true, print_mailbox, (void *)tool, error);
}

/* ---- messages ---- */

void
message_print_json (const char *title, const Letter *letter)
{
  const StoreMessage *message = &letter->message;
  char name[STORE_NAME_SIZE];
  store_message_name (message->uid, name);
  g_autofree char *internal = text_rfc3339 (message->internal_s);
  g_autofree char *sent = text_rfc3339 (letter->sent_s);
  g_autofree char *flags = store_flags_to_string (message->flags, message->keywords);
  g_autofree char *damage = store_damage_to_string (message->damage);

  GString *json = json_begin ("message");
  json_string (json, "mailbox", title);
  json_uint (json, "uid", message->uid);
  json_string (json, "name", name);
  json_uint (json, "size", message->size);
  json_string (json, "internaldate", internal);
  json_words (json, "flags", flags);
  json_uint (json, "modseq", message->modseq);
  json_words (json, "damage", damage);
  json_string (json, "sent", sent);
  json_string (json, "from", letter->from);
  json_string (json, "to", letter->to);
  json_string (json, "subject", letter->subject);
  json_string (json, "message_id", letter->message_id);
  json_print (json);
}

#define DATE_WIDTH     (detailed ? 19 : 10)
#define FLAGS_WIDTH    (detailed ? 24 : 12)
#define FROM_WIDTH     (detailed ? 30 : 18)
#define BEFORE_SUBJECT (7 + 1 + 9 + 2 + 10 + 2 + FLAGS_WIDTH + 2 + FROM_WIDTH + 2)

static void
print_message_heading (void)
{
  printf ("%7s %9s  %-*s  ", "UID", "SIZE", DATE_WIDTH, "DATE");
  if (detailed)
    printf ("%7s  %-8s  ", "MODSEQ", "DAMAGE");
  printf ("%-*s  %-*s  %s\n", FLAGS_WIDTH, "FLAGS", FROM_WIDTH, "FROM", "SUBJECT");
}

/* A column, cut so that those behind it stay where they are; --json has it whole. */
static void
append_field (GString *line, const char *value, int width)
{
  g_autofree char *text = store_text_printable (value != NULL ? value : "");
  g_autofree char *shown = text_cut (text, width);
  g_autofree char *padded = text_pad (shown, width);
  g_string_append_printf (line, "%s  ", padded);
}

void
message_print (const Letter *letter, int columns)
{
  const StoreMessage *message = &letter->message;
  g_autofree char *date = text_local_time (message->internal_s);
  g_autofree char *flags = store_flags_to_string (message->flags, message->keywords);
  g_autoptr (GString) line = g_string_new (NULL);
  g_string_printf (line, "%7u %9" PRIu64 "  %.*s  ", message->uid, message->size, DATE_WIDTH, date);
  if (detailed) {
    g_autofree char *damage = store_damage_to_string (message->damage);
    g_string_append_printf (line, "%7" PRIu64 "  %-8s  ", message->modseq,
                            *damage != '\0' ? damage : "-");
  }
  append_field (line, flags, FLAGS_WIDTH);
  append_field (line, letter->from, FROM_WIDTH);
  g_autofree char *text = store_text_printable (letter->subject != NULL ? letter->subject : "");
  if (columns > 0 && !detailed) {
    g_autofree char *fitting = text_cut (text, MAX (columns - BEFORE_SUBJECT, 1));
    g_string_append (line, fitting);
  } else {
    g_string_append (line, text);
  }
  puts (g_strchomp (line->str));
}

typedef struct {
  const Tool *tool;
  const char *title;
  int columns;
} Listing;

static void
print_letter (const Letter *letter, void *data)
{
  const Listing *listing = data;
  if (listing->tool->json)
    message_print_json (listing->title, letter);
  else
    message_print (letter, listing->columns);
}

static bool
list_messages (const Tool *tool, Site *site, uint32_t number, GError **error)
{
  g_autofree char *title = site_node_title (site, number, error);
  if (title == NULL)
    return false;
  if (!no_headers && !tool->json)
    print_message_heading ();
  Listing listing = {tool, title, text_columns (STDOUT_FILENO)};
  return site_each_letter (site, number, print_letter, &listing, error);
}

bool
list_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc > 1)
    return fail (error, EINVAL, "list takes one MAILBOX");
  g_autoptr (Site) site = site_open (tool, STORE_READ_ONLY, error);
  g_auto (StoreNode) node = {0};
  if (site == NULL || !site_resolve (site, argc == 1 ? argv[0] : "", &node, error))
    return false;
  if (node.kind == STORE_NODE_MAILBOX && !recursive)
    return list_messages (tool, site, node.number, error);
  return list_mailboxes (tool, site, node.number, error);
}
