/* The relay: for hosts that no descriptor can come from, all calls in one stream of frames. */
#ifndef CARRY_H
#define CARRY_H

/* Runs `aifo-init --relay`: frames on standard input and output until the input ends.
 *
 * A call number is a connection to init, opened by its first frame. The last frame of a call is
 * exit, failed, or closed when it was left or init was lost. Nothing is said to a socket where
 * another process listens. */
int carry(char **arguments);

#endif
