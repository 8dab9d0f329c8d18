/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - the mailboxes below a directory of the store. */
#include "tools/tools.h"

#define PAGE 128

/* Puts the numbers of all children on the stack, so that the first by name is taken first. */
static bool
push_children (Store *store, uint32_t parent, GArray *stack, GError **error)
{
  g_autofree char *after = NULL;
  guint bottom = stack->len;
  for (;;) {
    StoreNode page[PAGE];
    size_t count;
    if (!store_node_children (store, parent, after, page, PAGE, &count, error))
      return false;
    if (count == 0)
      break;
    for (size_t i = 0; i < count; i++)
      g_array_append_val (stack, page[i].number);
    g_free (after);
    after = g_strdup (page[count - 1].name);
    store_nodes_clear (page, count);
  }
  uint32_t *numbers = (uint32_t *)(void *)stack->data;
  for (guint low = bottom, high = stack->len; low + 1 < high; low++, high--) {
    uint32_t swap = numbers[low];
    numbers[low] = numbers[high - 1];
    numbers[high - 1] = swap;
  }
  return true;
}

/* What may have been removed since its parent was read. */
static bool
is_gone (const GError *error)
{
  return error_code (error) == ENOENT || error_code (error) == ESTALE;
}

bool
tree_each (Store *store, uint32_t top, bool recursive, TreeFunc each, void *data, GError **error)
{
  g_autoptr (GArray) stack = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  g_array_append_val (stack, top);
  while (stack->len > 0) {
    uint32_t number = g_array_index (stack, uint32_t, stack->len - 1);
    g_array_set_size (stack, stack->len - 1);
    g_auto (StoreNode) node = {0};
    g_autoptr (GError) wrong = NULL;
    if (store_node_get (store, number, &node, &wrong) &&
        (node.kind != STORE_NODE_MAILBOX || each (store, &node, data, &wrong)) &&
        ((!recursive && number != top) || push_children (store, number, stack, &wrong)))
      continue;
    if (!is_gone (wrong)) {
      g_propagate_error (error, g_steal_pointer (&wrong));
      return false;
    }
  }
  return true;
}
