/* SPDX-License-Identifier: Apache-2.0 */
/* Reports of jobs are one object of JSON, whatever is in them. */
#include "test-store.h"

static char *
write_report (const StoreRecord *record, const StoreResult *result, const GPtrArray *findings)
{
  g_autoptr (GError) error = NULL;
  char *text = NULL;
  size_t size;
  FILE *out = open_memstream (&text, &size);
  assert_ok (store_report_write (record, result, findings, out, &error), error);
  fclose (out);
  return text;
}

static void
test_report (void)
{
  StoreRecord record = {.id = 7,
                        .state = STORE_JOB_FAILED,
                        .action = (char *)"check \"full\"",
                        .created_s = 1700000000,
                        .code = ENOSPC,
                        .error = (char *)"no \\ room",
                        .log = (char *)"one\n"};
  StoreResult result = {.mailboxes = 1, .messages = 2, .bytes = 3, .taken_bytes = 4};
  StoreFinding finding = {.problem = STORE_PROBLEM_NUL,
                          .outcome = STORE_NOTED,
                          .uid = 5,
                          .object = (char *)"a/b",
                          .detail = (char *)"c"};
  g_autoptr (GPtrArray) findings = g_ptr_array_new ();
  g_autofree char *empty = write_report (&record, NULL, findings);
  g_assert_cmpstr (
      empty, ==,
      "{\"type\":\"job\",\"id\":7,\"state\":\"failed\",\"queued\":false,\"action\":\"check "
      "\\\"full\\\"\",\"mailbox\":null,\"created\":\"2023-11-14T22:13:20Z\",\"due\":null,"
      "\"started\":null,\"ended\":null,\"done\":0,\"total\":0,\"unit\":null,\"fixed\":0,\"left\":0,"
      "\"taken\":0,\"error\":\"no \\\\ room\",\"errno\":\"ENOSPC\",\"log\":\"one\\u000a\","
      "\"findings\":[]}\n");
  g_ptr_array_add (findings, &finding);
  g_ptr_array_add (findings, &finding);
  g_autofree char *whole = write_report (&record, &result, findings);
  static const char one[] = "{\"type\":\"finding\",\"problem\":\"nul\",\"outcome\":\"noted\","
                            "\"object\":\"a/b\",\"detail\":\"c\",\"uid\":5,\"size\":0,"
                            "\"remedy\":null}";
  g_autofree char *tail =
      g_strdup_printf (",\"mailboxes\":1,\"messages\":2,\"bytes\":3,\"taken_bytes\":4,"
                       "\"findings\":[\n%s,\n%s]}\n",
                       one, one);
  g_assert_true (g_str_has_suffix (whole, tail));
}

/* Nothing in it moves a terminal's cursor, C1 controls (0x9b begins a sequence) neither. */
static void
test_controls (void)
{
  g_autoptr (GString) json = g_string_new ("{");
  json_string (json, "a", "\033[2J\177\302\233x\302\240\303\251\377\"");
  json_end (json);
  g_assert_cmpstr (json->str, ==,
                   "{\"a\":\"\\u001b[2J\\u007f\\u009bx\302\240\303\251\357\277\275\\\"\"}\n");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/job-json/report", test_report);
  g_test_add_func ("/job-json/controls", test_controls);
  return g_test_run ();
}
