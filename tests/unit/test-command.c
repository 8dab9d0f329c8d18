/* SPDX-License-Identifier: Apache-2.0 */
/* Requests, how they are spelt; and the commands that are done at once. */
#include "test-store.h"

/* ---- requests ------------------------------------------------------------------------------ */

/* The request that words separated by '|' make. */
static StoreRequest *
parse (Store *store, const char *line, GError **error)
{
  g_auto (GStrv) words = g_strsplit (line, "|", -1);
  return store_request_parse (store, (const char *const *)words, error);
}

static void
assert_action (Store *store, const char *line, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreRequest) request = parse (store, line, &error);
  g_assert_no_error (error);
  g_autofree char *action = request_action (request);
  g_assert_cmpstr (action, ==, expected);
}

/* Whatever is in a name survives as text, and the same request has the same text. */
static void
test_spelling (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (StoreMailbox) inbox G_GNUC_UNUSED = open_named (store, "joe@example.com");
  static const char *const lines[][2] = {
      {"mailbox|create|a b|c,d|100%|$(x)", "mailbox-create of=a%20b,c%2Cd,100%25,$(x)"},
      {"mailbox-create|of=a%20b,c%2cd|100%25%", "mailbox-create of=a%20b,c%2Cd,100%2525%25"},
      {"mailbox|create|--|force|--|1", "mailbox-create of=force,--,1"},
      {"mailbox-create|special-use=\\sent|x", "mailbox-create of=x special-use=\\sent"},
      {"quarantine|restore|1|2", "quarantine-restore of=1,2"},
      {"copy|to=x y|uid=1:*|joe@example.com", "copy uid=1:* to=x%20y"},
      {"flag|uid=1|add=\\Seen,Work flagged|joe@example.com",
       "flag uid=1 add=\\Seen,Work%20flagged"},
      {"reconstruct|1|--|joe@example.com", "reconstruct"},
      {"snapshot|take", "snapshot-take"},
      {"snapshot|take|a b", "snapshot-take of=a%20b"},
      {"snapshot|rename|--|brief|1", "snapshot-rename of=brief,1"},
      {"snapshot-list|brief", "snapshot-list brief"},
      {"snapshot-diff|a|b|joe@example.com/Gone", "snapshot-diff of=a,b,joe@example.com/Gone"},
      {"restore|directory=/a b%|joe@example.com", "restore directory=/a%20b%25 of=joe@example.com"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (lines); i++)
    assert_action (store, lines[i][0], lines[i][1]);
}

static void
test_wrong (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox G_GNUC_UNUSED = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) other G_GNUC_UNUSED =
      open_named (fixture->store, "joe@example.com/Work");
  static const struct {
    const char *line;
    int code;
    const char *reason;
  } wrong[] = {
      {"mailbox|joe@example.com", EINVAL, "no command 'mailbox'"},
      {"flag|uid=1|joe@example.com", EINVAL, "set, add, remove"},
      {"flag|add=x|joe@example.com", EINVAL, "'uid'"},
      {"flag|uid=1|add=x", EINVAL, "one mailbox"},
      {"flag|uid=1|add=x|joe@example.com|joe@example.com/Work", EINVAL, "one mailbox"},
      {"flag|uid=1|add=|joe@example.com", EINVAL, "names no flag"},
      {"flag|uid=1|add=a(b|joe@example.com", EINVAL, "a(b"},
      {"flag|uid=1|add=\\Recent|joe@example.com", EINVAL, "Recent"},
      {"flag|uid=x|add=a|joe@example.com", EINVAL, "x"},
      {"copy|uid=1|joe@example.com", EINVAL, "'to'"},
      {"move|uid=1|to=|joe@example.com", EINVAL, "no mailbox"},
      {"mailbox|create", EINVAL, "MAILBOX..."},
      {"mailbox|create|of=", EINVAL, "MAILBOX..."},
      {"mailbox|create|special-use=\\Rubbish|joe@example.com/Odd", EINVAL, "Rubbish"},
      {"mailbox|rename|joe@example.com/Work", EINVAL, "'to'"},
      {"mailbox|remove|joe@example.com/Nowhere", ENOENT, "Nowhere"},
      {"mailbox|set|joe@example.com/Work", EINVAL, "special-use, index"},
      {"mailbox|set|index=maybe|joe@example.com", EINVAL, "maybe"},
      {"quarantine|remove|20261122T073000Z-1a2b3c4d", EINVAL, "force"},
      {"quarantine|restore|recursive", EINVAL, "recursive"},
      {"snapshot|take|a|b", EINVAL, "[NAME]"},
      {"snapshot|drop", EINVAL, "SNAPSHOT..."},
      {"snapshot|rename|a", EINVAL, "SNAPSHOT NAME"},
      {"snapshot|rename|a|b|c", EINVAL, "SNAPSHOT NAME"},
      {"snapshot|take|brief", EINVAL, "brief"},
      {"snapshot|diff", EINVAL, "SNAPSHOT"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) error = NULL;
    g_test_message ("%s", wrong[i].line);
    g_assert_null (parse (fixture->store, wrong[i].line, &error));
    g_assert_error (error, MAILFS_ERROR, wrong[i].code);
    g_assert_nonnull (strstr (error->message, wrong[i].reason));
  }
}

