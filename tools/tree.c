/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - the mailboxes below a directory of the store. */
#include "tools/site.h"
#include "tools/tools.h"

/* Puts the numbers of all children on the stack, so that the first by name is taken first. */
static bool
push_children (Site *site, uint32_t parent, GArray *stack, GError **error)
{
  guint bottom = stack->len;
  if (!site_children (site, parent, stack, error))
    return false;
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
tree_each (Site *site, uint32_t top, bool recursive, TreeFunc each, void *data, GError **error)
{
  g_autoptr (GArray) stack = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  g_array_append_val (stack, top);
  while (stack->len > 0) {
    uint32_t number = g_array_index (stack, uint32_t, stack->len - 1);
    g_array_set_size (stack, stack->len - 1);
    g_auto (StoreNode) node = {0};
    g_autoptr (GError) wrong = NULL;
    if (site_node (site, number, &node, &wrong) &&
        (node.kind != STORE_NODE_MAILBOX || each (site, &node, data, &wrong)) &&
        ((!recursive && number != top) || push_children (site, number, stack, &wrong)))
      continue;
    if (!is_gone (wrong)) {
      g_propagate_error (error, g_steal_pointer (&wrong));
      return false;
    }
  }
  return true;
}
