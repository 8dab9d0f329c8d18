/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - what mailstore report counts in one pass over a store, and who tells it.
 *
 *   g_autoptr (Report) report = report_new (tool, store, nodes, subjects, &error);
 *   report_print (report);                            // on a terminal
 *   g_autoptr (GString) page = report_page (report);  // or a page that stands alone
 *
 * Whatever the size of the store, a Report has a bounded size but for a byte a user: figures are
 * counted into bins, and of mailboxes, users, damaged messages and jobs only those are kept that
 * are shown. All text in it is printable UTF-8.
 */
#pragma once

#include "tools/print.h"
#include "tools/tools.h"

#define REPORT_SIZES    17  /* bins of the histogram of sizes */
#define REPORT_AGES     11  /* and of ages */
#define REPORT_MONTHS   120 /* that are told of one by one */
#define REPORT_TOP      10  /* mailboxes and users in a list */
#define REPORT_CELLS    200 /* of a strip of the damage map */
#define REPORT_STRIPS   40
#define REPORT_DAMAGED  200
#define REPORT_JOBS     100
#define REPORT_WAITING  20
#define REPORT_FINDINGS 50
#define REPORT_LANES    5 /* kinds of damage that are in some place of a message */

/* What the bins end at, but for the last, which has no end. */
extern const uint64_t report_size_bounds[REPORT_SIZES - 1];
extern const char *const report_age_names[REPORT_AGES];

typedef struct {
  uint64_t messages, bytes;
} ReportBin;

/* What a list of mailboxes is sorted by. */
typedef enum {
  REPORT_BY_SIZE,
  REPORT_BY_MONTH, /* messages dated within the last 30 days */
  REPORT_BY_YEAR,  /* and within the last 365 */
  REPORT_KEYS,
} ReportKey;

typedef struct {
  char *title;
  uint64_t keys[REPORT_KEYS];
  uint64_t messages;
  StoreHealth health;
} ReportMailbox;

/* The first mailboxes by one key, the greatest first. */
typedef struct {
  ReportMailbox rows[REPORT_TOP];
  size_t count;
} ReportTop;

/* A user, or the shared folders of a domain. */
typedef struct {
  uint32_t number; /* of the node; STORE_ROOT: none */
  char *title;
  uint64_t mailboxes, messages, bytes;
  uint64_t damaged; /* messages that are not what was delivered */
  uint64_t behind;  /* mailboxes that are served from their files */
  StoreHealth health;
} ReportUser;

/* Where in the range of its UIDs a mailbox is damaged: cells of equal width, from UID 1 on. */
typedef struct {
  char *title;
  uint32_t uidnext;
  uint32_t cells;                 /* that there are: in a small range each UID is one */
  uint64_t damaged;               /* messages with any damage */
  uint32_t kinds;                 /* StoreDamage of all of them */
  uint32_t present[REPORT_CELLS]; /* how many messages there are */
  uint8_t damage[REPORT_CELLS];   /* StoreDamage of those */
} ReportStrip;

typedef struct {
  char *title;          /* of the mailbox */
  char *from, *subject; /* NULL: none, or nobody wants to know */
  uint32_t uid;
  uint32_t damage; /* StoreDamage */
  uint64_t size;
  int64_t internal_s;
  uint8_t
      *cells; /* REPORT_CELLS of it: what is damaged where, a bit for each lane; NULL: not known */
} ReportDamaged;

/* Where inside of messages the damage is: cells from the beginning of each to its end. */
typedef struct {
  bool wanted;
  uint64_t messages, left; /* that were looked into; that were not, since there are so many */
  uint64_t counts[REPORT_LANES];
  uint32_t cells[REPORT_LANES][REPORT_CELLS];
} ReportPlaces;

/* What somebody should do, and the command that does it; NULL: no command does. */
typedef struct {
  char *why, *command;
} ReportStep;