static void
test_usage (Fixture *fixture, gconstpointer data)
{
  static const char *const usages[][2] = {
      {"check", "check [recursive] [full] [MAILBOX...]"},
      {"expunge", "expunge [recursive] [dry-run] [uid=SET] MAILBOX..."},
      {"restore", "restore [recursive] [dry-run] [force] [directory=DIR] [export=FILE] [rate=RATE] "
                  "[MAILBOX...]"},
      {"copy", "copy uid=SET to=MAILBOX MAILBOX"},
      {"mailbox-create", "mailbox-create [special-use=USE] MAILBOX..."},
      {"quarantine-remove", "quarantine-remove force STAMP[/PATH]..."},
      {"snapshot-take", "snapshot-take [NAME]"},
      {"snapshot-list", "snapshot-list [brief] [SNAPSHOT...]"},
      {"snapshot-diff", "snapshot-diff SNAPSHOT [SNAPSHOT] [MAILBOX...]"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (usages); i++) {
    g_autofree char *usage = store_command_usage (store_command_find (usages[i][0]));
    g_assert_cmpstr (usage, ==, usages[i][1]);
  }
}

/* They never wait. */
static void
test_immediate (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreRequest) request = parse (fixture->store, "mailbox|create|joe", &error);
  g_assert_no_error (error);
  g_assert_false (store_request_reads (request));
  StoreRequest *const all[] = {request};
  uint64_t id;
  bool added;
  assert_fails (store_queue_add (fixture->store, request, &id, &added, &error), error, EINVAL);
  assert_fails (store_queue_add_all (fixture->store, all, 1, &id, &error), error, EINVAL);
}

/* ---- done at once -------------------------------------------------------------------------- */

/* Runs the line; its job, or NULL with the error. */
static StoreJob *
do_line (Store *store, const char *line, GError **error)
{
  StoreRequest *request = parse (store, line, error);
  g_autoptr (StoreJob) job = request != NULL ? store_job_new (store, request) : NULL;
  return job != NULL && store_job_run (job, error) ? g_steal_pointer (&job) : NULL;
}

static void
do_well (Store *store, const char *line)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreJob) job = do_line (store, line, &error);
  g_assert_no_error (error);
  g_assert_nonnull (job);
}

static void
do_badly (Store *store, const char *line, int code)
{
  g_autoptr (GError) error = NULL;
  g_assert_null (do_line (store, line, &error));
  g_assert_error (error, MAILFS_ERROR, code);
}

/* Its only finding, which must be of that kind. */
static const StoreFinding *
finding_of (StoreJob *job, StoreProblem problem)
{
  const GPtrArray *findings = store_job_findings (job);
  g_assert_cmpuint (findings->len, ==, 1);
  const StoreFinding *finding = findings->pdata[0];
  g_assert_cmpstr (store_problem_name (finding->problem), ==, store_problem_name (problem));
  return finding;
}

static char *
flags_of (StoreMailbox *mailbox, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreMessage) message = {0};
  bool found;
  assert_ok (store_message_find (mailbox, uid, &message, &found, &error), error);
  return found ? store_flags_to_string (message.flags, message.keywords) : g_strdup ("none");
}

static void
assert_flags (StoreMailbox *mailbox, uint32_t uid, const char *expected)
{
  g_autofree char *flags = flags_of (mailbox, uid);
  g_assert_cmpstr (flags, ==, expected);
}

