/* The frames that init and its callers exchange: bytes to values and back, no I/O.
 *
 * aifo_tasks/toolexec/frames.py is the twin; both are held to tests/data/frames.json. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	FRAME_HEADER = 8,
	FRAME_PAYLOAD_LIMIT = 64 * 1024,
	FRAME_CALL_LIMIT = 16 * 1024 * 1024,
};

enum frame_type {
	FRAME_STDIN = 0,
	FRAME_STDOUT = 1,
	FRAME_STDERR = 2,
	FRAME_EXIT = 3,
	FRAME_SIGNAL = 4,
	FRAME_WINDOW = 5,
	FRAME_NOTICE = 6,
	FRAME_STDIN_CLOSED = 7,
	FRAME_CREDIT = 8,
	FRAME_FOREGROUND = 9,
	/* only on init's own socket */
	FRAME_HELLO = 16,
	FRAME_CALL = 17,
	FRAME_WELCOME = 18,
	FRAME_STARTED = 19,
	FRAME_FAILED = 20,
	FRAME_ECHO = 21, /* asks for the descriptors that come along, and brings them back */
	/* only on the relay: of one of the call's streams, its receiver has left; of none, the
	 * sender has left the call */
	FRAME_CLOSED = 22,
	/* from a caller, that several calls will follow one another; to it, that the next may */
	FRAME_READY = 23,
};

/* Beside the streams that are a terminal: the caller is in the background of its own. */
enum { TERMINAL_STREAMS = 7, TERMINAL_BEHIND = 16 };

enum stage { STAGE_EXEC = 0, STAGE_CHDIR = 1, STAGE_DESCRIPTORS = 2, STAGE_MALFORMED = 3 };

struct frame {
	uint8_t type;
	uint32_t call;   /* 24 bits */
	uint32_t length; /* of the payload that follows */
};

/* False for an unknown type and for a payload over the type's limit. */
bool frame_decode(const unsigned char bytes[FRAME_HEADER], struct frame *frame);
void frame_encode(const struct frame *frame, unsigned char bytes[FRAME_HEADER]);

/* What a caller wants started. The strings lie one after another in the payload, each with
 * its NUL: first argc arguments, then envc variables. */
struct call {
	uint16_t rows, columns;
	uint8_t terminal; /* bit n: stream n becomes the pseudo-terminal's slave; and what is below */
	uint32_t argc, envc;
	char *cwd;
	char *strings;
};

/* Beside them: stderr is to say what is wrong with the workspace. */
enum { CALL_JOINED = 8, CALL_LOOKS = 32 };

/* What a relay has to know of a payload that it hands on: which streams become the
 * pseudo-terminal's, and whether CALL_JOINED says that stream 2 is where stream 1 goes, which it
 * takes out. 0 for a payload that init refuses anyway. */
uint8_t call_take_terminal(char *payload, size_t length);

/* Reads a payload in place. False when anything about it is not as it should be. */
bool call_decode(char *payload, size_t length, struct call *call);

/* Stores a pointer to each of the next count strings, and NULL after them; returns where
 * the strings go on. */
char *call_strings(char *strings, uint32_t count, char **pointers);

uint16_t load16(const unsigned char *bytes);
uint32_t load32(const unsigned char *bytes);
void store32(unsigned char *bytes, uint32_t value);

#endif
