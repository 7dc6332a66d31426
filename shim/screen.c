#include "screen.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static int terminal = -1; /* whose modes we know */
static volatile sig_atomic_t raw, changed; /* by us */

bool screen_in_front(int fd)
{
	pid_t front = tcgetpgrp(fd);

	return front < 0 || front == getpgrp();
}

bool screen_is_taken(int fd)
{
	struct termios modes;

	return tcgetattr(fd, &modes) == 0 && !(modes.c_lflag & ICANON);
}

int screen_open(int fd)
{
	const char *name = ttyname(fd);
	struct stat given, found;

	int own = name != NULL ? open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC) : -1;
	if (own < 0)
		return fd;
	if (fstat(fd, &given) == 0 && fstat(own, &found) == 0 && given.st_rdev == found.st_rdev)
		return own;
	close(own);
	return fd;
}

struct window screen_window(int fd)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size) != 0)
		size = (struct winsize){.ws_row = 0};
	return (struct window){size.ws_row, size.ws_col, screen_in_front(fd)};
}

/* A shell that is in front by now has put its own modes there. Called in signal handlers. */
void screen_restore(void)
{
	if (changed && screen_in_front(terminal))
		tcsetattr(terminal, TCSADRAIN, &before);
	raw = changed = 0;
}

static void end_orderly(int number)
{
	if (changed && screen_in_front(terminal))
		tcsetattr(terminal, TCSANOW, &before);
	signal(number, SIG_DFL);
	raise(number);
}

/* Those that the relay passes on are not among them. */
static void watch_deadly_signals(void)
{
	static const int deadly[] = {
		SIGABRT, SIGALRM, SIGBUS, SIGFPE, SIGILL,  SIGPROF,
		SIGSEGV, SIGSYS,  SIGTRAP, SIGVTALRM, SIGXCPU, SIGXFSZ,
	};

	for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
		struct sigaction action = {.sa_handler = end_orderly}, found;
		if (sigaction(deadly[i], NULL, &found) == 0 && found.sa_handler == SIG_DFL)
			sigaction(deadly[i], &action, NULL);
	}
}

static struct termios make_raw(struct termios modes)
{
	modes.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | IGNBRK | IGNCR | INLCR | INPCK | ISTRIP | IXON | PARMRK);
	modes.c_oflag &= ~(tcflag_t)OPOST;
	modes.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | ISIG);
	modes.c_cflag = (modes.c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
	modes.c_cc[VMIN] = 1;
	modes.c_cc[VTIME] = 0;
	return modes;
}

static bool are_same(const struct termios *left, const struct termios *right)
{
	return left->c_iflag == right->c_iflag && left->c_oflag == right->c_oflag &&
	       left->c_lflag == right->c_lflag && left->c_cflag == right->c_cflag;
}

void screen_make_raw(int fd)
{
	struct termios found, modes;

	if (raw || !screen_in_front(fd) || tcgetattr(fd, &found) != 0)
		return;
	if (terminal < 0) {
		atexit(screen_restore);
		watch_deadly_signals();
	}
	modes = make_raw(found);
	terminal = fd;
	raw = 1;
	if (are_same(&found, &modes))
		return;
	before = found;
	changed = 1;
	if (tcsetattr(fd, TCSANOW, &modes) != 0)
		raw = 0;
}

bool screen_is_raw(void)
{
	return raw;
}

void screen_forget(void)
{
	raw = 0;
}
