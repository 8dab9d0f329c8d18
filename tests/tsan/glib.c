/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells ThreadSanitizer what GLib's locks and queues order. GLib's GMutex and what stands on it are
 * futexes of their own, and the library is not instrumented, so without this every lock of ours
 * looks like none. Linked, with -Wl,--wrap for each function here, into everything that is built
 * for ThreadSanitizer.
 */
#include <glib.h>
#include <sanitizer/tsan_interface.h>

#define WRAP(type, name, ...)                                                                      \
  type __real_##name (__VA_ARGS__);                                                                \
  type __wrap_##name (__VA_ARGS__);                                                                \
  type __wrap_##name (__VA_ARGS__)

WRAP (void, g_mutex_lock, GMutex *mutex)
{
  __tsan_mutex_pre_lock (mutex, __tsan_mutex_linker_init);
  __real_g_mutex_lock (mutex);
  __tsan_mutex_post_lock (mutex, __tsan_mutex_linker_init, 0);
}

WRAP (void, g_mutex_unlock, GMutex *mutex)
{
  __tsan_mutex_pre_unlock (mutex, __tsan_mutex_linker_init);
  __real_g_mutex_unlock (mutex);
  __tsan_mutex_post_unlock (mutex, __tsan_mutex_linker_init);
}

WRAP (void, g_mutex_clear, GMutex *mutex)
{
  __tsan_mutex_destroy (mutex, __tsan_mutex_linker_init);
  __real_g_mutex_clear (mutex);
}

WRAP (void, g_cond_wait, GCond *cond, GMutex *mutex)
{
  __tsan_mutex_pre_unlock (mutex, __tsan_mutex_linker_init);
  __tsan_mutex_post_unlock (mutex, __tsan_mutex_linker_init);
  __real_g_cond_wait (cond, mutex);
  __tsan_mutex_pre_lock (mutex, __tsan_mutex_linker_init);
  __tsan_mutex_post_lock (mutex, __tsan_mutex_linker_init, 0);
}

WRAP (gboolean, g_cond_wait_until, GCond *cond, GMutex *mutex, gint64 end_time)
{
  __tsan_mutex_pre_unlock (mutex, __tsan_mutex_linker_init);
  __tsan_mutex_post_unlock (mutex, __tsan_mutex_linker_init);
  gboolean signalled = __real_g_cond_wait_until (cond, mutex, end_time);
  __tsan_mutex_pre_lock (mutex, __tsan_mutex_linker_init);
  __tsan_mutex_post_lock (mutex, __tsan_mutex_linker_init, 0);
  return signalled;
}

WRAP (void, g_async_queue_push, GAsyncQueue *queue, gpointer data)
{
  __tsan_release (data);
  __real_g_async_queue_push (queue, data);
}

WRAP (gpointer, g_async_queue_pop, GAsyncQueue *queue)
{
  gpointer data = __real_g_async_queue_pop (queue);
  __tsan_acquire (data);
  return data;
}

WRAP (gboolean, g_atomic_ref_count_dec, gatomicrefcount *count)
{
  __tsan_release (count);
  gboolean last = __real_g_atomic_ref_count_dec (count);
  __tsan_acquire (count);
  return last;
}

/* The function and data of a pool, so that its threads can be told what they take over. */
typedef struct {
  GFunc function;
  gpointer data;
} Pool;

static void
run (gpointer item, gpointer data)
{
  Pool *pool = data;
  __tsan_acquire (item);
  pool->function (item, pool->data);
  __tsan_release (pool);
}

/* Lives as long as the process: the pool has no place to free it. */
static Pool *
keep_pool (GFunc function, gpointer data)
{
  static GMutex mutex;
  static GPtrArray *pools;
  Pool *pool = g_new (Pool, 1);
  *pool = (Pool){function, data};
  g_mutex_lock (&mutex);
  if (pools == NULL)
    pools = g_ptr_array_new ();
  g_ptr_array_add (pools, pool);
  g_mutex_unlock (&mutex);
  return pool;
}

WRAP (GThreadPool *, g_thread_pool_new, GFunc function, gpointer data, gint max_threads,
      gboolean exclusive, GError **error)
{
  return __real_g_thread_pool_new (run, keep_pool (function, data), max_threads, exclusive, error);
}

WRAP (GThreadPool *, g_thread_pool_new_full, GFunc function, gpointer data,
      GDestroyNotify free_item, gint max_threads, gboolean exclusive, GError **error)
{
  return __real_g_thread_pool_new_full (run, keep_pool (function, data), free_item, max_threads,
                                        exclusive, error);
}

WRAP (gboolean, g_thread_pool_push, GThreadPool *pool, gpointer data, GError **error)
{
  __tsan_release (data);
  return __real_g_thread_pool_push (pool, data, error);
}

WRAP (void, g_thread_pool_free, GThreadPool *pool, gboolean immediate, gboolean wait)
{
  Pool *kept = pool->user_data;
  __real_g_thread_pool_free (pool, immediate, wait);
  if (wait)
    __tsan_acquire (kept);
}

/* What the library does with its own memory is its own business. */
const char *__tsan_default_suppressions (void);
const char *
__tsan_default_suppressions (void)
{
  return "called_from_lib:libglib-2.0.so\n";
}
