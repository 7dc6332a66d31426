#include "workspace.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *workspace;

void workspace_is_at(const char *path)
{
	workspace = path;
}

static bool is_empty(DIR *directory)
{
	const struct dirent *entry = readdir(directory);

	while (entry != NULL && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0))
		entry = readdir(directory);
	return entry == NULL;
}

/* An engine that does not see the project's directory mounts another one, or none. */
static const char *find_problem(void)
{
	DIR *directory = opendir(workspace);

	if (directory == NULL && errno != EACCES)
		return "is missing in the sidecar: the project's directory has not come here";
	bool empty = directory != NULL && is_empty(directory);
	if (directory != NULL)
		closedir(directory);
	if (empty)
		return "is empty in the sidecar: the engine may not see the project's directory";
	if (access(workspace, W_OK) != 0)
		return "is not writable in the sidecar: tools can change nothing there";
	return NULL;
}

void workspace_look(int standard_error)
{
	struct pollfd wanted = {.fd = standard_error, .events = POLLOUT};
	const char *problem = workspace != NULL ? find_problem() : NULL;
	char text[512];

	if (problem == NULL || poll(&wanted, 1, 0) != 1 || !(wanted.revents & POLLOUT))
		return;
	int length = snprintf(text, sizeof text, "aifo: %.300s: %s\n", workspace, problem);
	(void)!write(standard_error, text, (size_t)length);
}
