#include "frame.h"

#include <string.h>

enum { CALL_TERMINAL = 4, CALL_HEAD = 13 };

uint16_t load16(const unsigned char *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

uint32_t load32(const unsigned char *bytes)
{
	return (uint32_t)load16(bytes) << 16 | load16(bytes + 2);
}

void store32(unsigned char *bytes, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		bytes[i] = (unsigned char)(value >> (24 - 8 * i));
}

static bool known(uint8_t type)
{
	return type <= FRAME_FOREGROUND || (type >= FRAME_HELLO && type <= FRAME_READY);
}

bool frame_decode(const unsigned char bytes[FRAME_HEADER], struct frame *frame)
{
	frame->type = bytes[0];
	frame->call = load32(bytes) & 0xffffff;
	frame->length = load32(bytes + 4);
	uint32_t limit = frame->type == FRAME_CALL ? FRAME_CALL_LIMIT : FRAME_PAYLOAD_LIMIT;
	return known(frame->type) && frame->length <= limit;
}

void frame_encode(const struct frame *frame, unsigned char bytes[FRAME_HEADER])
{
	store32(bytes, (uint32_t)frame->type << 24 | (frame->call & 0xffffff));
	store32(bytes + 4, frame->length);
}

uint8_t call_take_terminal(char *payload, size_t length)
{
	if (length <= CALL_HEAD)
		return 0;
	uint8_t terminal = (uint8_t)payload[CALL_TERMINAL];
	payload[CALL_TERMINAL] = (char)(terminal & ~CALL_JOINED);
	return terminal;
}

static size_t count_strings(const char *bytes, size_t length)
{
	size_t count = 0;

	for (size_t i = 0; i < length; i++)
		count += bytes[i] == '\0';
	return count;
}

/* True when each of count strings is a name, '=' and a value. */
static bool are_variables(const char *string, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const char *equals = strchr(string, '=');
		if (equals == NULL || equals == string)
			return false;
		string = equals + strlen(equals) + 1;
	}
	return true;
}

static bool is_terminal(uint8_t streams)
{
	streams &= (uint8_t)~CALL_LOOKS;
	return !(streams & ~(TERMINAL_STREAMS | TERMINAL_BEHIND)) && streams != TERMINAL_BEHIND;
}

bool call_decode(char *payload, size_t length, struct call *call)
{
	const unsigned char *head = (const unsigned char *)payload;

	if (length <= CALL_HEAD || payload[length - 1] != '\0')
		return false;
	call->rows = load16(head);
	call->columns = load16(head + 2);
	call->terminal = head[CALL_TERMINAL];
	call->argc = load32(head + 5);
	call->envc = load32(head + 9);
	call->cwd = payload + CALL_HEAD;
	if (!is_terminal(call->terminal) || call->argc == 0 || call->cwd[0] != '/')
		return false;
	uint64_t expected = (uint64_t)call->argc + call->envc + 1;
	if (count_strings(call->cwd, length - CALL_HEAD) != expected)
		return false;
	call->strings = call->cwd + strlen(call->cwd) + 1;
	const char *variables = call->strings;
	for (uint32_t i = 0; i < call->argc; i++)
		variables += strlen(variables) + 1;
	return are_variables(variables, call->envc);
}

char *call_strings(char *strings, uint32_t count, char **pointers)
{
	for (uint32_t i = 0; i < count; i++) {
		pointers[i] = strings;
		strings += strlen(strings) + 1;
	}
	pointers[count] = NULL;
	return strings;
}
