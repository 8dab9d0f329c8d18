/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - what is told to whoever looks after the machine: the log, and the service manager.
 */
#pragma once

#include "index/error.h"

/* ---- log.c: stderr in the foreground, the journal or syslog in the background -------------- */

void log_start (bool debug);
void log_to_system (void); /* from now on */
bool log_is_debug (void);

/* `priority` is syslog's. Control bytes in the text are escaped. What goes as it should (LOG_INFO)
 * is not for a stderr that people look at. */
void log_message (int priority, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* As log_message(), of a mailbox (as store_node_title() has it; NULL or empty: none) and a job (0:
 * none). */
void log_about (int priority, const char *mailbox, uint64_t job, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

/* ---- service.c: the service manager -------------------------------------------------------- */

/* Tells it of assignments like "READY=1", a line each; does nothing when there is none. */
void service_tell (const char *format, ...) G_GNUC_PRINTF (1, 2);
