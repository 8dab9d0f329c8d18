/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test-parse.h - messages in, checked summaries out: what the parser's tests share.
 */
#pragma once

#include "store/parse.h"
#include "tests/unit/imap-grammar.h"

static inline void
assert_valid (const StoreSummary *summary)
{
  g_autofree char *error = NULL;
  g_autoptr (ImapEnvelope) envelope = imap_envelope_read (summary->envelope, &error);
  g_assert_cmpstr (error, ==, NULL);
  g_assert_nonnull (envelope);
  g_autoptr (ImapBody) body = imap_body_read (summary->bodystructure, &error);
  g_assert_cmpstr (error, ==, NULL);
  g_assert_nonnull (body);
  g_assert_cmpuint (strlen (summary->envelope), <=, PARSE_ENVELOPE_MAX);
  g_assert_cmpuint (strlen (summary->bodystructure), <=, PARSE_BODY_MAX);
}

static inline StoreSummary
summarise (const char *text, size_t size)
{
  StoreSummary summary;
  parse_bytes ((const uint8_t *)text, size, &summary);
  assert_valid (&summary);
  return summary;
}

/* "\n" to "\r\n" */
static inline GString *
to_crlf (const char *text)
{
  GString *out = g_string_new (text);
  g_string_replace (out, "\n", "\r\n", 0);
  return out;
}

static inline void
assert_body (const char *message, const char *expected)
{
  g_auto (StoreSummary) summary = summarise (message, strlen (message));
  g_assert_cmpstr (summary.bodystructure, ==, expected);
}

static inline void
assert_envelope (const char *message, const char *expected)
{
  g_auto (StoreSummary) summary = summarise (message, strlen (message));
  g_assert_cmpstr (summary.envelope, ==, expected);
}
