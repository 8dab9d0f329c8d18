/* SPDX-License-Identifier: Apache-2.0 */
/* report-count.c - one pass over mailboxes and messages. */
#include "tools/print.h"
#include "tools/report.h"

#include <string.h>

#define PAGE  512
#define DAY_S ((int64_t)24 * 60 * 60)

/* Steps of 1, 2 and 5, so that each third bound is a power of ten. */
const uint64_t report_size_bounds[REPORT_SIZES - 1] = {
    1000,   2000,    5000,    10000,   20000,    50000,    100000,   200000,
    500000, 1000000, 2000000, 5000000, 10000000, 20000000, 50000000, 100000000};

static const int64_t age_bounds_s[REPORT_AGES - 1] = {
    DAY_S,       7 * DAY_S,       30 * DAY_S,      91 * DAY_S,   182 * DAY_S,
    365 * DAY_S, 2 * 365 * DAY_S, 5 * 365 * DAY_S, 3652 * DAY_S, 7305 * DAY_S};
const char *const report_age_names[REPORT_AGES] = {
    "up to a day", "1-7 days",  "7-30 days",  "1-3 months",  "3-6 months",        "6-12 months",
    "1-2 years",   "2-5 years", "5-10 years", "10-20 years", "more than 20 years"};

typedef struct {
  Report *report;
  Store *store;
  bool subjects;
  Progress *progress;
  ReportUser user;   /* whose mailboxes are being counted */
  uint32_t domain;   /* and the domain */
  ReportStrip strip; /* of the mailbox that is being counted */
  int month;         /* the present one, counted from year 0 */
} Counting;

/* ---- messages ------------------------------------------------------------------------------ */

static void
add_to_bin (ReportBin *bin, const StoreMessage *message)
{
  bin->messages++;
  bin->bytes += message->size;
}

static int
month_of (int64_t time_s)
{
  time_t time = (time_t)time_s;
  struct tm parts;
  return localtime_r (&time, &parts) != NULL ? (parts.tm_year + 1900) * 12 + parts.tm_mon : 0;
}

static void
count_date (Counting *self, const StoreMessage *message)
{
  Report *report = self->report;
  int64_t age_s = report->now_s - message->internal_s;
  size_t bin = 0;
  while (bin < G_N_ELEMENTS (age_bounds_s) && age_s >= age_bounds_s[bin])
    bin++;
  add_to_bin (&report->ages[bin], message);
  int back = self->month - month_of (message->internal_s);
  if (back >= REPORT_MONTHS)
    report->before++;
  else
    add_to_bin (&report->months[REPORT_MONTHS - 1 - MAX (back, 0)], message);
  report->future += age_s < 0;
  report->oldest_s = MIN (report->oldest_s, message->internal_s);
  report->newest_s = MAX (report->newest_s, message->internal_s);
}

/* NULL: there are enough of them. */
static ReportDamaged *
keep_damaged (Counting *self, StoreMailbox *mailbox, const StoreMessage *message)
{
  if (self->report->damaged_sample->len >= REPORT_DAMAGED)
    return NULL;
  ReportDamaged *kept = g_new0 (ReportDamaged, 1);
  *kept = (ReportDamaged){.uid = message->uid,
                          .damage = message->damage,
                          .size = message->size,
                          .internal_s = message->internal_s};
  kept->title =
      text_take_printable (store_node_title (self->store, store_mailbox_number (mailbox), NULL));
  g_auto (StoreSummary) summary = {0};
  if (self->subjects && store_message_summary (mailbox, message->uid, &summary, NULL) &&
      summary.envelope != NULL) {
    kept->from = text_take_printable (store_summary_field (&summary, "from"));
    kept->subject = text_take_printable (store_summary_field (&summary, "subject"));
  }
  g_ptr_array_add (self->report->damaged_sample, kept);
  return kept;
}

static void
count_message (Counting *self, StoreMailbox *mailbox, const StoreMessage *message,
               ReportMailbox *row)
{
  Report *report = self->report;
  size_t bin = 0;
  while (bin < G_N_ELEMENTS (report_size_bounds) && message->size >= report_size_bounds[bin])
    bin++;
  add_to_bin (&report->sizes[bin], message);
  count_date (self, message);
  row->messages++;
  row->keys[REPORT_BY_SIZE] += message->size;
  row->keys[REPORT_BY_MONTH] += message->internal_s > report->now_s - 30 * DAY_S;
  row->keys[REPORT_BY_YEAR] += message->internal_s > report->now_s - 365 * DAY_S;

  uint64_t range = MAX (self->strip.uidnext, 2) - 1;
  uint64_t cell = (uint64_t)(message->uid - 1) * self->strip.cells / range;
  cell = MIN (cell, self->strip.cells - 1);
  self->strip.present[cell]++;
  self->strip.damage[cell] |= (uint8_t)message->damage;
  self->strip.kinds |= message->damage;
  if (message->damage == 0)
    return;
  self->strip.damaged++;
  if ((message->damage & STORE_DAMAGE_GRAVE) != 0) {
    report->damaged++;
    self->user.damaged++;
  } else {
    report->odd++;
  }
  ReportDamaged *kept = keep_damaged (self, mailbox, message);
  if (report->places.wanted && (message->damage & STORE_DAMAGE_GRAVE) != 0)
    report_places_add (&report->places, mailbox, message, kept);
}

