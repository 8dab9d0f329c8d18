/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pipeline.h"

#define ITEMS 5000

typedef struct {
  int number;
  int steps;
} Item;

typedef struct {
  int decided, committed, finished; /* the next number of each */
  int freed;                        /* atomic */
  int held, most_held;              /* atomic: items that a worker is at */
  int fails_at;                     /* number whose commit fails */
  int ticks, last_tick;
  int pushed;   /* atomic */
  bool is_slow; /* the committing thread */
} Run;

/* Some take longer than those behind them. */
static void
prepare (void *data, void *user_data)
{
  Run *run = user_data;
  Item *item = data;
  int held = g_atomic_int_add (&run->held, 1) + 1;
  if (held > g_atomic_int_get (&run->most_held))
    g_atomic_int_set (&run->most_held, held);
  if (item->number % 97 == 0)
    g_usleep (2000);
  g_assert_cmpint (item->steps++, ==, 0);
}

static void
decide (void *data, void *user_data)
{
  Run *run = user_data;
  Item *item = data;
  g_assert_cmpint (item->number, ==, run->decided++);
  g_assert_cmpint (item->steps++, ==, 1);
}

static void
work (void *data, void *user_data)
{
  Run *run = user_data;
  Item *item = data;
  if (item->number % 89 == 0)
    g_usleep (2000);
  g_assert_cmpint (item->steps++, ==, 2);
  g_atomic_int_add (&run->held, -1);
}

static bool
commit (void *data, void *user_data, GError **error)
{
  Run *run = user_data;
  g_autofree Item *item = data;
  g_atomic_int_inc (&run->freed);
  g_assert_cmpint (item->number, ==, run->committed++);
  g_assert_cmpint (item->steps, ==, 3);
  if (run->is_slow && item->number % 100 == 0)
    g_usleep (20000);
  return item->number != run->fails_at || fail (error, ENOSPC, "full");
}

static bool
finish (void *user_data, GError **error)
{
  Run *run = user_data;
  run->finished++;
  return run->fails_at != ITEMS || fail (error, EIO, "at the end");
}

static bool
tick (void *user_data)
{
  Run *run = user_data;
  return ++run->ticks != run->last_tick;
}

static int dropped; /* items that were freed without a commit; atomic */

static void
drop (void *item)
{
  g_atomic_int_inc (&dropped);
  g_free (item);
}

static const PipelineSteps steps = {.prepare = prepare,
                                    .decide = decide,
                                    .work = work,
                                    .commit = commit,
                                    .finish = finish,
                                    .free_item = drop,
                                    .tick = tick};

/* Pushes ITEMS or until it stops, and returns the errno of the end. Every item is freed once. */
static int
push_all (Run *run, uint64_t size, int drop_at)
{
  g_autoptr (GError) error = NULL;
  Pipeline *pipeline = pipeline_new (&steps, run);
  int pushed = 0;
  dropped = 0;
  for (bool go_on = true; go_on && pushed < ITEMS && pushed != drop_at; pushed++) {
    Item *item = g_new0 (Item, 1);
    item->number = pushed;
    go_on = pipeline_push (pipeline, item, size);
  }
  bool ok = pipeline_end (pipeline, pushed == drop_at, &error);
  g_assert_cmpint (ok, ==, error == NULL);
  g_assert_cmpint (run->freed + dropped, ==, pushed);
  return error_code (error) * (error != NULL);
}

static void
test_order (void)
{
  Run run = {.fails_at = -1};
  g_assert_cmpint (push_all (&run, 0, -1), ==, 0);
  g_assert_cmpint (run.committed, ==, ITEMS);
  g_assert_cmpint (run.finished, ==, 1);
  g_assert_cmpint (run.ticks, >, 0);
}

/* Items larger than all that may be under way at once go through one by one. */
static void
test_large (void)
{
  Run run = {.fails_at = -1, .is_slow = true};
  g_assert_cmpint (push_all (&run, UINT64_C (1) << 40, -1), ==, 0);
  g_assert_cmpint (run.committed, ==, ITEMS);
  g_assert_cmpint (run.most_held, ==, 1);
}

static void
test_failure (void)
{
  static const int places[] = {0, 1, 1500, ITEMS - 1};
  for (size_t i = 0; i < G_N_ELEMENTS (places); i++) {
    Run run = {.fails_at = places[i]};
    g_assert_cmpint (push_all (&run, 0, -1), ==, ENOSPC);
    g_assert_cmpint (run.committed, ==, places[i] + 1);
    g_assert_cmpint (run.finished, ==, 0);
  }
  Run run = {.fails_at = ITEMS};
  g_assert_cmpint (push_all (&run, 0, -1), ==, EIO);
}

static void
test_cancel (void)
{
  Run at_once = {.fails_at = -1, .last_tick = 1};
  g_assert_cmpint (push_all (&at_once, 0, -1), ==, ECANCELED);
  g_assert_cmpint (at_once.committed, ==, 0);
  Run later = {.fails_at = -1, .last_tick = 3, .is_slow = true};
  g_assert_cmpint (push_all (&later, 0, -1), ==, ECANCELED);
  g_assert_cmpint (later.finished, ==, 0);
}

static void
test_drop (void)
{
  Run run = {.fails_at = -1, .is_slow = true};
  g_assert_cmpint (push_all (&run, 0, 700), ==, 0);
  g_assert_cmpint (run.finished, ==, 0);
  Run none = {.fails_at = -1};
  g_assert_cmpint (push_all (&none, 0, 0), ==, 0);
}

enum { MANY = 900 }; /* of 1024 */

/* The first is not over before many others were pushed, or a minute has passed. */
static bool
commit_slowly (void *data, void *user_data, GError **error)
{
  Run *run = user_data;
  g_free (data);
  for (int i = 0; i < 60000 && run->freed == 0 && g_atomic_int_get (&run->pushed) < MANY; i++)
    g_usleep (1000);
  run->freed++;
  return g_atomic_int_get (&run->pushed) >= MANY || fail (error, ETIMEDOUT, "nobody pushes");
}

/* Nearly all the items that may wait for a slow commit do, so the workers are never without. */
static void
test_slow_commits (void)
{
  Run run = {.fails_at = -1};
  g_autoptr (GError) error = NULL;
  PipelineSteps slow = steps;
  slow.commit = commit_slowly;
  Pipeline *pipeline = pipeline_new (&slow, &run);
  for (int pushed = 0; pushed < 2000; pushed++) {
    Item *item = g_new0 (Item, 1);
    item->number = pushed;
    if (!pipeline_push (pipeline, item, 0))
      break;
    g_atomic_int_inc (&run.pushed);
  }
  pipeline_end (pipeline, false, &error);
  g_assert_no_error (error);
  g_assert_cmpint (run.freed, ==, 2000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/pipeline/order", test_order);
  g_test_add_func ("/pipeline/large", test_large);
  g_test_add_func ("/pipeline/failure", test_failure);
  g_test_add_func ("/pipeline/cancel", test_cancel);
  g_test_add_func ("/pipeline/drop", test_drop);
  g_test_add_func ("/pipeline/slow-commits", test_slow_commits);
  return g_test_run ();
}
