/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox list of a store. */
#include "index/internal.h"

#include <string.h>

struct ListWrite {
  Db *db;
  bool open;
};

void
list_node_clear (ListNode *node)
{
  g_free (node->name);
  g_free (node->full_name);
  g_free (node->special_use);
  *node = (ListNode){0};
}

void
list_nodes_clear (ListNode *nodes, size_t count)
{
  for (size_t i = 0; i < count; i++)
    list_node_clear (&nodes[i]);
}

List *
list_open (const char *path, IndexOpenFlags flags, GError **error)
{
  g_autoptr (List) self = g_new0 (List, 1);
  return db_open (&self->db, &list_schema, path, flags, error) ? g_steal_pointer (&self) : NULL;
}

void
list_close (List *self)
{
  if (self == NULL)
    return;
  db_close (&self->db);
  g_free (self);
}

bool
list_is_current (const List *self)
{
  return db_is_current (&self->db);
}

bool
list_data_version (List *self, uint32_t *out_version, GError **error)
{
  return db_data_version (&self->db, out_version, error);
}

bool
list_sync (List *self, GError **error)
{
  return db_sync (&self->db, error);
}

bool
list_verify (List *self, GError **error)
{
  if (!db_verify (&self->db, error))
    return false;
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading,
                          "WITH RECURSIVE tree (number) AS ("
                          "  VALUES (0) UNION"
                          "  SELECT node.number FROM node JOIN tree ON node.parent = tree.number"
                          ") SELECT number FROM node WHERE number NOT IN tree LIMIT 1",
                          error);
  bool row;
  if (select == NULL || !connection_step (reading, select, &row, error))
    return false;
  return !row || fail (error, EUCLEAN, "%s: node %u is not below the root", reading->name,
                       (uint32_t)sqlite3_column_int64 (select, 0));
}

/* ---- reading ------------------------------------------------------------------------------- */

ListRead *
list_read_begin (List *self, GError **error)
{
  return db_read_begin (&self->db, error) ? self : NULL;
}

void
list_read_end (ListRead *self)
{
  if (self != NULL)
    db_read_end (&self->db);
}

/* All statements that read nodes select these, in the order that step_node() knows. */
#define NODE_COLUMNS                                                                               \
  "number, parent, owner, kind, subscribed, name, full_name, special_use,"                         \
  " no_index"

/* Names become parts of paths, and who wrote them is not known. */
static bool
is_name (const char *text)
{
  return text != NULL && *text != '\0' && strchr (text, '/') == NULL && strcmp (text, ".") != 0 &&
         strcmp (text, "..") != 0;
}

/* The next node; `*out_found` is false at the end. */
static bool
step_node (Connection *connection, sqlite3_stmt *select, ListNode *out, bool *out_found,
           GError **error)
{
  bool row;
  if (!connection_step (connection, select, &row, error))
    return false;
  if (row && !is_name ((const char *)sqlite3_column_text (select, 5)))
    return fail (error, EUCLEAN, "%s: a node has no name that a directory can have",
                 connection->name);
  if (row)
    *out = (ListNode){
        .number = (uint32_t)sqlite3_column_int64 (select, 0),
        .parent = (uint32_t)sqlite3_column_int64 (select, 1),
        .owner = (uint32_t)sqlite3_column_int64 (select, 2),
        .kind = (ListKind)sqlite3_column_int (select, 3),
        .subscribed = sqlite3_column_int (select, 4) != 0,
        .name = statement_text (select, 5),
        .full_name = statement_text (select, 6),
        .special_use = statement_text (select, 7),
        .no_index = sqlite3_column_int (select, 8) != 0,
    };
  *out_found = row;
  return true;
}

bool
list_get (List *self, uint32_t number, ListNode *out, bool *out_found, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading, "SELECT " NODE_COLUMNS " FROM node WHERE number = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, number);
  return step_node (reading, select, out, out_found, error);
}

bool
list_find (List *self, uint32_t parent, const char *name, ListNode *out, bool *out_found,
           GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading, "SELECT " NODE_COLUMNS " FROM node WHERE parent = ?1 AND name = ?2", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, parent);
  sqlite3_bind_text (select, 2, name, -1, SQLITE_STATIC);
  return step_node (reading, select, out, out_found, error);
}