static void
test_flag (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (StoreMailbox) inbox = open_named (store, "joe@example.com");
  for (int i = 0; i < 3; i++)
    deliver (inbox, "text", STORE_FLAG_DRAFT, "Old");
  do_well (store, "flag|uid=1,3|add=\\Seen,Work|joe@example.com/INBOX");
  assert_flags (inbox, 1, "\\Draft \\Seen Old Work");
  assert_flags (inbox, 2, "\\Draft Old");
  /* A user stands for the INBOX; = comes first; a backslash may be missing. */
  do_well (store, "flag|remove=Old|add=flagged|set=Old,New|uid=2:3|joe@example.com");
  assert_flags (inbox, 1, "\\Draft \\Seen Old Work");
  assert_flags (inbox, 2, "\\Flagged New");
  assert_flags (inbox, 3, "\\Flagged New");
  do_well (store, "flag|set=|uid=*|joe@example.com");
  assert_flags (inbox, 3, "");
  do_badly (store, "flag|uid=1,9|add=Seen|joe@example.com", ENOENT);
  do_badly (store, "flag|uid=1|add=Seen|example.com", EISDIR);
  assert_flags (inbox, 2, "\\Flagged New");
}

static void
test_copy (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (store, "joe@example.com");
  g_autoptr (StoreMailbox) two = open_named (store, "ann@example.com/Two words");
  deliver (two, "there", 0, NULL);
  for (int i = 0; i < 6; i++)
    deliver (inbox, "text", 0, "Mine");
  g_autoptr (StoreJob) copied =
      do_line (store, "copy|uid=1,3:5|to=ann@example.com/Two%20words|joe@example.com", &error);
  g_assert_no_error (error);
  const StoreFinding *finding = finding_of (copied, STORE_PROBLEM_COPIED);
  g_assert_cmpstr (finding->detail, ==, "1,3:5 -> 2:5");
  g_assert_cmpstr (finding->object, ==, "example.com/user/ann/Two words");
  g_assert_cmpuint (finding->number, ==, two->number);
  assert_flags (two, 5, "Mine");
  assert_flags (inbox, 1, "Mine");

  g_autoptr (StoreJob) moved =
      do_line (store, "move|uid=6|to=ann@example.com/Two words|joe@example.com/INBOX", &error);
  g_assert_no_error (error);
  g_assert_cmpstr (finding_of (moved, STORE_PROBLEM_COPIED)->detail, ==, "6 -> 6");
  assert_flags (inbox, 6, "none");
  assert_flags (two, 6, "Mine");
  do_badly (store, "copy|uid=9|to=ann@example.com/Two words|joe@example.com", ENOENT);
  do_badly (store, "copy|uid=1|to=ann@example.com/None|joe@example.com", ENOENT);
  do_well (store, "copy|uid=50:60|to=ann@example.com/Two words|joe@example.com");
}

static bool
exists (Store *store, const char *spelling, StoreNode *out)
{
  return store_node_resolve (store, spelling, out, NULL);
}

static void
test_mailbox (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) sent = {0}, other = {0}, renamed = {0}, none = {0};
  g_autoptr (StoreJob) made = do_line (
      store, "mailbox|create|special-use=\\sent|joe@example.com/$(Sent) mail|joe@example.com/Other",
      &error);
  g_assert_no_error (error);
  g_assert_cmpuint (store_job_findings (made)->len, ==, 2);
  g_assert_true (exists (store, "joe@example.com/$(Sent) mail", &sent));
  g_assert_cmpstr (sent.special_use, ==, "\\Sent");
  const StoreFinding *finding = store_job_findings (made)->pdata[0];
  g_assert_cmpuint (finding->number, ==, sent.number);
  g_assert_cmpstr (finding->object, ==, "example.com/user/joe/$(Sent) mail");
  do_badly (store, "mailbox|create|joe@example.com/Other", EEXIST);
  do_badly (store, "mailbox|create|", EINVAL);

  do_well (store, "mailbox|set|special-use=none|joe@example.com/$(Sent) mail");
  do_well (store, "mailbox|subscribe|joe@example.com/Other");
  do_well (store,
           "mailbox|rename|to=joe@example.com/Deep/$(Sent) mail|joe@example.com/$(Sent) mail");
  g_assert_true (exists (store, "joe@example.com/Deep/$(Sent) mail", &renamed));
  g_assert_cmpuint (renamed.number, ==, sent.number);
  g_assert_null (renamed.special_use);
  g_assert_true (exists (store, "joe@example.com/Other", &other));
  g_assert_true (other.subscribed);
  do_well (store, "mailbox|unsubscribe|joe@example.com/Other");
  store_node_clear (&other);
  g_assert_true (exists (store, "joe@example.com/Other", &other));
  g_assert_false (other.subscribed);
  do_badly (store, "mailbox|set|index=off|joe@example.com/Other", EINVAL);
  do_well (store, "mailbox|set|index=off|joe@example.com");
  run_in (fixture, "! test -e index/example.com/user/joe.sqlite3", "");
  do_badly (store, "mailbox|remove|joe@example.com/Deep", ENOTEMPTY);

  g_autoptr (StoreJob) removed =
      do_line (store, "mailbox|remove|recursive|joe@example.com/Deep", &error);
  g_assert_no_error (error);
  finding = finding_of (removed, STORE_PROBLEM_QUARANTINED);
  g_assert_cmpint (finding->outcome, ==, STORE_TAKEN);
  g_assert_cmpstr (finding->object, ==, "example.com/user/joe/Deep");
  g_assert_true (g_str_has_suffix (finding->detail, "/example.com/user/joe/Deep"));
  g_assert_false (exists (store, "joe@example.com/Deep", &none));
  g_autofree char *back = g_strconcat ("quarantine|restore|", finding->detail, NULL);
  do_well (store, back);
  g_assert_true (exists (store, "joe@example.com/Deep/$(Sent) mail", &none));
  do_badly (store, back, ENOENT);
}

