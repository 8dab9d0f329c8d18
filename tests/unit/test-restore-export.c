/* SPDX-License-Identifier: Apache-2.0 */
/* restore --export beside others who change the mailbox. */
#include "test-store.h"

#define UIDNEXT 10u

/* An export, told as if the mailbox had had another UIDVALIDITY and a higher next UID. Returns its
 * path. */
static char *
write_export (const Fixture *fixture, const StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  char *path = g_build_filename (fixture->path, "tmp", "export", NULL);
  FILE *out = fopen (path, "w");
  assert_ok (store_export_write (fixture->store, mailbox->number, out, &error), error);
  fclose (out);
  g_autofree char *script = g_strdup_printf (
      "sed -i 's/\"uidvalidity\":1/\"uidvalidity\":/; s/\"uidnext\":[0-9]*/\"uidnext\":%u/' ",
      UIDNEXT);
  run_in (fixture, script, "tmp/export");
  return path;
}

typedef struct {
  StoreMailbox *mailbox;
  uint32_t uid; /* of what came while messages got their flags back */
} Arrival;

static void
arrive (const StoreFinding *finding, void *data)
{
  Arrival *arrival = data;
  if (arrival->uid == 0 && strstr (finding->detail, "flags") != NULL)
    arrival->uid = deliver (arrival->mailbox, "new", 0, NULL);
}

/* With the UIDVALIDITY of the export its UID would mean another message. */
static void
test_arrival (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, "joe@example.com");
  uint32_t uid = deliver (mailbox, "old", STORE_FLAG_SEEN, NULL);
  StoreMailboxInfo before, after;
  assert_ok (store_mailbox_info (mailbox, &before, &error), error);
  g_autofree char *path = write_export (fixture, mailbox);
  assert_ok (store_message_flag (mailbox, &uid, 1, STORE_FLAGS_SET, 0, NULL, &error), error);
  g_autofree char *option = g_strconcat ("export=", path, NULL);
  const char *const words[] = {"restore", option, NULL};
  StoreRequest *request = store_request_parse (fixture->store, words, &error);
  g_assert_no_error (error);
  g_autoptr (StoreJob) job = store_job_new (fixture->store, request);
  Arrival arrival = {.mailbox = mailbox};
  store_job_tell (job, arrive, &arrival);
  assert_ok (store_job_run (job, &error), error);
  g_assert_cmpuint (arrival.uid, >, uid);
  g_assert_cmpuint (arrival.uid, <, UIDNEXT);
  assert_ok (store_mailbox_info (mailbox, &after, &error), error);
  g_assert_cmpuint (after.uidvalidity, ==, before.uidvalidity);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/restore-export/arrival", test_arrival);
  return g_test_run ();
}
