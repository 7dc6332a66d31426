#include "die.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

noreturn void die(int status, const char *name, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "%s: ", name);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(status);
}
