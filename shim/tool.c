#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workspace.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

static const char DEFAULT_PATH[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
enum { STRINGS_LIMIT = 1 << 20 }; /* the kernel takes fewer */
enum { POINTERS = 1024 };         /* as many as most calls need */

extern char **environ;

static char *pointers[POINTERS];

/* What the child needs, made before the fork. argv has a free place before its first. */
struct plan {
	const char *cwd;
	char **pointers; /* to all strings */
	char **argv, **environment;
	int streams[STREAMS];
	int slave; /* -1 without a terminal */
	bool behind;
	pid_t parent;
	struct failure *failure;
};

static bool is_stream(int fd)
{
	struct stat status;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_PATH) || fstat(fd, &status) != 0)
		return false;
	return !S_ISDIR(status.st_mode) && !(S_ISCHR(status.st_mode) && isatty(fd));
}

bool tool_may_have(const struct passed *passed, const struct call *call)
{
	size_t wanted = 0;

	for (int n = 0; n < STREAMS; n++)
		wanted += !(call->terminal >> n & 1);
	if (passed->bad || passed->count != wanted)
		return false;
	for (size_t i = 0; i < passed->count; i++) {
		if (!is_stream(passed->fd[i]))
			return false;
	}
	return true;
}

static bool same_name(const char *left, const char *right)
{
	size_t length = strcspn(left, "=");

	return length == strcspn(right, "=") && strncmp(left, right, length) == 0;
}

/* The call's variables, and those of our own that it does not set. */
static void fill_environment(char **variables, uint32_t given, char *strings)
{
	call_strings(strings, given, variables);
	size_t count = given;
	for (char **own = environ; *own != NULL; own++) {
		size_t i = 0;
		while (i < given && !same_name(*own, variables[i]))
			i++;
		if (i == given)
			variables[count++] = *own;
	}
	variables[count] = NULL;
}

static bool make_strings(const struct call *call, struct plan *plan)
{
	size_t own = 0;

	while (environ[own] != NULL)
		own++;
	if ((uint64_t)call->argc + call->envc > STRINGS_LIMIT) {
		errno = E2BIG;
		return false;
	}
	size_t count = (size_t)call->argc + call->envc + own + 3;
	plan->pointers = count <= POINTERS ? pointers : calloc(count, sizeof *pointers);
	if (plan->pointers == NULL)
		return false;
	plan->argv = plan->pointers + 1;
	plan->environment = plan->argv + call->argc + 1;
	char *variables = call_strings(call->strings, call->argc, plan->argv);
	fill_environment(plan->environment, call->envc, variables);
	return true;
}

/* The terminal's session is ours. A tool that led it would be alone there, and the
 * kernel lets no key stop such a group, nor itself. */
static bool own_terminal(int slave)
{
	return setsid() >= 0 && ioctl(slave, TIOCSCTTY, 0) == 0;
}

static bool make_terminal(const struct call *call, int *master, int *slave)
{
	struct winsize size = {.ws_row = call->rows, .ws_col = call->columns};
	int lock = 0;

	*master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*master < 0 || ioctl(*master, TIOCSPTLCK, &lock) != 0)
		return false;
	*slave = ioctl(*master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return *slave >= 0 && ioctl(*master, TIOCSWINSZ, &size) == 0 && own_terminal(*slave);
}

static const char *find_path(char **environment)
{
	for (; *environment != NULL; environment++) {
		if (strncmp(*environment, "PATH=", 5) == 0)
			return *environment + 5;
	}
	return DEFAULT_PATH;
}

/* Like a shell: a text file without an interpreter line is the shell's own. */
static void execute(const char *file, struct plan *plan)
{
	execve(file, plan->argv, plan->environment);
	if (errno != ENOEXEC)
		return;
	char *name = plan->argv[0];
	plan->argv[-1] = (char[]){"sh"};
	plan->argv[0] = (char *)(uintptr_t)file;
	execve("/bin/sh", plan->argv - 1, plan->environment);
	plan->argv[0] = name;
	errno = ENOEXEC;
}

