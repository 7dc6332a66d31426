/* The caller's terminal: who is in its foreground, its size, its modes changed and put back. */
#ifndef SCREEN_H
#define SCREEN_H

#include <stdbool.h>
#include <stdint.h>

struct window {
	uint16_t rows, columns;
	bool front;
};

/* True when this process may read the terminal and change its modes. One that is not our
 * controlling terminal is always ours. */
bool screen_in_front(int fd);

/* True when somebody has put it out of line mode, to read single keys there himself. */
bool screen_is_taken(int fd);

/* Another descriptor of a terminal, which never blocks although somebody else may read it as
 * well; the one given when that cannot be had, or it is no terminal. */
int screen_open(int fd);

struct window screen_window(int fd);

/* Lets every key through, if this process is in front. The modes are put back by
 * screen_restore, at exit, and by every signal that can be caught and would end us; not if they
 * were so before, which somebody beside us will put back. */
void screen_make_raw(int fd);
bool screen_is_raw(void);
void screen_restore(void);

/* While we were stopped somebody else may have set the modes. */
void screen_forget(void);

#endif
