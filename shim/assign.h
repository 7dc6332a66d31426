/* The words of env: env [-i] [-u V] [K=V] tool ... */
#ifndef ASSIGN_H
#define ASSIGN_H

#include <stdbool.h>

#include "shim.h"

/* Turns a call of env into one of the tool it names, with its environment. False when the words
 * are not of this form: then they mean the real env. The order's environment is a copy. */
bool assign_read(struct order *order);

#endif
