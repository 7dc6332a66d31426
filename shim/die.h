/* The one way to end because of an error. */
#ifndef DIE_H
#define DIE_H

#include <stdnoreturn.h>

/* Writes "<name>: <message>" to stderr and exits with the status. */
noreturn void die(int status, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
