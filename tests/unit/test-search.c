/* SPDX-License-Identifier: Apache-2.0 */
/* Searching: what a query means; and that every way to the answer comes to the same one. */
#include "store/search.h"
#include "test-store.h"

/* ---- what there is to find ----------------------------------------------------------------- */

typedef struct {
  const char *mailbox, *text;
  uint32_t flags;
  const char *keywords, *date;
} Mail;

#define HTML                                                                                       \
  "From: Shop <shop@example.net>\r\nSubject: Your order\r\nContent-Type: text/html; "              \
  "charset=utf-8\r\n\r\n<html><style>invisible</style><p>Thank <b>you</b> for\r\nthe "             \
  "order</p></html>\r\n"

static const Mail mails[] = {
    {"joe@example.com/INBOX",
     "From: Alice <alice@example.org>\r\nTo: joe@example.com\r\nSubject: The invoice for "
     "March\r\nMessage-ID: <one@example.org>\r\n\r\nPlease pay until Friday.\r\n",
     STORE_FLAG_SEEN, "Work", "2026-01-31T23:59:59Z"},
    {"joe@example.com/INBOX",
     "From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>\r\nTo: joe@example.com\r\nCc: "
     "ann@example.com\r\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nContent-Type: text/plain; "
     "charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSch=F6ne\r\n "
     "Gr=FC=DFe an alle, die lesen und antwor=\r\nten.\r\n",
     STORE_FLAG_SEEN | STORE_FLAG_FLAGGED, NULL, "2026-02-01T00:00:00Z"},
    {"joe@example.com/INBOX",
     "From: bob@example.org\r\nSubject: picture\r\nMIME-Version: 1.0\r\nContent-Type: "
     "multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\nContent-Transfer-"
     "Encoding: base64\r\n\r\nVGhlIGNvbnRyYWN0IGlzIHNpZ25lZC4K\r\n--b\r\nContent-Type: "
     "image/png\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVuIGluIGJ5dGVz\r\n--b--\r\n",
     0, "Work $Label1", "1969-12-31T23:00:00Z"},
    {"joe@example.com/INBOX/Sub 100%", HTML, 0, NULL, "2025-06-15T12:00:00Z"},
    {"ann@example.com/INBOX", "Subject: nothing from nobody\r\n\r\ninvoice\r\n", 0, NULL,
     "2026-02-02T00:00:00Z"},
};

static void
put_mail (Store *store, const Mail *mail)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (store, mail->mailbox);
  g_autoptr (GDateTime) date = g_date_time_new_from_iso8601 (mail->date, NULL);
  StoreFacts facts = {
      .flags = mail->flags, .keywords = mail->keywords, .internal_s = g_date_time_to_unix (date)};
  g_autoptr (StoreDraft) draft = store_draft_new (store, &facts, &error);
  assert_ok (store_draft_write (draft, mail->text, strlen (mail->text), &error), error);
  assert_ok (store_draft_finish (draft, mailbox, &error), error);
  assert_ok (store_mailbox_append (mailbox, &draft, 1, 0, &error), error);
  delivery_settle (store, mailbox->owner, true);
}

static void
put_mails (Fixture *fixture)
{
  for (size_t i = 0; i < G_N_ELEMENTS (mails); i++)
    put_mail (fixture->store, &mails[i]);
}

/* ---- asking -------------------------------------------------------------------------------- */

static bool
note_found (StoreMailbox *mailbox, const StoreMessage *message, void *out, GError **error)
{
  g_autofree char *path = store_node_path (mailbox->store, mailbox->number, error);
  const char *name = strrchr (path, '/') + 1;
  char first = path[strlen ("example.com/user/")];
  g_string_append_printf (out, "%s%c%c%u", ((GString *)out)->len > 0 ? " " : "", first,
                          g_ascii_tolower (*name), message->uid);
  return true;
}

static char *
search (Store *store, const char *text, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreQuery) query = store_query_parse (text, &error);
  g_assert_no_error (error);
  GString *found = g_string_new (NULL);
  StoreSearch calls = {.found = note_found, .user_data = found};
  assert_ok (store_search (store, query, number, &calls, &error), error);
  return g_string_free (found, FALSE);
}