typedef struct {
  int64_t now_s;
  double seconds; /* that counting took */
  char *store, *uuid;
  char *scope; /* the mailboxes that were named; NULL: the whole store */

  StoreHealth health;
  uint64_t domains, users, mailboxes, messages, bytes, unseen, expunged;
  uint64_t damaged;           /* messages that are not what was delivered */
  uint64_t odd;               /* messages with no other damage than NUL bytes or passed limits */
  uint64_t behind;            /* mailboxes that are served from their files */
  bool forensic;              /* the store is evidence */
  bool list_lost;             /* the mailbox list is not as the directories are */
  int64_t oldest_s, newest_s; /* of messages; INT64_MAX and INT64_MIN when there is none */

  ReportBin sizes[REPORT_SIZES], ages[REPORT_AGES];
  ReportBin months[REPORT_MONTHS]; /* the last one is the present month */
  uint64_t future, before;         /* messages dated later than now, and before these months */
  ReportTop tops[REPORT_KEYS];

  GByteArray *user_health;          /* StoreHealth of each, in the order of their names */
  ReportUser top_users[REPORT_TOP]; /* the worst first, then the largest */
  size_t top_users_count;
  uint64_t users_in_trouble;

  GPtrArray *strips;         /* of ReportStrip, in the order of their names */
  uint64_t strips_count;     /* with those that are not kept; likewise below */
  GPtrArray *damaged_sample; /* of ReportDamaged; `damaged` and `odd` count all */
  ReportPlaces places;
  GPtrArray *unreadable; /* of char *: mailboxes that could not be read, and why */
  uint64_t unreadable_count;

  GQueue jobs;    /* of StoreRecord *, the newest last */
  GQueue waiting; /* of StoreRecord *, the next one first */
  uint64_t jobs_count, waiting_count, running;
  bool rebuilding;
  bool queue_lost;           /* it could not be read */
  const StoreRecord *looked; /* the newest job that looked for damage and has ended; NULL: none */
  GPtrArray *findings;       /* of StoreFinding: what it left */

  uint64_t quarantined, quarantined_bytes;
  uint64_t snapshots, snapshots_bytes; /* and what is kept for them */
  uint64_t disk_size, disk_free;       /* of the filesystem that holds the mail; free for us */
  GPtrArray *settings;                 /* of char *, by StoreSetting */
  GPtrArray *steps;                    /* of ReportStep, the most urgent first */
} Report;

/* ---- report-data.c --------------------------------------------------------------------------- */

/* Counts what is in `nodes` (uint32_t) and below; empty: in the whole store. With `subjects`
 * damaged messages are told by sender and subject, too; with `places` they are read, to find out
 * where they are damaged. A mailbox that cannot be read is no failure. */
Report *report_new (const Tool *tool, Store *store, const GArray *nodes, bool subjects, bool places,
                    GError **error);
void report_free (Report *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Report, report_free)

/* ---- report-count.c: the pass over the mail -------------------------------------------------- */

bool report_count (Report *report, Store *store, const GArray *nodes, bool subjects,
                   Progress *progress, GError **error);

/* ---- report-places.c: where messages are damaged --------------------------------------------- */

/* Finds out where a message is damaged, for `kept`, which may be NULL, too. */
void report_places_add (ReportPlaces *self, StoreMailbox *mailbox, const StoreMessage *message,
                        ReportDamaged *kept);
void plot_places (GString *page, const ReportPlaces *places);
void plot_message (GString *page, const ReportDamaged *damaged);

/* ---- report-steps.c: what the figures mean --------------------------------------------------- */

void report_find_steps (Report *self);

/* Why the store is in that health: one sentence. */
char *report_explain_health (const Report *self);

/* The key that tells which mailboxes are busy: REPORT_KEYS when none had mail for a year. */
ReportKey report_busy_key (const Report *self);

/* How long the job took; -1: it did not run, or has not ended. */
int64_t report_job_seconds (const StoreRecord *record);

/* "done", "3 left" ... */
char *report_job_result (const StoreRecord *record);

/* ---- report-page.c: the page ----------------------------------------------------------------- */

GString *report_page (const Report *report);
void report_page_tables (GString *page, const Report *report); /* report-table.c: its lower part */
extern const char report_style[];                              /* report-style.c: its CSS */

/* Appends what printf would; all strings among the arguments are escaped. */
void page_add (GString *page, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* ---- report-plot.c: its plots ---------------------------------------------------------------- */

/*
 * A plot has a fixed height and the width that there is: its places are per cent, and its text
 * keeps its size. What a narrow screen has no room for is of the class "wide".
 */
typedef struct {
  uint64_t value;
  const char *label; /* below it; NULL: none */
  bool wide;         /* the label is for wide screens only */
  char *title;       /* what it says of itself when it is pointed at */
} PlotBar;

/* Bars on a scale from 0 in round steps. With `edges` labels stand where a bar ends, else below it.
 */
void plot_bars (GString *page, const char *title, const PlotBar *bars, size_t count, bool edges);

void plot_strip (GString *page, const ReportStrip *strip);
void plot_users (GString *page, const GByteArray *health);
void plot_jobs (GString *page, const GQueue *jobs);
