#include "http.h"

#include <string.h>
#include <strings.h>

static const char DIGITS[] = "0123456789ABCDEF";

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
	return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_in(char c, const char *set)
{
	return c != '\0' && strchr(set, c) != NULL;
}

size_t form_encode(const char *bytes, size_t length, char *out)
{
	size_t made = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)bytes[i];
		bool plain = is_alphanumeric(bytes[i]) || is_in(bytes[i], "-._~");
		if (out != NULL && plain)
			out[made] = bytes[i];
		if (out != NULL && !plain)
			memcpy(out + made, (char[]){'%', DIGITS[byte >> 4], DIGITS[byte & 15]}, 3);
		made += plain ? 1 : 3;
	}
	return made;
}

static int hexadecimal(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place; false for a percent sign without two digits. */
static bool decode(char *text, size_t *length)
{
	size_t made = 0;

	for (size_t i = 0; i < *length; i++) {
		char c = text[i];
		if (c == '%') {
			if (*length - i < 3)
				return false;
			int high = hexadecimal(text[i + 1]), low = hexadecimal(text[i + 2]);
			if (high < 0 || low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		} else if (c == '+') {
			c = ' ';
		}
		text[made++] = c;
	}
	*length = made;
	return true;
}

bool form_next(char **form, size_t *length, struct form_field *field)
{
	while (*length > 0 && **form == '&') {
		++*form;
		--*length;
	}
	if (*length == 0)
		return false;
	char *end = memchr(*form, '&', *length);
	size_t whole = end != NULL ? (size_t)(end - *form) : *length;
	char *equals = memchr(*form, '=', whole);
	field->name = *form;
	field->name_length = equals != NULL ? (size_t)(equals - *form) : whole;
	field->value = equals != NULL ? equals + 1 : *form + whole;
	field->value_length = whole - field->name_length - (equals != NULL);
	if (!decode(field->name, &field->name_length) || !decode(field->value, &field->value_length))
		return false;
	*form += whole;
	*length -= whole;
	return true;
}

/* A whole decimal number up to a limit; -1 for anything else. */
static int64_t number(const char *text, size_t length, int64_t limit)
{
	int64_t value = 0;

	for (size_t i = 0; i < length; i++) {
		if (!is_digit(text[i]) || value > limit / 10)
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return length == 0 || value > limit ? -1 : value;
}

static bool set_exec_id(struct http_head *head, const char *value, size_t length)
{
	if (length == 0 || length > EXEC_ID_LIMIT || value[0] == '.' || head->exec_id[0] != '\0')
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!is_alphanumeric(value[i]) && !is_in(value[i], "._-"))
			return false;
	}
	memcpy(head->exec_id, value, length);
	head->exec_id[length] = '\0';
	return true;
}

static bool is_name(const char *name, size_t length, const char *wanted)
{
	return length == strlen(wanted) && strncasecmp(name, wanted, length) == 0;
}

/* Takes what matters of one field; false when it is there twice or has no meaning. */
static bool set(struct http_head *head, const char *name, size_t name_length, const char *value,
		size_t length)
{
	if (is_name(name, name_length, "X-Exec-Id"))
		return set_exec_id(head, value, length);
	if (is_name(name, name_length, "X-Exit-Code")) {
		bool first = head->exit_code < 0;
		head->exit_code = (int)number(value, length, 255);
		return first && head->exit_code >= 0;
	}
	if (is_name(name, name_length, "Content-Length")) {
		bool first = head->content_length < 0;
		head->content_length = number(value, length, INT64_MAX / 16);
		return first && head->content_length >= 0;
	}
	if (is_name(name, name_length, "Transfer-Encoding")) {
		bool first = !head->chunked;
		head->chunked = is_name(value, length, "chunked");
		return first && head->chunked;
	}
	return true;
}

/* One line "name: value"; a line that goes on an earlier one begins with white space. */
static bool read_field(struct http_head *head, const char *line, size_t length)
{
	size_t name = 0;

	while (name < length &&
	       (is_alphanumeric(line[name]) || is_in(line[name], "!#$%&'*+-.^_`|~")))
		name++;
	if (name == 0 || name == length || line[name] != ':')
		return false;
	const char *value = line + name + 1;
	size_t left = length - name - 1;
	for (size_t i = 0; i < left; i++) {
		unsigned char byte = (unsigned char)value[i];
		if ((byte < ' ' && byte != '\t') || byte == 0x7f)
			return false;
	}
	while (left > 0 && is_in(value[0], " \t")) {
		value++;
		left--;
	}
	while (left > 0 && is_in(value[left - 1], " \t"))
		left--;
	return set(head, line, name, value, left);
}

enum { NO_END = -2 };

/* The length of the line at the front without its CRLF; HTTP_BAD for a bare LF. */
static long line_length(const char *bytes, size_t length)
{
	const char *end = memchr(bytes, '\n', length);

	if (end == NULL)
		return NO_END;
	return end > bytes && end[-1] == '\r' ? (long)(end - bytes - 1) : HTTP_BAD;
}

static long unfinished(size_t length)
{
	return length < HTTP_HEAD_LIMIT ? HTTP_MORE : HTTP_BAD;
}

static long read_fields(const char *bytes, size_t length, size_t position, struct http_head *head)
{
	for (;;) {
		long line = line_length(bytes + position, length - position);
		if (line == NO_END)
			return unfinished(length);
		if (line == HTTP_BAD || position + (size_t)line + 2 > HTTP_HEAD_LIMIT)
			return HTTP_BAD;
		const char *text = bytes + position;
		position += (size_t)line + 2;
		if (line == 0)
			return (long)position;
		if (!read_field(head, text, (size_t)line))
			return HTTP_BAD;
	}
}

long http_trailer(const char *bytes, size_t length, struct http_head *head)
{
	return read_fields(bytes, length, 0, head);
}

long http_head(const char *bytes, size_t length, struct http_head *head)
{
	*head = (struct http_head){.exit_code = -1, .content_length = -1};
	long line = line_length(bytes, length);
	if (line == NO_END)
		return unfinished(length);
	bool has_reason = line > 12 && bytes[12] == ' ';
	if (line < 12 || (line > 12 && !has_reason) || strncmp(bytes, "HTTP/1.", 7) != 0 ||
	    !is_in(bytes[7], "01") || bytes[8] != ' ')
		return HTTP_BAD;
	head->status = (int)number(bytes + 9, 3, 599);
	if (head->status < 100)
		return HTTP_BAD;
	long size = read_fields(bytes, length, (size_t)line + 2, head);
	return size > 0 && head->chunked && head->content_length >= 0 ? HTTP_BAD : size;
}
