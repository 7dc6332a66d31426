#include "assign.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Removes every variable of a name, which ends at '=' or at its end. */
static void remove_name(char **environment, const char *name)
{
	size_t length = strcspn(name, "=");
	char **kept = environment;

	for (; *environment != NULL; environment++) {
		bool same = strncmp(*environment, name, length) == 0 && (*environment)[length] == '=';
		if (!same)
			*kept++ = *environment;
	}
	*kept = NULL;
}

static void add(char **environment, char *variable)
{
	remove_name(environment, variable);
	while (*environment != NULL)
		environment++;
	environment[0] = variable;
	environment[1] = NULL;
}

/* One option; returns how many words it takes, 0 for an unknown one. */
static int read_option(char **words, char **environment)
{
	const char *word = words[0];

	if (strcmp(word, "-") == 0 || strcmp(word, "-i") == 0 ||
	    strcmp(word, "--ignore-environment") == 0) {
		environment[0] = NULL;
		return 1;
	}
	bool is_apart = strcmp(word, "-u") == 0 || strcmp(word, "--unset") == 0;
	const char *name = is_apart ? words[1] : NULL;
	if (strncmp(word, "--unset=", 8) == 0)
		name = word + 8;
	else if (!is_apart && strncmp(word, "-u", 2) == 0)
		name = word + 2;
	if (name == NULL || name[0] == '\0' || strchr(name, '=') != NULL)
		return 0;
	remove_name(environment, name);
	return is_apart ? 2 : 1;
}

static char **copy(char **environment, size_t room)
{
	size_t count = 0;

	while (environment[count] != NULL)
		count++;
	char **made = calloc(count + room + 1, sizeof *made);
	if (made != NULL)
		memcpy(made, environment, count * sizeof *made);
	return made;
}

bool assign_read(struct order *order)
{
	char **words = order->arguments;
	size_t count = 0;

	while (words[count] != NULL)
		count++;
	char **environment = copy(order->environment, count);
	while (environment != NULL && *words != NULL && **words == '-') {
		if (strcmp(*words, "--") == 0) {
			words++;
			break;
		}
		int taken = read_option(words, environment);
		if (taken == 0)
			return false;
		words += taken;
	}
	for (; environment != NULL && *words != NULL && strchr(*words, '=') != NULL; words++)
		add(environment, *words);
	if (environment == NULL || *words == NULL || strchr(*words, '/') != NULL)
		return false;
	order->tool = *words;
	order->arguments = words + 1;
	order->environment = environment;
	return true;
}