static bool
count_messages (Counting *self, StoreMailbox *mailbox, ReportMailbox *row, GError **error)
{
  StoreMessage page[PAGE];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!store_mailbox_page (mailbox, after, page, PAGE, &count, error))
      return false;
    for (size_t i = 0; i < count; i++)
      count_message (self, mailbox, &page[i], row);
    after = count > 0 ? page[count - 1].uid : 0;
    store_messages_clear (page, count);
    StoreProgress now = {.done = self->report->messages + row->messages, .unit = "messages"};
    progress_show (self->progress, &now);
    if (progress_interrupted () != 0)
      return fail (error, ECANCELED, "report was interrupted");
  }
  return true;
}

/* ---- mailboxes and users ------------------------------------------------------------------- */

/* What is worse weighs more. */
static int
weigh (StoreHealth health)
{
  static const int weights[] = {[STORE_HEALTH_OK] = 0,
                                [STORE_HEALTH_REBUILDING] = 1,
                                [STORE_HEALTH_DEGRADED] = 2,
                                [STORE_HEALTH_DAMAGED] = 3};
  return weights[health];
}

static StoreHealth
worse (StoreHealth a, StoreHealth b)
{
  return weigh (a) > weigh (b) ? a : b;
}

/* Puts the row where it belongs, if that is among the first. */
static void
offer_mailbox (Counting *self, ReportKey key, uint32_t number, const ReportMailbox *row)
{
  ReportTop *top = &self->report->tops[key];
  size_t at = top->count;
  while (at > 0 && top->rows[at - 1].keys[key] < row->keys[key])
    at--;
  if (at == REPORT_TOP || row->keys[key] == 0)
    return;
  if (top->count == REPORT_TOP)
    g_free (top->rows[--top->count].title);
  memmove (&top->rows[at + 1], &top->rows[at], (top->count++ - at) * sizeof *row);
  top->rows[at] = *row;
  top->rows[at].title = text_take_printable (store_node_title (self->store, number, NULL));
}

static bool
goes_before (const ReportUser *a, const ReportUser *b)
{
  return a->health != b->health ? weigh (a->health) > weigh (b->health) : a->bytes > b->bytes;
}

static void
offer_user (Counting *self)
{
  Report *report = self->report;
  size_t at = report->top_users_count;
  while (at > 0 && goes_before (&self->user, &report->top_users[at - 1]))
    at--;
  if (at == REPORT_TOP)
    return;
  if (report->top_users_count == REPORT_TOP)
    g_free (report->top_users[--report->top_users_count].title);
  memmove (&report->top_users[at + 1], &report->top_users[at],
           (report->top_users_count++ - at) * sizeof self->user);
  report->top_users[at] = self->user;
  report->top_users[at].title =
      text_take_printable (store_node_title (self->store, self->user.number, NULL));
}

/* All mailboxes of a user have been counted. */
static void
leave_user (Counting *self)
{
  if (self->user.number == STORE_ROOT)
    return;
  uint8_t health = (uint8_t)self->user.health;
  g_byte_array_append (self->report->user_health, &health, 1);
  self->report->users_in_trouble += health != STORE_HEALTH_OK;
  offer_user (self);
  self->user = (ReportUser){0};
}

/* The mailboxes of a user come one after the other, and so do the users of a domain. */
static void
enter_user (Counting *self, uint32_t number)
{
  if (number == self->user.number)
    return;
  leave_user (self);
  self->user.number = number;
  g_auto (StoreNode) owner = {0}, above = {0};
  if (!store_node_get (self->store, number, &owner, NULL))
    return;
  uint32_t domain = owner.parent;
  if (owner.kind == STORE_NODE_USER && store_node_get (self->store, owner.parent, &above, NULL))
    domain = above.parent;
  self->report->users += owner.kind == STORE_NODE_USER;
  self->report->domains += domain != self->domain;
  self->domain = domain;
}

static void
keep_strip (Counting *self, uint32_t number)
{
  Report *report = self->report;
  report->strips_count++;
  if (report->strips->len >= REPORT_STRIPS)
    return;
  ReportStrip *strip = g_memdup2 (&self->strip, sizeof self->strip);
  strip->title = text_take_printable (store_node_title (self->store, number, NULL));
  g_ptr_array_add (report->strips, strip);
}

