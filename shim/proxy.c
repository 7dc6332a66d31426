#include "proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "die.h"
#include "io.h"
#include "shim.h"

static const char UNIX[] = "unix://", HTTP[] = "http://";

const char *setting(const char *name)
{
	static const char *const prefixes[] = {"AIFO_TOOLEEXEC_", "AIFO_TOOLEXEC_"};
	char whole[64];

	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
		snprintf(whole, sizeof whole, "%s%s", prefixes[i], name);
		const char *value = getenv(whole);
		if (value != NULL && value[0] != '\0')
			return value;
	}
	return NULL;
}

/* True for text that can stand in a header field. */
static bool is_visible(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text <= ' ' || *text > '~')
			return false;
	}
	return true;
}

/* "host:port", "[address]:port", each with nothing or the endpoint behind it. */
static bool read_host(const char *text, struct proxy *proxy)
{
	size_t length = strcspn(text, "/");
	const char *path = text + length;

	if (length == 0 || length >= sizeof proxy->host)
		return false;
	memcpy(proxy->host, text, length);
	proxy->host[length] = '\0';
	const char *colon = strrchr(proxy->host, ':');
	bool has_port = colon != NULL && colon > proxy->host && colon[1] != '\0' &&
			strspn(colon + 1, "0123456789") == strlen(colon + 1);
	bool is_endpoint = path[0] == '\0' || strcmp(path, "/") == 0 || strcmp(path, "/exec") == 0;
	return has_port && is_endpoint && is_visible(proxy->host);
}

static void read_url(struct proxy *proxy)
{
	if (strncmp(proxy->url, UNIX, strlen(UNIX)) == 0 && proxy->url[strlen(UNIX)] == '/') {
		proxy->socket = proxy->url + strlen(UNIX);
		strcpy(proxy->host, "localhost");
	} else if (strncmp(proxy->url, HTTP, strlen(HTTP)) != 0 ||
		   !read_host(proxy->url + strlen(HTTP), proxy)) {
		die(REFUSED, SELF,
		    "AIFO_TOOLEEXEC_URL: expected unix:///path or http://host:port/exec, found '%s'",
		    proxy->url);
	}
}

static void read_token_file(const char *path, char *token)
{
	int file = open(path, O_RDONLY | O_NOCTTY);
	ssize_t length = file < 0 ? -1 : read_all(file, token, TOKEN_LIMIT);

	if (length < 0)
		die(REFUSED, SELF, "%s: cannot be read: %s", path, strerror(errno));
	close(file);
	token[length] = '\0';
	token[strcspn(token, "\r\n")] = '\0';
}

bool proxy_find(struct proxy *proxy)
{
	const char *file = setting("TOKEN_FILE"), *token = setting("TOKEN");

	*proxy = (struct proxy){.url = setting("URL")};
	if (proxy->url == NULL || (file == NULL && token == NULL))
		return false;
	read_url(proxy);
	if (file != NULL)
		read_token_file(file, proxy->token);
	else if (strlen(token) <= TOKEN_LIMIT)
		strcpy(proxy->token, token);
	if (proxy->token[0] == '\0' || !is_visible(proxy->token))
		die(REFUSED, SELF, "%s: there is no token in it",
		    file != NULL ? file : "AIFO_TOOLEEXEC_TOKEN");
	return true;
}

static noreturn void unreachable(const struct proxy *proxy, const char *tool, const char *why)
{
	die(LOST, SELF, "%s: cannot reach the tool-exec proxy at %s: %s", tool, proxy->url, why);
}

static int connect_unix(const struct proxy *proxy, const char *tool)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (strlen(proxy->socket) >= sizeof address.sun_path)
		unreachable(proxy, tool, "the path is too long for a socket");
	strcpy(address.sun_path, proxy->socket);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
		unreachable(proxy, tool, strerror(errno));
	return fd;
}

static int connect_tcp(const struct proxy *proxy, const char *tool)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	char host[HOST_LIMIT], *name = host;
	int one = 1;

	strcpy(host, proxy->host);
	char *colon = strrchr(host, ':');
	*colon = '\0';
	if (name[0] == '[' && colon[-1] == ']') {
		name++;
		colon[-1] = '\0';
	}
	int error = getaddrinfo(name, colon + 1, &hints, &found);
	if (error != 0)
		unreachable(proxy, tool, gai_strerror(error));
	errno = ENOENT;
	for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
		int fd = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
		if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) == 0) {
			freeaddrinfo(found);
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
			return fd;
		}
		int reason = errno;
		if (fd >= 0)
			close(fd);
		errno = reason;
	}
	unreachable(proxy, tool, strerror(errno));
}

int proxy_connect(const struct proxy *proxy, const char *tool)
{
	return proxy->socket != NULL ? connect_unix(proxy, tool) : connect_tcp(proxy, tool);
}