/* Whether a node may follow another one in a page. */
typedef bool (*FollowsFunc) (const ListNode *node, const ListNode *before);

static bool
follows_by_name (const ListNode *node, const ListNode *before)
{
  return strcmp (node->name, before->name) > 0;
}

static bool
follows_by_number (const ListNode *node, const ListNode *before)
{
  return node->number > before->number;
}

/* Takes all nodes of a statement, which come after `before`; NULL: they are the first ones. Nothing
 * is left in `out` when it fails. */
static bool
take_page (Connection *reading, sqlite3_stmt *select, const ListNode *before, FollowsFunc follows,
           ListNode *out, size_t *out_count, GError **error)
{
  for (size_t count = 0;; count++) {
    bool found;
    if (!step_node (reading, select, &out[count], &found, error)) {
      list_nodes_clear (out, count);
      return false;
    }
    if (!found) {
      *out_count = count;
      return true;
    }
    /* A damaged tree may run in a ring; a caller that goes on after the last one would, too. */
    if (before != NULL && !follows (&out[count], before)) {
      list_nodes_clear (out, count + 1);
      return fail (error, EUCLEAN, "%s: nodes are out of order", reading->name);
    }
    before = &out[count];
  }
}

bool
list_children (List *self, uint32_t parent, const char *after, ListNode *out, size_t capacity,
               size_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (reading,
                                              "SELECT " NODE_COLUMNS " FROM node"
                                              " WHERE parent = ?1 AND name > ?2"
                                              " ORDER BY name LIMIT ?3",
                                              error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, parent);
  sqlite3_bind_text (select, 2, after != NULL ? after : "", -1, SQLITE_STATIC);
  sqlite3_bind_int64 (select, 3, (int64_t)capacity);
  const ListNode before = {.name = (char *)after};
  return take_page (reading, select, after != NULL ? &before : NULL, follows_by_name, out,
                    out_count, error);
}

bool
list_page (List *self, uint32_t from, ListNode *out, size_t capacity, size_t *out_count,
           GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading, "SELECT " NODE_COLUMNS " FROM node WHERE number >= ?1 ORDER BY number LIMIT ?2",
      error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, from);
  sqlite3_bind_int64 (select, 2, (int64_t)capacity);
  const ListNode before = {.number = from - 1};
  return take_page (reading, select, from > 0 ? &before : NULL, follows_by_number, out, out_count,
                    error);
}

bool
list_child_count (List *self, uint32_t parent, uint64_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading, "SELECT count (*) FROM node WHERE parent = ?1", error);
  bool row;
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, parent);
  if (!connection_step (reading, select, &row, error))
    return false;
  *out_count = (uint64_t)sqlite3_column_int64 (select, 0);
  return true;
}

bool
list_container (List *self, uint32_t number, int64_t *out_directory_ns, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading, "SELECT directory_ns FROM container WHERE number = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, number);
  bool row;
  if (!connection_step (reading, select, &row, error))
    return false;
  *out_directory_ns = row ? sqlite3_column_int64 (select, 0) : LIST_CONTAINER_UNKNOWN;
  return true;
}

bool
list_count (List *self, ListKind kind, uint64_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading, "SELECT count (*) FROM node WHERE kind = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int (select, 1, (int)kind);
  bool row;
  if (!connection_step (reading, select, &row, error))
    return false;
  *out_count = (uint64_t)sqlite3_column_int64 (select, 0);
  return true;
}

bool
list_highest (List *self, uint32_t *out_number, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading, "SELECT ifnull (max (number), 0) FROM node", error);
  bool row;
  if (select == NULL || !connection_step (reading, select, &row, error))
    return false;
  *out_number = (uint32_t)sqlite3_column_int64 (select, 0);
  return true;
}

/* ---- writing ------------------------------------------------------------------------------- */

ListWrite *
list_write_begin (List *self, GError **error)
{
  if (!db_begin (&self->db, error))
    return NULL;
  ListWrite *write = g_new0 (ListWrite, 1);
  write->db = &self->db;
  write->open = true;
  return write;
}

bool
list_write_commit (ListWrite *self, GError **error)
{
  if (!db_commit (self->db, error))
    return false;
  self->open = false;
  return true;
}

