/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test-index.h"

static ListWrite *
begin_list (List *list)
{
  g_autoptr (GError) error = NULL;
  ListWrite *write = list_write_begin (list, &error);
  g_assert_no_error (error);
  return write;
}

static void
put_node (ListWrite *write, uint32_t number, uint32_t parent, ListKind kind, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *copy = g_strdup (name);
  ListNode node = {.number = number, .parent = parent, .kind = kind, .name = copy};
  list_write_node (write, &node, &error);
  g_assert_no_error (error);
}

static void
commit_list (ListWrite *write)
{
  g_autoptr (GError) error = NULL;
  list_write_commit (write, &error);
  g_assert_no_error (error);
}

static bool
has_node (List *list, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  g_auto (ListNode) node = {0};
  bool found = false;
  list_get (list, number, &node, &found, &error);
  g_assert_no_error (error);
  return found;
}

/* example.com (1) > user (2) > joe (3) > INBOX (4) > Sub (5); example.org (6) */
static List *
open_list (const char *path)
{
  g_autoptr (GError) error = NULL;
  List *list = list_open (path, INDEX_CREATE, &error);
  g_assert_no_error (error);
  g_autoptr (ListWrite) write = begin_list (list);
  put_node (write, 1, 0, LIST_DOMAIN, "example.com");
  put_node (write, 2, 1, LIST_USERS, "user");
  put_node (write, 3, 2, LIST_USER, "joe");
  put_node (write, 4, 3, LIST_MAILBOX, "INBOX");
  put_node (write, 5, 4, LIST_MAILBOX, "Sub");
  put_node (write, 6, 0, LIST_DOMAIN, "example.org");
  commit_list (write);
  return list;
}

static void
test_round_trip (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (fixture->path);
  char name[] = "Gesendet", full_name[] = "Gesendet \xff", special_use[] = "\\Sent";
  const ListNode given = {
      .number = UINT32_MAX,
      .parent = 3,
      .owner = 3,
      .kind = LIST_MAILBOX,
      .subscribed = true,
      .name = name,
      .full_name = full_name,
      .special_use = special_use,
  };
  g_autoptr (ListWrite) write = begin_list (list);
  g_assert_true (list_write_node (write, &given, &error));
  commit_list (write);

  for (int by_name = 0; by_name < 2; by_name++) {
    g_auto (ListNode) node = {0};
    bool found = false;
    if (by_name)
      list_find (list, 3, "Gesendet", &node, &found, &error);
    else
      list_get (list, UINT32_MAX, &node, &found, &error);
    g_assert_no_error (error);
    g_assert_true (found);
    g_assert_cmpuint (node.number, ==, UINT32_MAX);
    g_assert_cmpuint (node.parent, ==, 3);
    g_assert_cmpuint (node.owner, ==, 3);
    g_assert_cmpint (node.kind, ==, LIST_MAILBOX);
    g_assert_true (node.subscribed);
    g_assert_cmpstr (node.name, ==, name);
    g_assert_cmpstr (node.full_name, ==, full_name);
    g_assert_cmpstr (node.special_use, ==, special_use);
  }
  g_auto (ListNode) plain = {0};
  bool found = false;
  g_assert_true (list_get (list, 4, &plain, &found, &error));
  g_assert_null (plain.full_name);
  g_assert_null (plain.special_use);
  g_assert_true (list_find (list, 3, "inbox", &(ListNode){0}, &found, &error));
  g_assert_false (found); /* names are bytes */
}

static void
test_children (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (fixture->path);
  /* Byte order: upper case first, what is not ASCII last. */
  const char *names[] = {"A", "B", "Z", "a", "a b", "aa", "\xc3\xa4", "\xf0\x9f\x93\xa7"};
  g_autoptr (ListWrite) write = begin_list (list);
  for (size_t i = G_N_ELEMENTS (names); i-- > 0;)
    put_node (write, (uint32_t)(100 + i), 6, LIST_MAILBOX, names[i]);
  commit_list (write);

  for (size_t capacity = 1; capacity <= 9; capacity++) {
    g_autofree char *after = NULL;
    for (size_t seen = 0;;) {
      ListNode page[9];
      size_t count = 99;
      list_children (list, 6, after, page, capacity, &count, &error);
      g_assert_no_error (error);
      if (count == 0) {
        g_assert_cmpuint (seen, ==, G_N_ELEMENTS (names));
        break;
      }
      for (size_t i = 0; i < count; i++)
        g_assert_cmpstr (page[i].name, ==, names[seen++]);
      g_free (after);
      after = g_strdup (page[count - 1].name);
      list_nodes_clear (page, count);
    }
  }
}

