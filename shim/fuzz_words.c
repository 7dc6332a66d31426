/* Feeds any words to what reads a caller's: those of env, variables, patterns, the proxy's URL,
 * an interpreter's options. The first byte says how many words are arguments. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "assign.h"
#include "die.h"
#include "local.h"
#include "proxy.h"
#include "request.h"

enum { MOST = 64 };

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static jmp_buf died;

noreturn void die(int status, const char *name, const char *format, ...)
{
	(void)name;
	(void)format;
	longjmp(died, status);
}

/* The strings of a text that ends in NUL, a NULL behind them; returns how many there are. */
static size_t split(char *text, size_t size, char *words[MOST + 1])
{
	size_t count = 0;

	for (size_t at = 0; at < size && count < MOST; at += strlen(text + at) + 1)
		words[count++] = text + at;
	words[count] = NULL;
	return count;
}

static bool is_among(const char *word, char *const *words)
{
	while (*words != NULL && *words != word)
		words++;
	return *words != NULL;
}

/* Every variable is one of the environment or of the assignments before the tool. */
static void check_env(char **arguments, char **environment)
{
	struct order order = {.tool = "env", .arguments = arguments, .environment = environment};

	if (!assign_read(&order))
		return;
	if (strpbrk(order.tool, "=/") != NULL || order.arguments[-1] != order.tool ||
	    !is_among(order.tool, arguments))
		abort();
	for (char **variable = order.environment; *variable != NULL; variable++) {
		bool assigned = is_among(*variable, arguments) && strchr(*variable, '=') != NULL;
		if (!assigned && !is_among(*variable, environment))
			abort();
	}
	free(order.environment);
}

static void check_url(const char *url)
{
	struct proxy proxy;

	setenv("AIFO_TOOLEEXEC_TOKEN", "secret", 1);
	setenv("AIFO_TOOLEEXEC_URL", url, 1);
	if (setjmp(died) == 0 && proxy_find(&proxy) &&
	    (memchr(proxy.host, '\0', HOST_LIMIT) == NULL || strchr(proxy.host, ' ') != NULL ||
	     (proxy.socket == NULL && strchr(proxy.host, ':') == NULL)))
		abort();
}

static void check_variables(char **variables)
{
	setenv("AIFO_SHIM_ENV", variables[0] != NULL ? variables[0] : "", 1);
	for (; *variables != NULL; variables++) {
		if (is_candidate(*variables) && (strchr(*variables, '=') == NULL ||
						 strncmp(*variables, "LD_", 3) == 0 ||
						 strncmp(*variables, "PATH=", 5) == 0))
			abort();
	}
	unsetenv("AIFO_SHIM_ENV");
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	char *words[MOST + 1], *arguments[MOST + 1] = {NULL};

	if (size == 0)
		return 0;
	char *text = malloc(size); /* a NUL in place of the first byte, which goes to the end */
	if (text == NULL)
		abort();
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	size_t count = split(text, size, words);
	size_t first = data[0] < count ? data[0] : count;
	memcpy(arguments, words, first * sizeof *words);
	check_env(arguments, words + first);
	check_variables(words + first);
	check_url(text);
	setenv("AIFO_SHIM_SMART", "1", 1);
	setenv("AIFO_SHIM_SMART_NODE", "1", 1);
	setenv("AIFO_SHIM_SMART_PYTHON", "1", 1);
	(void)local_wants("node", arguments);
	(void)local_wants("python", arguments);
	free(text);
	return 0;
}
