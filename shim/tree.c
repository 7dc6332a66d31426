#include "tree.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"

/* The fields of /proc/PID/stat after the name, which may hold anything, end in ")". */
static bool read_stat(int proc, const char *path, struct process *process)
{
	char text[512];

	int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t length = read_all(fd, text, sizeof text - 1);
	close(fd);
	if (length <= 0)
		return false;
	text[length] = '\0';
	const char *rest = strrchr(text, ')');
	char state;
	int parent;
	if (rest == NULL || sscanf(rest + 1, " %c %d", &state, &parent) != 2)
		return false;
	*process = (struct process){
		.pid = atoi(text),
		.parent = parent,
		.zombie = state == 'Z' || state == 'X',
	};
	return true;
}

static bool read_process(int proc, const char *name, struct process *process)
{
	char path[32];

	if (!isdigit((unsigned char)name[0]) || strlen(name) > 16)
		return false;
	snprintf(path, sizeof path, "%.16s/stat", name);
	return read_stat(proc, path, process);
}

pid_t tree_parent(pid_t pid)
{
	struct process process;
	char path[32];

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	return read_stat(AT_FDCWD, path, &process) ? process.parent : -1;
}

static bool append(struct tree *tree, const struct process *process)
{
	if (tree->count == tree->room) {
		size_t room = tree->room ? tree->room * 2 : 64;
		struct process *list = realloc(tree->list, room * sizeof *list);
		if (list == NULL)
			return false;
		tree->list = list;
		tree->room = room;
	}
	tree->list[tree->count++] = *process;
	return true;
}

static int by_pid(const void *left, const void *right)
{
	pid_t a = ((const struct process *)left)->pid, b = ((const struct process *)right)->pid;

	return (a > b) - (a < b);
}

static void mark(struct tree *tree, pid_t root)
{
	bool more = true;

	while (more) {
		more = false;
		for (size_t i = 0; i < tree->count; i++) {
			struct process *process = &tree->list[i];
			if (process->below || process->pid == root)
				continue;
			struct process key = {.pid = process->parent};
			const struct process *parent =
				bsearch(&key, tree->list, tree->count, sizeof key, by_pid);
			process->below = root == 1 || process->parent == root ||
					 (parent != NULL && parent->below);
			more = more || process->below;
		}
	}
}

void tree_read(struct tree *tree, pid_t root)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	struct process process;

	tree->count = 0;
	if (proc == NULL)
		return;
	while ((entry = readdir(proc)) != NULL) {
		if (read_process(dirfd(proc), entry->d_name, &process) && !append(tree, &process))
			break;
	}
	closedir(proc);
	qsort(tree->list, tree->count, sizeof *tree->list, by_pid);
	mark(tree, root);
	size_t kept = 0;
	for (size_t i = 0; i < tree->count; i++) {
		if (tree->list[i].below)
			tree->list[kept++] = tree->list[i];
	}
	tree->count = kept;
}

void tree_signal(const struct process *process, int signal)
{
	kill(process->pid, signal);
	kill(process->pid, SIGCONT);
}
