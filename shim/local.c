#include "local.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "die.h"
#include "shim.h"

enum { DEEPEST = 100 }; /* calls of what is wanted here, one in another */

static bool stat_self(struct stat *status)
{
#ifdef __APPLE__
	char path[PATH_MAX];
	uint32_t size = sizeof path;
	return _NSGetExecutablePath(path, &size) == 0 && stat(path, status) == 0;
#else
	/* an emulator of another architecture answers the name rightly, and not the file */
	char path[PATH_MAX];
	ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
	if (size > 0) {
		path[size] = '\0';
		if (stat(path, status) == 0)
			return true;
	}
	return stat("/proc/self/exe", status) == 0;
#endif
}

static bool is_self(const char *path)
{
	struct stat self, found;

	return stat_self(&self) && stat(path, &found) == 0 && self.st_dev == found.st_dev &&
	       self.st_ino == found.st_ino;
}

/* Puts the next directory of a PATH and a name together; an empty one is the working
 * directory. False at the end. What does not fit becomes a name that nothing has. */
static bool next_file(const char **path, const char *name, char file[PATH_MAX])
{
	if (*path == NULL)
		return false;
	size_t length = strcspn(*path, ":");
	int size = snprintf(file, PATH_MAX, "%.*s/%s", (int)length, length > 0 ? *path : ".", name);
	if (length == 0)
		size = snprintf(file, PATH_MAX, "./%s", name);
	if (size < 0 || size >= PATH_MAX)
		file[0] = '\0';
	*path = (*path)[length] == ':' ? *path + length + 1 : NULL;
	return true;
}

/* Finds the directory of the PATH that we were called from: where it begins, and what comes
 * behind it, NULL for nothing. False when we were called in another way. */
static bool find_own(const char *called_as, const char **begin, const char **behind)
{
	const char *path = getenv("PATH"), *name = strrchr(called_as, '/');
	char file[PATH_MAX];

	for (*begin = path; next_file(&path, name != NULL ? name + 1 : called_as, file); *begin = path) {
		*behind = path;
		if (is_self(file))
			return true;
	}
	return false;
}

/* Without a proxy we are of no use to what the tool calls in its turn either. */
static void leave_path(const char *called_as)
{
	const char *begin, *behind;

	if (!find_own(called_as, &begin, &behind))
		return;
	size_t before = (size_t)(begin - getenv("PATH"));
	char *path = malloc(before + (behind != NULL ? strlen(behind) : 0) + 1);
	if (path == NULL)
		return;
	memcpy(path, getenv("PATH"), before);
	strcpy(path + before, behind != NULL ? behind : "");
	if (behind == NULL && before > 0)
		path[before - 1] = '\0'; /* the colon */
	setenv("PATH", path, 1);
}

bool local_is_shim(const char *called_as, const char *tool)
{
	const char *slash = strrchr(called_as, '/'), *path = getenv("PATH");
	char file[PATH_MAX];

	if (slash != NULL) {
		int size = snprintf(file, sizeof file, "%.*s/%s", (int)(slash - called_as), called_as,
				    tool);
		return size > 0 && size < PATH_MAX && is_self(file);
	}
	while (next_file(&path, called_as, file)) {
		if (is_self(file)) {
			char *end = strrchr(file, '/') + 1;
			int room = PATH_MAX - (int)(end - file);
			return snprintf(end, (size_t)room, "%s", tool) < room && is_self(file);
		}
	}
	return false;
}

/* Counts how often we have become a tool on the way to this process. */
static void go_deeper(const char *tool, int limit)
{
	const char *given = getenv("AIFO_SHIM_DEPTH");
	int depth = given != NULL ? atoi(given) : 0;
	char text[16];

	if (given != NULL && (depth < 1 || depth >= limit))
		die(REFUSED, SELF, "%s: calls itself: the next one on the PATH came back here", tool);
	snprintf(text, sizeof text, "%d", depth + 1);
	setenv("AIFO_SHIM_DEPTH", text, 1);
}