/* What is found: the first letters of user and mailbox, and the UID. */
static const struct {
  const char *query, *found;
} answers[] = {
    {"from:alice", "ji1"},
    {"FROM:\"Alice <ALICE@\"", "ji1"},
    {"-from:alice", "ai1 ji2 ji3 js1"},
    {"invoice", "ji1"},
    {"nobody", "ai1"},
    {"from:nobody", ""},
    {"to:joe@example.com", "ji1 ji2"},
    {"cc:ann", "ji2"},
    {"subject:\"invoice for march\"", "ji1"},
    {"subject:grüsse", "ji2"},
    {"subject:\"GRÜSSE\"", "ji2"},
    {"from:jürgen", "ji2"},
    {"from:ju\xcc\x88rgen", "ji2"},
    {"message-id:one@", "ji1"},
    {"body:invoice", "ai1"},
    {"text:invoice", "ai1 ji1"},
    {"-text:invoice", "ji2 ji3 js1"},
    {"body:\"schöne grüsse an\"", "ji2"},
    {"body:antworten", "ji2"},
    {"body:contract", "ji3"},
    {"body:VGhlIGNvbnRyYWN0", ""},
    {"body:\"hidden in bytes\"", ""},
    {"body:\"thank you for the order\"", "js1"},
    {"body:invisible", ""},
    {"body:ay", "ji1"},
    {"-body:ay from:example.org", "ji2 ji3"},
    {"body:pay body:friday", "ji1"},
    {"body:pay body:contract", ""},
    {"since:2026-02-01", "ai1 ji2"},
    {"since:2026-02", "ai1 ji2"},
    {"before:2026-02-01", "ji1 ji3 js1"},
    {"on:2026-01-31", "ji1"},
    {"on:2026-01", "ji1"},
    {"on:2026", "ai1 ji1 ji2"},
    {"before:1970", "ji3"},
    {"since:1d before:2025-01-01", ""},
    {"flag:seen", "ji1 ji2"},
    {"-flag:seen", "ai1 ji3 js1"},
    {"flag:\\Flagged", "ji2"},
    {"keyword:work", "ji1 ji3"},
    {"flag:$label1", "ji3"},
    {"keyword:wor", ""},
    {"larger:300", "ji3"},
    {"-larger:1K smaller:100", "ai1"},
    {"uid:2:*", "ji2 ji3"},
    {"uid:1,3 in:inbox -in:\"sub 100%\"", "ai1 ji1 ji3"},
    {"in:joe@example.com", "ji1 ji2 ji3 js1"},
    {"in:example.com/user/joe/INBOX/", "ji1 ji2 ji3 js1"},
    {"in:\"inbox/sub 100%\"", "js1"},
    {"in:\"sub 100%25\"", "js1"},
    {"in:sub", ""},
    {"-in:joe@example.com", "ai1"},
    {"  from:alice\tsubject:march ", "ji1"},
    {"\"from nobody\"", "ai1"},
    {"subject:\"quote \\\" and \\\\\"", ""},
};

static void
assert_answers (Store *store)
{
  for (size_t i = 0; i < G_N_ELEMENTS (answers); i++) {
    g_autofree char *found = search (store, answers[i].query, STORE_ROOT);
    g_test_message ("%s", answers[i].query);
    g_assert_cmpstr (found, ==, answers[i].found);
  }
}

static uint32_t
number_of (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  return node.number;
}

/* How many messages the full-text index of a user has; -1: there is none. */
static int
count_text (Store *store, const char *user)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = store_node_path (store, number_of (store, user), &error);
  g_autofree char *file = layout_fulltext_path (store, path);
  g_autoptr (Fulltext) text = fulltext_open (file, INDEX_READ_ONLY, NULL);
  uint64_t count;
  if (text == NULL)
    return -1;
  assert_ok (fulltext_count (text, &count, &error), error);
  return (int)count;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void
test_answers (Fixture *fixture, gconstpointer data)
{
  put_mails (fixture);
  assert_answers (fixture->store);
  g_autofree char *below = search (fixture->store, "-from:alice",
                                   number_of (fixture->store, "joe"
                                                              "@example.com/INBOX/Sub 100%"));
  g_assert_cmpstr (below, ==, "js1");
  reopen (fixture, STORE_READ_ONLY);
  assert_answers (fixture->store);
}

static void
test_no_index (Fixture *fixture, gconstpointer data)
{
  put_mails (fixture);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -r index mailboxes.sqlite3", "");
  reopen (fixture, STORE_READ_ONLY);
  assert_answers (fixture->store);
}

static void
test_snapshot (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  put_mails (fixture);
  assert_ok (store_snapshot_take (fixture->store, "then", NULL, &error), error);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  assert_ok (store_mailbox_expunge (inbox, (uint32_t[]){1, 3}, 2, &error), error);
  assert_ok (store_message_flag (inbox, (uint32_t[]){2}, 1, STORE_FLAGS_SET, 0, NULL, &error),
             error);
  deliver (inbox, "from alice", 0, NULL);
  g_autoptr (Store) then = store_snapshot_open (fixture->store, "then", &error);
  g_assert_no_error (error);
  assert_answers (then);
}