/* Tries the directories of PATH in order; an empty one is the working directory. What is
 * there but must not be executed is remembered for the case that nothing else is found. */
static void search(struct plan *plan)
{
	const char *name = plan->argv[0], *path = find_path(plan->environment);
	char file[4096];
	int found = ENOENT;

	for (;;) {
		size_t length = strcspn(path, ":");
		if (length + strlen(name) + 2 <= sizeof file) {
			memcpy(file, path, length);
			file[length] = '/';
			strcpy(file + length + (length > 0), name);
			if (access(file, F_OK) == 0) /* a tenth of what it takes to try */
				execute(file, plan);
			if (errno == EACCES)
				found = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return;
		}
		if (path[length] == '\0')
			break;
		path += length + 1;
	}
	errno = found;
}

static int fail(const struct plan *plan, uint8_t stage)
{
	*plan->failure = (struct failure){.stage = stage, .error = errno};
	return 127;
}

static bool join_session(const struct plan *plan)
{
	pid_t self = getpid();

	if (plan->slave < 0)
		return setsid() >= 0;
	return setpgid(0, 0) == 0 && (plan->behind || ioctl(plan->slave, TIOCSPGRP, &self) == 0);
}

/* The child's half. Everything but the streams is close-on-exec already, and every signal
 * has its default action: init saw to both when it started. */
static int become(void *argument)
{
	static const unsigned long nothing[16 / sizeof(long)];
	struct plan *plan = argument;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != plan->parent)
		return 127;
	if (!join_session(plan))
		return fail(plan, STAGE_DESCRIPTORS);
	for (int n = 0; n < STREAMS; n++) {
		if (dup2(plan->streams[n], n) < 0)
			return fail(plan, STAGE_DESCRIPTORS);
	}
	if (chdir(plan->cwd) != 0)
		return fail(plan, STAGE_CHDIR);
	/* the library's own function leaves out the signals it uses itself */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, nothing, NULL, 8);
	if (plan->argv[0][0] == '\0')
		errno = ENOENT;
	else if (strchr(plan->argv[0], '/') != NULL)
		execute(plan->argv[0], plan);
	else
		search(plan);
	return fail(plan, STAGE_EXEC);
}

/* The child borrows our memory, and we sleep, until it has become the program or left the
 * failure in the plan: no page is copied, and nothing needs to be told through a pipe. */
static bool launch(struct plan *plan, struct tool *tool, struct failure *failure)
{
	static _Alignas(16) char stack[64 * 1024]; /* a sanitizer would find its marks on ours */

	plan->parent = getpid();
	plan->failure = failure;
	failure->error = 0;
	tool->leader = clone(become, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, plan);
	if (tool->leader < 0)
		return false;
	if (failure->error != 0)
		waitpid(tool->leader, NULL, 0);
	return failure->error == 0;
}

bool tool_start(const struct call *call, const struct passed *passed, struct tool *tool,
		struct failure *failure)
{
	struct plan plan = {.cwd = call->cwd, .slave = -1, .behind = call->terminal & TERMINAL_BEHIND};
	size_t next = 0;

	tool->master = -1;
	if ((call->terminal & TERMINAL_STREAMS) && !make_terminal(call, &tool->master, &plan.slave)) {
		*failure = (struct failure){.stage = STAGE_DESCRIPTORS, .error = errno};
		return false;
	}
	for (int n = 0; n < STREAMS; n++)
		plan.streams[n] = call->terminal >> n & 1 ? plan.slave : passed->fd[next++];
	*failure = (struct failure){.stage = STAGE_EXEC};
	if (!make_strings(call, &plan)) {
		failure->error = errno;
		return false;
	}
	if (call->terminal & CALL_LOOKS)
		workspace_look(plan.streams[2]);
	bool started = launch(&plan, tool, failure);
	if (!started && failure->error == 0)
		failure->error = errno;
	if (plan.pointers != pointers)
		free(plan.pointers);
	tool->slave = plan.slave;
	for (size_t i = 0; i < passed->count; i++)
		close(passed->fd[i]);
	return started;
}