static void
test_count (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (fixture->path);
  uint64_t count = 99;
  g_assert_true (list_count (list, LIST_DOMAIN, &count, &error));
  g_assert_cmpuint (count, ==, 2);
  g_assert_true (list_count (list, LIST_SHARED, &count, &error));
  g_assert_cmpuint (count, ==, 0);
}

/* A name that is taken is refused, and the rest of the transaction stands. */
static void
test_name_taken (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (fixture->path);
  g_autoptr (ListWrite) write = begin_list (list);
  char name[] = "INBOX";
  put_node (write, 7, 3, LIST_MAILBOX, "Drafts");
  ListNode other = {.number = 8, .parent = 3, .kind = LIST_MAILBOX, .name = name};
  g_assert_false (list_write_node (write, &other, &error));
  g_assert_error (error, MAILFS_ERROR, EEXIST);
  g_assert_nonnull (strstr (error->message, fixture->path));
  g_clear_error (&error);
  other.number = 7; /* nor may an existing node take it */
  g_assert_false (list_write_node (write, &other, &error));
  g_assert_error (error, MAILFS_ERROR, EEXIST);
  put_node (write, 4, 3, LIST_MAILBOX, "INBOX"); /* its own name is no conflict */
  put_node (write, 9, 4, LIST_MAILBOX, "INBOX"); /* nor that of another parent */
  commit_list (write);
  g_assert_true (has_node (list, 7));
  g_assert_true (has_node (list, 4));
  g_assert_true (has_node (list, 9));
  g_assert_false (has_node (list, 8));
}

/* A new node never takes the place of another. */
static void
test_new_node (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (fixture->path);
  g_autoptr (ListWrite) write = begin_list (list);
  char name[] = "New";
  ListNode node = {.number = 5, .parent = 3, .kind = LIST_MAILBOX, .name = name};
  g_assert_false (list_write_new_node (write, &node, &error));
  g_assert_error (error, MAILFS_ERROR, EEXIST);
  g_clear_error (&error);
  node.number = 7;
  g_assert_true (list_write_new_node (write, &node, &error));
  node.number = 8; /* the name is taken */
  g_assert_false (list_write_new_node (write, &node, &error));
  g_assert_error (error, MAILFS_ERROR, EEXIST);
  g_clear_error (&error);
  commit_list (write);
  g_auto (ListNode) old = {0};
  bool found = false;
  g_assert_true (list_get (list, 5, &old, &found, &error));
  g_assert_cmpstr (old.name, ==, "Sub");
  g_assert_true (has_node (list, 7));
  uint32_t highest;
  g_assert_true (list_highest (list, &highest, &error));
  g_assert_cmpuint (highest, ==, 7);
  g_autoptr (List) empty = list_open (NULL, 0, &error);
  g_assert_true (list_highest (empty, &highest, &error));
  g_assert_cmpuint (highest, ==, 0);
}

/* Every node hangs below the root. */
static void
test_verify_tree (Fixture *fixture, const void *data)
{
  for (int ring = 0; ring < 2; ring++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (List) list = open_list (NULL);
    g_assert_true (list_verify (list, &error));
    g_autoptr (ListWrite) write = begin_list (list);
    put_node (write, 20, ring ? 21 : 999, LIST_MAILBOX, "a");
    put_node (write, 21, 20, LIST_MAILBOX, "b");
    commit_list (write);
    g_assert_false (list_verify (list, &error));
    g_assert_error (error, MAILFS_ERROR, EUCLEAN);
  }
}

static void
test_rename (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (fixture->path);
  g_autoptr (ListWrite) write = begin_list (list);
  put_node (write, 5, 3, LIST_MAILBOX, "Moved");
  commit_list (write);
  g_auto (ListNode) node = {0};
  bool found = true;
  g_assert_true (list_find (list, 4, "Sub", &node, &found, &error));
  g_assert_false (found);
  g_assert_true (list_find (list, 3, "Moved", &node, &found, &error));
  g_assert_true (found);
  g_assert_cmpuint (node.number, ==, 5);
}