static void
set_text (Store *store)
{
  static const char *const users[] = {"joe@example.com", "ann@example.com"};
  g_autoptr (GError) error = NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (users); i++)
    assert_ok (store_user_set_index (store, number_of (store, users[i]), STORE_INDEX_TEXT, &error),
               error);
}

/* Before it is filled, partly filled, filled, and read only. */
static void
test_full_text (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  put_mail (store, &mails[0]);
  put_mail (store, &mails[4]);
  set_text (store);
  store_job_free (run_job (store, "text"));
  g_assert_cmpint (count_text (store, "joe@example.com"), ==, 1);
  for (size_t i = 1; i < 4; i++)
    put_mail (store, &mails[i]);
  assert_answers (store);
  store_job_free (run_job (store, "text joe@example.com"));
  g_assert_cmpint (count_text (store, "joe@example.com"), ==, 4);
  assert_answers (store);
  assert_clean (store);
  reopen (fixture, STORE_READ_ONLY);
  assert_answers (fixture->store);
}

/* The index is what is asked, and what it rules out is not read. */
static void
test_rules_out (Fixture *fixture, gconstpointer data)
{
  put_mails (fixture);
  set_text (fixture->store);
  store_job_free (run_job (fixture->store, "text"));
  run_in (fixture, "sed -i s/Friday/FooBar/ mail/example.com/user/joe/INBOX/0000000001.eml", "");
  g_autofree char *out = search (fixture->store, "body:foobar", STORE_ROOT);
  g_assert_cmpstr (out, ==, "");
  g_autofree char *rotten = search (fixture->store, "body:friday", STORE_ROOT);
  g_assert_cmpstr (rotten, ==, ""); /* It is looked for in the file, which does not have it now. */
}

/* What is damaged does not come in: one day it may be whole again. */
static void
test_damaged (Fixture *fixture, gconstpointer data)
{
  put_mails (fixture);
  run_in (fixture,
          "cd mail/example.com/user/joe/INBOX && cp -a 0000000001.eml ../x && sed -i "
          "s/Friday/FooBar/ 0000000001.eml",
          "");
  set_text (fixture->store);
  store_job_free (run_job (fixture->store, "text"));
  g_assert_cmpint (count_text (fixture->store, "joe@example.com"), ==, 3);
  run_in (fixture, "mv mail/example.com/user/joe/x mail/example.com/user/joe/INBOX/0000000001.eml",
          "");
  g_autofree char *found = search (fixture->store, "body:friday", STORE_ROOT);
  g_assert_cmpstr (found, ==, "ji1");
  store_job_free (run_job (fixture->store, "text"));
  g_assert_cmpint (count_text (fixture->store, "joe@example.com"), ==, 4);
}

/* It is a cache: missing or broken, the answers stay, and the job makes it again. */
static void
test_broken (Fixture *fixture, gconstpointer data)
{
  static const char *const breaks[] = {
      "rm", "truncate -s 5000",
      "dd if=/dev/urandom bs=4096 seek=1 count=40 conv=notrunc status=none of=",
      "sh -c 'rm $0; mkdir $0'"};
  put_mails (fixture);
  set_text (fixture->store);
  for (size_t i = 0; i < G_N_ELEMENTS (breaks); i++) {
    store_job_free (run_job (fixture->store, "text"));
    g_assert_cmpint (count_text (fixture->store, "joe@example.com"), ==, 4);
    g_autofree char *command =
        g_strdup_printf ("%s%sindex/example.com/user/joe.sqlite3-text", breaks[i],
                         g_str_has_suffix (breaks[i], "=") ? "" : " ");
    run_in (fixture, command, "");
    assert_answers (fixture->store);
  }
}