void
list_write_free (ListWrite *self)
{
  if (self == NULL)
    return;
  if (self->open)
    db_rollback (self->db);
  g_free (self);
}

#define INSERT_NODE                                                                                \
  "INSERT INTO node (" NODE_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"

/* Runs one of the literals that begin with INSERT_NODE. */
static bool
insert_node (ListWrite *self, const char *sql, const ListNode *node, GError **error)
{
  auto_statement insert = connection_prepare (self->db->writing, sql, error);
  if (insert == NULL)
    return false;
  sqlite3_bind_int64 (insert, 1, node->number);
  sqlite3_bind_int64 (insert, 2, node->parent);
  sqlite3_bind_int64 (insert, 3, node->owner);
  sqlite3_bind_int (insert, 4, (int)node->kind);
  sqlite3_bind_int (insert, 5, node->subscribed);
  sqlite3_bind_text (insert, 6, node->name, -1, SQLITE_STATIC);
  sqlite3_bind_text (insert, 7, node->full_name, -1, SQLITE_STATIC);
  sqlite3_bind_text (insert, 8, node->special_use, -1, SQLITE_STATIC);
  sqlite3_bind_int (insert, 9, node->no_index);
  return db_write (self->db, insert, error);
}

bool
list_write_node (ListWrite *self, const ListNode *node, GError **error)
{
  /* Not REPLACE: that would remove the node that has the name. */
  static const char sql[] = INSERT_NODE " ON CONFLICT (number) DO UPDATE SET"
                                        "   parent = ?2, owner = ?3, kind = ?4, subscribed = ?5,"
                                        "   name = ?6, full_name = ?7, special_use = ?8,"
                                        "   no_index = ?9";
  return insert_node (self, sql, node, error);
}

bool
list_write_new_node (ListWrite *self, const ListNode *node, GError **error)
{
  static const char sql[] = INSERT_NODE " ON CONFLICT (number) DO NOTHING";
  if (!insert_node (self, sql, node, error))
    return false;
  return sqlite3_changes (self->db->writing->handle) > 0 ||
         fail (error, EEXIST, "%s: number %u is taken", self->db->writing->name, node->number);
}

bool
list_write_container (ListWrite *self, uint32_t number, int64_t directory_ns, GError **error)
{
  auto_statement insert =
      connection_prepare (self->db->writing,
                          "INSERT INTO container (number, directory_ns) VALUES (?1, ?2)"
                          " ON CONFLICT (number) DO UPDATE SET directory_ns = ?2",
                          error);
  if (insert == NULL)
    return false;
  sqlite3_bind_int64 (insert, 1, number);
  sqlite3_bind_int64 (insert, 2, directory_ns);
  return db_write (self->db, insert, error);
}

/* The number of a node and those of all below it. UNION, not UNION ALL: a damaged list may have a
 * ring. */
#define WITH_BELOW                                                                                 \
  "WITH RECURSIVE below (number) AS ("                                                             \
  "  VALUES (?1) UNION"                                                                            \
  "  SELECT node.number FROM node JOIN below ON node.parent = below.number"                        \
  ") "

/* Runs one of the literals that begin with WITH_BELOW. */
static bool
delete_below (ListWrite *self, const char *sql, uint32_t number, GError **error)
{
  auto_statement delete = connection_prepare (self->db->writing, sql, error);
  if (delete == NULL)
    return false;
  sqlite3_bind_int64 (delete, 1, number);
  return db_write (self->db, delete, error);
}

bool
list_write_remove (ListWrite *self, uint32_t number, GError **error)
{
  return delete_below (
             self, WITH_BELOW "DELETE FROM container WHERE number IN (SELECT number FROM below)",
             number, error) &&
         delete_below (self,
                       WITH_BELOW "DELETE FROM node WHERE number IN (SELECT number FROM below)",
                       number, error);
}

static bool
delete_all (ListWrite *self, const char *sql, GError **error)
{
  auto_statement delete = connection_prepare (self->db->writing, sql, error);
  return delete != NULL && db_write (self->db, delete, error);
}

bool
list_write_clear (ListWrite *self, GError **error)
{
  return delete_all (self, "DELETE FROM node", error) &&
         delete_all (self, "DELETE FROM container", error);
}