static void
test_remove (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (fixture->path);
  {
    g_autoptr (ListWrite) write = begin_list (list);
    g_assert_true (list_write_remove (write, 3, &error));
    g_assert_true (list_write_remove (write, 12345, &error));
    commit_list (write);
  }
  for (uint32_t number = 1; number <= 6; number++)
    g_assert_true (has_node (list, number) == (number < 3 || number == 6));
  {
    g_autoptr (ListWrite) write = begin_list (list);
    put_node (write, 20, 21, LIST_MAILBOX, "a"); /* a ring */
    put_node (write, 21, 20, LIST_MAILBOX, "b");
    g_assert_true (list_write_remove (write, 21, &error));
    commit_list (write);
  }
  g_assert_false (has_node (list, 20));
  g_assert_true (has_node (list, 1));
  g_autoptr (ListWrite) write = begin_list (list);
  g_assert_true (list_write_clear (write, &error));
  commit_list (write);
  g_assert_false (has_node (list, 1));
}

static void
test_rollback (Fixture *fixture, const void *data)
{
  g_autoptr (List) list = open_list (fixture->path);
  {
    g_autoptr (ListWrite) write = begin_list (list);
    put_node (write, 30, 0, LIST_DOMAIN, "example.net");
    g_assert_false (has_node (list, 30));
  }
  g_assert_false (has_node (list, 30));
}

/* One connection serves a list in memory; the thread that writes may read meanwhile. */
static void
test_in_memory (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = open_list (NULL);
  g_autoptr (List) other = list_open (NULL, 0, &error);
  g_assert_no_error (error);
  g_assert_true (has_node (list, 5));
  g_assert_false (has_node (other, 5));
  {
    g_autoptr (ListWrite) write = begin_list (list);
    put_node (write, 30, 0, LIST_DOMAIN, "example.net");
    g_assert_true (has_node (list, 5));
  }
  g_assert_false (has_node (list, 30));
  {
    g_autoptr (ListWrite) write = begin_list (list);
    put_node (write, 31, 0, LIST_DOMAIN, "example.net");
    commit_list (write);
  }
  g_assert_true (has_node (list, 31));
  g_assert_true (list_is_current (list));
  g_assert_true (list_verify (list, &error));
  uint32_t version;
  g_assert_true (list_data_version (list, &version, &error));
}

/* Names become parts of paths. */
static void
test_hostile_names (Fixture *fixture, const void *data)
{
  static const char *const names[] = {"..", ".", "", "../x", "a/b"};
  list_close (open_list (fixture->path));
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *sql =
        g_strdup_printf ("UPDATE node SET name = '%s' WHERE number = 1", names[i]);
    run_sql (fixture->path, sql);
    g_autoptr (GError) error = NULL;
    g_autoptr (List) list = list_open (fixture->path, 0, &error);
    ListNode node = {0};
    bool found;
    g_assert_no_error (error);
    g_assert_false (list_get (list, 1, &node, &found, &error));
    g_assert_error (error, MAILFS_ERROR, EUCLEAN);
  }
}

/* The two kinds of database are not taken for each other. */
static void
test_not_an_index (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  list_close (open_list (fixture->path));
  g_assert_null (index_open (fixture->path, INDEX_CREATE, &error));
  g_assert_error (error, MAILFS_ERROR, EUCLEAN);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/index/list/round-trip", test_round_trip);
  add_test ("/index/list/children", test_children);
  add_test ("/index/list/count", test_count);
  add_test ("/index/list/name-taken", test_name_taken);
  add_test ("/index/list/new-node", test_new_node);
  add_test ("/index/list/verify-tree", test_verify_tree);
  add_test ("/index/list/rename", test_rename);
  add_test ("/index/list/remove", test_remove);
  add_test ("/index/list/rollback", test_rollback);
  add_test ("/index/list/in-memory", test_in_memory);
  add_test ("/index/list/hostile-names", test_hostile_names);
  add_test ("/index/list/not-an-index", test_not_an_index);
  return g_test_run ();
}
