/* SPDX-License-Identifier: Apache-2.0 */
/* Inode numbers: each tells what it was made of, and no two kinds of nodes share any. */
#include "fs/inode.h"

static const uint32_t views[] = {VIEW_TOP, 1, 127, 128, 255};
static const uint32_t numbers[] = {1, 2, 0x800000, STORE_NUMBER_MAX};
static const uint32_t uids[] = {1, 2, 1u << 31, STORE_UID_MAX - 1, STORE_UID_MAX};

static void
check_directory (uint32_t view, uint32_t number)
{
  fuse_ino_t ino = inode_directory (view, number);
  g_assert_cmpint (inode_kind (ino), ==, INODE_DIRECTORY);
  g_assert_cmpuint (inode_view (ino), ==, view);
  g_assert_cmpuint (inode_number (ino), ==, number);
  g_assert_cmpuint (inode_plain (ino), ==, ino);
  g_assert_cmpuint (inode_instance (ino), ==, ino);
}

static void
check_message (uint32_t view, uint32_t number, uint32_t uid)
{
  fuse_ino_t ino = inode_message (view, number, uid);
  g_assert_cmpint (inode_kind (ino), ==, INODE_MESSAGE);
  g_assert_cmpuint (inode_view (ino), ==, view);
  g_assert_cmpuint (inode_number (ino), ==, number);
  g_assert_cmpuint (inode_uid (ino), ==, uid);
  g_assert_cmpuint (inode_job_id (ino), ==, 0);
  g_assert_cmpuint (inode_plain (ino), ==, ino);
}

static void
test_mail (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (views); i++) {
    check_directory (views[i], STORE_ROOT);
    for (size_t j = 0; j < G_N_ELEMENTS (numbers); j++) {
      check_directory (views[i], numbers[j]);
      for (size_t k = 0; k < G_N_ELEMENTS (uids); k++)
        check_message (views[i], numbers[j], uids[k]);
    }
  }
}

/* What stands in st_ino of the mount that there was before snapshots is the same for ever. */
static void
test_constants (void)
{
  g_assert_cmphex (inode_directory (VIEW_TOP, STORE_ROOT), ==, FUSE_ROOT_ID);
  g_assert_cmphex (inode_directory (VIEW_TOP, 7), ==, 0x700000000);
  g_assert_cmphex (inode_message (VIEW_TOP, 7, 42), ==, 0x70000002a);
  g_assert_cmphex (inode_message (3, 7, 42), ==, 0x030000070000002a);
}

static void
check_control (fuse_ino_t ino, uint32_t number, uint32_t slot)
{
  g_assert_cmpint (inode_kind (ino), ==, INODE_CONTROL);
  g_assert_cmpuint (inode_view (ino), ==, VIEW_TOP);
  g_assert_cmpuint (inode_number (ino), ==, number);
  g_assert_cmpuint (inode_slot (ino), ==, slot);
  g_assert_cmpuint (inode_job_id (ino), ==, 0);
  g_assert_cmpuint (inode_plain (ino), ==, inode_control (number, slot));
}

/* More instances than a UID has bits for. */
static void
check_instances (uint32_t number, uint32_t slot)
{
  fuse_ino_t ino = inode_control (number, slot), last = ino;

  check_control (ino, number, slot);
  for (int i = 0; i < (1 << 20) + 10; i++) {
    fuse_ino_t instance = inode_instance (ino);
    g_assert_cmpuint (instance, !=, last);
    g_assert_cmpuint (instance, !=, ino);
    check_control (instance, number, slot);
    last = instance;
  }
}

static void
test_instances (void)
{
  check_instances (STORE_ROOT, 0);
  check_instances (STORE_ROOT, 255);
  check_instances (STORE_NUMBER_MAX, 64);
}

static void
test_jobs (void)
{
  static const uint64_t jobs[] = {1, 2, INODE_JOB_MAX};

  for (size_t i = 0; i < G_N_ELEMENTS (jobs); i++)
    for (uint32_t file = 0; file < 8; file++) {
      fuse_ino_t ino = inode_job (jobs[i], file);
      g_assert_cmpint (inode_kind (ino), ==, INODE_CONTROL);
      g_assert_cmpuint (inode_view (ino), ==, VIEW_TOP);
      g_assert_cmpuint (inode_job_id (ino), ==, jobs[i]);
      g_assert_cmpuint (inode_slot (ino), ==, file);
      g_assert_cmpuint (inode_plain (ino), ==, ino);
      g_assert_cmpuint (inode_instance (ino), ==, ino);
    }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/inode/mail", test_mail);
  g_test_add_func ("/inode/constants", test_constants);
  g_test_add_func ("/inode/instances", test_instances);
  g_test_add_func ("/inode/jobs", test_jobs);
  return g_test_run ();
}