static void
test_quarantine_remove (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) old G_GNUC_UNUSED = open_named (store, "joe@example.com/Old");
  g_autoptr (StoreJob) removed = do_line (store, "mailbox|remove|joe@example.com/Old", &error);
  g_assert_no_error (error);
  const char *place = finding_of (removed, STORE_PROBLEM_QUARANTINED)->detail;
  g_autofree char *gone = g_strconcat ("quarantine|remove|force|", place, NULL);
  do_well (store, gone);
  do_badly (store, gone, ENOENT);
}

static bool
go_on (StoreJob *job, void *data)
{
  return true;
}

/* A registered one can be read in the queue by anybody. */
static void
test_registered (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  StoreRequest *request = parse (fixture->store, "mailbox|create|joe@example.com/A b", &error);
  g_autoptr (StoreJob) job = store_job_new (fixture->store, request);
  assert_ok (store_job_register (job, &error), error);
  assert_ok (store_job_watch (job, go_on, NULL, &error), error);
  g_auto (StoreRecord) record = {0};
  assert_ok (store_queue_get (fixture->store, store_job_id (job), &record, &error), error);
  g_assert_cmpint (record.state, ==, STORE_JOB_DONE);
  g_assert_cmpstr (record.action, ==, "mailbox-create of=joe@example.com/A%20b");
  g_assert_cmpstr (record.title, ==, "joe@example.com/A b");
  g_autoptr (GPtrArray) kept = store_queue_findings (fixture->store, store_job_id (job), &error);
  g_assert_cmpuint (kept->len, ==, 1);
}

/* Each of them says so, and does nothing. */
static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  static const char *const lines[] = {"flag|uid=1|add=x|joe@example.com",
                                      "copy|uid=1|to=joe@example.com/A|joe@example.com",
                                      "move|uid=1|to=joe@example.com/A|joe@example.com",
                                      "mailbox|create|ann@example.com",
                                      "mailbox|rename|to=joe@example.com/B|joe@example.com/A",
                                      "mailbox|remove|joe@example.com/A",
                                      "mailbox|subscribe|joe@example.com/A",
                                      "mailbox|unsubscribe|joe@example.com/A",
                                      "mailbox|set|special-use=none|joe@example.com/A",
                                      "quarantine|restore|x",
                                      "quarantine|remove|force|x"};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) a = open_named (fixture->store, "joe@example.com/A");
  deliver (inbox, "text", 0, NULL);
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&a, store_mailbox_unref);
  reopen (fixture, STORE_READ_ONLY);
  for (size_t i = 0; i < G_N_ELEMENTS (lines); i++)
    do_badly (fixture->store, lines[i], EROFS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/command/spelling", test_spelling);
  add_test ("/command/wrong", test_wrong);
  add_test ("/command/usage", test_usage);
  add_test ("/command/immediate", test_immediate);
  add_test ("/command/flag", test_flag);
  add_test ("/command/copy", test_copy);
  add_test ("/command/mailbox", test_mailbox);
  add_test ("/command/quarantine-remove", test_quarantine_remove);
  add_test ("/command/registered", test_registered);
  add_test ("/command/read-only", test_read_only);
  return g_test_run ();
}