static void
test_switch (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  Store *store = fixture->store;
  StoreIndexing indexing;
  put_mails (fixture);
  uint32_t joe = number_of (store, "joe@example.com");
  set_text (store);
  store_job_free (run_job (store, "text"));
  assert_ok (store_user_index (store, joe, &indexing, &error), error);
  g_assert_cmpint (indexing, ==, STORE_INDEX_TEXT);
  assert_ok (store_user_set_index (store, joe, STORE_INDEX_ON, &error), error);
  g_assert_cmpint (count_text (store, "joe@example.com"), ==, -1);
  g_assert_cmpint (count_text (store, "ann@example.com"), ==, 1);
  store_job_free (run_job (store, "text"));
  g_assert_cmpint (count_text (store, "joe@example.com"), ==, -1);
  assert_ok (store_user_set_index (store, joe, STORE_INDEX_TEXT, &error), error);
  store_job_free (run_job (store, "text"));
  assert_ok (store_user_set_index (store, joe, STORE_INDEX_OFF, &error), error);
  assert_ok (store_user_index (store, joe, &indexing, &error), error);
  g_assert_cmpint (indexing, ==, STORE_INDEX_OFF);
  g_assert_cmpint (count_text (store, "joe@example.com"), ==, -1);
  assert_answers (store);
  assert_ok (store_mailbox_remove (store, number_of (store, "ann@example.com"), true, NULL, &error),
             error);
  run_in (fixture, "test ! -e index/example.com/user/ann.sqlite3-text", "");
  assert_fails (
      store_user_index (store, number_of (store, "joe@example.com/INBOX"), &indexing, &error),
      error, EINVAL);
}

/* Mail that comes makes one job, a while later. */
static void
test_new_mail (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  uint64_t length;
  put_mails (fixture);
  reopen (fixture, 0);
  assert_ok (store_queue_length (fixture->store, &length, &error), error);
  g_assert_cmpuint (length, ==, 0);
  set_text (fixture->store);
  store_job_free (run_job (fixture->store, "text"));
  put_mails (fixture);
  reopen (fixture, 0);
  const StoreCommand *text = store_command_find ("text");
  g_auto (StoreRecord) record = {0};
  bool found = false;
  assert_ok (store_queue_pending (fixture->store, text,
                                  number_of (fixture->store, "joe@example.com"), &record, &found,
                                  &error),
             error);
  g_assert_true (found);
}

static void
test_refused (void)
{
  static const struct {
    const char *query, *word;
  } wrong[] = {
      {"", "nothing"},
      {"   ", "nothing"},
      {"from:", "'from:'"},
      {"a form:alice", "'form:alice'"},
      {"http://x", "'http://x'"},
      {"since:tomorrow", "'since:"},
      {"on:7d", "'on:7d'"},
      {"on:2026-13-01", "'on:"},
      {"larger:big", "'larger:big'"},
      {"uid:x", "'uid:x'"},
      {"uid:*", "'uid:*'"},
      {"flag:\\Nope", "'flag:"},
      {"keyword:\\Seen", "'keyword:"},
      {"subject:\"open", "'subject:"},
      {"\"a\"b", "'\"a\"b'"},
      {"-", "'-'"},
      {"body:\" \"", "'body:"},
      {"in:/", "'in:/'"},
      {"x\xff", "UTF-8"},
      {"from:a\x1b[m\x01 on:x\x1b", "'on:x\\x1b'"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) error = NULL;
    g_test_message ("%s", wrong[i].query);
    g_assert_null (store_query_parse (wrong[i].query, &error));
    g_assert_error (error, MAILFS_ERROR, EINVAL);
    g_assert_nonnull (strstr (error->message, wrong[i].word));
  }
  g_autoptr (GError) error = NULL;
  g_autofree char *longest = g_strnfill (5000, 'a');
  g_assert_null (store_query_parse (longest, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
  g_clear_error (&error);
  g_autoptr (GString) many = g_string_new (NULL);
  for (int i = 0; i < 100; i++)
    g_string_append (many, "a ");
  g_assert_null (store_query_parse (many->str, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
}

/* One that matches nothing stops, and so does who has enough. */
static bool
stop (StoreMailbox *mailbox, const StoreMessage *message, void *data, GError **error)
{
  (*(int *)data)++;
  return fail (error, ECANCELED, "enough");
}

static void
test_stops (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  int count = 0;
  put_mails (fixture);
  g_autoptr (StoreQuery) query = store_query_parse ("since:1900", &error);
  StoreSearch calls = {.found = stop, .user_data = &count};
  assert_fails (store_search (fixture->store, query, STORE_ROOT, &calls, &error), error, ECANCELED);
  g_assert_cmpint (count, ==, 1);
  assert_fails (store_search (fixture->store, query, 4711, &calls, &error), error, ENOENT);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/search/refused", test_refused);
  add_test ("/search/answers", test_answers);
  add_test ("/search/no-index", test_no_index);
  add_test ("/search/snapshot", test_snapshot);
  add_test ("/search/full-text", test_full_text);
  add_test ("/search/rules-out", test_rules_out);
  add_test ("/search/damaged", test_damaged);
  add_test ("/search/broken", test_broken);
  add_test ("/search/switch", test_switch);
  add_test ("/search/new-mail", test_new_mail);
  add_test ("/search/stops", test_stops);
  return g_test_run ();
}