static noreturn void become(const char *file, const char *tool, char **arguments)
{
	size_t count = 0;

	while (arguments[count] != NULL)
		count++;
	char **argv = calloc(count + 2, sizeof *argv);
	if (argv == NULL)
		die(NOT_EXECUTABLE, SELF, "%s: %s", tool, strerror(errno));
	argv[0] = (char *)(uintptr_t)file; /* interpreters look for their own files beside it */
	memcpy(argv + 1, arguments, count * sizeof *argv);
	execv(file, argv);
	die(NOT_EXECUTABLE, SELF, "%s: %s: %s", tool, file, strerror(errno));
}

void local_run(const char *called_as, const struct order *order, enum local_reason reason)
{
	const char *begin, *path;
	struct stat status;
	char file[PATH_MAX];

	if (!find_own(called_as, &begin, &path))
		path = getenv("PATH");
	while (next_file(&path, order->tool, file)) {
		if (stat(file, &status) != 0 || !S_ISREG(status.st_mode) || is_self(file) ||
		    access(file, X_OK) != 0)
			continue;
		go_deeper(order->tool, reason == LOCAL_NO_PROXY ? 1 : DEEPEST);
		if (reason == LOCAL_NO_PROXY)
			leave_path(called_as);
		become(file, order->tool, order->arguments);
	}
}

const char *local_workspace(char *buffer)
{
	const char *given = getenv("AIFO_WORKSPACE");

	if (given == NULL || given[0] == '\0')
		given = "/workspace";
	return realpath(given, buffer) != NULL ? buffer : given;
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && strcmp(value, "1") == 0;
}

static bool is_one_of(const char *word, const char *const *words)
{
	for (; *words != NULL; words++) {
		if (strcmp(word, *words) == 0)
			return true;
	}
	return false;
}

/* How an interpreter's options are written. */
struct options {
	const char *const *with_value; /* the next word is theirs */
	const char *const *instead;    /* there is no main program behind them */
	const char *cluster;           /* the same as single letters among others */
};

static const struct options node = {
	.with_value = (const char *const[]){"-r", "--require", "--import", "--loader",
					    "--experimental-loader", "-C", "--conditions",
					    "--env-file", "--title", "--icu-data-dir",
					    "--openssl-config", NULL},
	.instead = (const char *const[]){"-e", "--eval", "-p", "--print", "-pe", "-i",
					 "--interactive", "-v", "--version", "-h", "--help",
					 "--test", "--run", NULL},
	.cluster = "",
};
static const struct options python = {
	.with_value = (const char *const[]){"-W", "-X", "--check-hash-based-pycs", NULL},
	.instead = (const char *const[]){"-V", "--version", "-h", "--help", NULL},
	.cluster = "cm",
};

/* The main program among an interpreter's words; NULL when there is none. */
static const char *main_program(char **words, const struct options *options)
{
	for (; *words != NULL; words++) {
		const char *word = *words;
		if (word[0] != '-')
			return word;
		bool is_cluster = word[1] != '-' && word[1] != '\0';
		if (strcmp(word, "--") == 0)
			return words[1];
		if (word[1] == '\0' || is_one_of(word, options->instead) ||
		    (is_cluster && strpbrk(word, options->cluster) != NULL))
			return NULL;
		if (is_one_of(word, options->with_value) && *++words == NULL)
			return NULL;
	}
	return NULL;
}

bool local_wants(const char *tool, char **arguments)
{
	bool is_node = strcmp(tool, "node") == 0 && is_set("AIFO_SHIM_SMART_NODE");
	bool is_python = (strcmp(tool, "python") == 0 || strcmp(tool, "python3") == 0) &&
			 is_set("AIFO_SHIM_SMART_PYTHON");
	char program[PATH_MAX], buffer[PATH_MAX];

	if (!is_set("AIFO_SHIM_SMART") || !(is_node || is_python))
		return false;
	const char *given = main_program(arguments, is_node ? &node : &python);
	if (given == NULL || realpath(given, program) == NULL)
		return false;
	const char *workspace = local_workspace(buffer);
	size_t length = strlen(workspace);
	bool is_below = strncmp(program, workspace, length) == 0 &&
			(program[length] == '/' || program[length] == '\0');
	return !is_below;
}