static void
add_mailbox (Counting *self, uint32_t number, const StoreMailboxInfo *info,
             const ReportMailbox *row)
{
  Report *report = self->report;
  bool behind = info->health == STORE_HEALTH_DEGRADED;
  report->mailboxes++;
  report->messages += row->messages;
  report->bytes += row->keys[REPORT_BY_SIZE];
  report->unseen += info->unseen;
  report->expunged += info->expunged;
  report->behind += behind;
  self->user.mailboxes++;
  self->user.messages += row->messages;
  self->user.bytes += row->keys[REPORT_BY_SIZE];
  self->user.behind += behind;
  self->user.health = worse (self->user.health, row->health);
  for (ReportKey key = 0; key < REPORT_KEYS; key++)
    offer_mailbox (self, key, number, row);
  if (self->strip.damaged > 0)
    keep_strip (self, number);
}

static void
keep_unreadable (Counting *self, uint32_t number, const GError *failure)
{
  Report *report = self->report;
  report->unreadable_count++;
  self->user.health = STORE_HEALTH_DAMAGED;
  if (report->unreadable->len >= REPORT_STRIPS)
    return;
  g_autofree char *title = store_node_title (self->store, number, NULL);
  g_autofree char *text = g_strdup_printf ("%s: %s", title != NULL ? title : "?", failure->message);
  g_ptr_array_add (report->unreadable, store_text_printable (text));
}

/* What was removed meanwhile is not there to be counted. */
static bool
count_mailbox (Counting *self, const StoreNode *node, GError **error)
{
  enter_user (self, node->owner);
  g_autoptr (GError) failure = NULL;
  StoreMailboxInfo info;
  ReportMailbox row = {0};
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, node->number, &failure);
  bool good = mailbox != NULL && store_mailbox_info (mailbox, &info, &failure);
  if (good) {
    self->strip = (ReportStrip){.uidnext = info.uidnext,
                                .cells = CLAMP (info.uidnext, 2, REPORT_CELLS + 1) - 1};
    row.health = info.health;
    good = count_messages (self, mailbox, &row, &failure);
  }
  if (good) {
    if ((self->strip.kinds & STORE_DAMAGE_GRAVE) != 0)
      row.health = worse (row.health, STORE_HEALTH_DAMAGED);
    add_mailbox (self, node->number, &info, &row);
    return true;
  }
  int code = error_code (failure);
  if (code == ECANCELED) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (code != ENOENT && code != ESTALE)
    keep_unreadable (self, node->number, failure);
  return true;
}

static bool
count_node (const StoreNode *node, void *data, GError **error)
{
  Counting *self = data;
  return (node->kind != STORE_NODE_MAILBOX || count_mailbox (self, node, error)) &&
         store_node_each_child (self->store, node->number, NULL, count_node, self, error);
}

/* Whether another of the nodes is above it, or the same one stands before it: then it is counted
 * there. */
static bool
is_counted_elsewhere (Store *store, const GArray *nodes, guint index)
{
  uint32_t own = g_array_index (nodes, uint32_t, index);
  for (guint i = 0; i < index; i++) {
    if (g_array_index (nodes, uint32_t, i) == own)
      return true;
  }
  for (uint32_t number = own; number != STORE_ROOT;) {
    g_auto (StoreNode) node = {0};
    if (!store_node_get (store, number, &node, NULL))
      return false;
    number = node.parent;
    for (guint i = 0; i < nodes->len; i++) {
      if (g_array_index (nodes, uint32_t, i) == number)
        return true;
    }
  }
  return false;
}

bool
report_count (Report *report, Store *store, const GArray *nodes, bool subjects, Progress *progress,
              GError **error)
{
  Counting self = {.report = report,
                   .store = store,
                   .subjects = subjects,
                   .progress = progress,
                   .month = month_of (report->now_s)};
  g_autoptr (GString) scope = g_string_new (NULL);
  StoreNode root = {.number = STORE_ROOT};
  for (guint i = 0; i < nodes->len; i++) {
    uint32_t number = g_array_index (nodes, uint32_t, i);
    g_auto (StoreNode) node = {0};
    g_autofree char *title = text_take_printable (store_node_title (store, number, error));
    if (title == NULL || !store_node_get (store, number, &node, error))
      return false;
    g_string_append_printf (scope, "%s%s", i > 0 ? ", " : "", title);
    if (!is_counted_elsewhere (store, nodes, i) && !count_node (&node, &self, error))
      return false;
  }
  if (nodes->len == 0 && !count_node (&root, &self, error))
    return false;
  leave_user (&self);
  if (nodes->len > 0)
    report->scope = g_string_free (g_steal_pointer (&scope), FALSE);
  return true;
}
