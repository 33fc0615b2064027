/* Preloaded under the real auditctl and auditd: the audit netlink socket becomes a socket pair with a toy kernel at
 * its other end, and every message that would have gone to the kernel is written down instead.
 *
 * The program becomes a fork server: each request on stdin is a length and a content, which is put into the file
 * that the program reads, and a child then runs main(). The report, one line a message, goes to stdout and ends
 * with "@exit N" or "@signal N". What the program prints to stderr stands among them.
 *
 * A seccomp filter refuses every real netlink socket, so that a call that passes the shim by fails, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPORT 200
#define ACCEPTED 42 /* auditd took its configuration and went on to the kernel */
#define MOST 1024 /* rules */

static int kernels[FD_SETSIZE]; /* the toy kernel's end of a socket that the program believes to be netlink, or 0 */
static const char *input;
static unsigned char *rules[MOST];
static size_t sizes[MOST];
static int count;

static void report(const char *form, ...)
{
	char line[1024];
	va_list list;
	va_start(list, form);
	int size = vsnprintf(line, sizeof(line) - 1, form, list);
	va_end(list);
	if (size > (int)sizeof(line) - 2)
		size = sizeof(line) - 2;
	line[size++] = '\n';
	if (write(REPORT, line, size) != size)
		_exit(99);
}

static void whole(int fd, void *buffer, size_t size)
{
	for (char *at = buffer; size;) {
		ssize_t some = read(fd, at, size);
		if (some <= 0)
			_exit(0);
		at += some;
		size -= some;
	}
}

static void no_real_netlink(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(98);
	if (syscall(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT) >= 0 || errno != EPERM)
		_exit(97);
}

__attribute__((constructor)) static void serve(void)
{
	input = getenv("FIM_INPUT");
	if (!input)
		_exit(96);
	no_real_netlink();
	if (dup2(1, REPORT) < 0 || dup2(REPORT, 2) < 0)
		_exit(95);
	int null = open("/dev/null", O_RDWR);
	if (null >= 0)
		dup2(null, 1);
	else
		close(1);
	for (;;) {
		uint32_t size;
		whole(0, &size, sizeof(size));
		char *content = malloc(size + 1);
		if (!content)
			_exit(94);
		whole(0, content, size);
		int file = open(input, O_WRONLY | O_CREAT | O_TRUNC, 0640);
		if (file < 0 || write(file, content, size) != (ssize_t)size)
			_exit(93);
		close(file);
		free(content);
		pid_t child = fork();
		if (child == 0) {
			return;
		}
		int status;
		if (child < 0 || waitpid(child, &status, 0) != child)
			_exit(92);
		if (WIFSIGNALED(status))
			report("@signal %d", WTERMSIG(status));
		else
			report("@exit %d", WEXITSTATUS(status));
	}
}

int audit_can_control(void) { return 1; }
int audit_can_write(void) { return 1; }
int audit_can_read(void) { return 1; }

int nice(int by) { (void)by; return 0; }

/* a number that is given back may become another file */
int close(int fd)
{
	if (fd >= 0 && fd < FD_SETSIZE && kernels[fd]) {
		syscall(SYS_close, kernels[fd]);
		kernels[fd] = 0;
	}
	return syscall(SYS_close, fd);
}

int socket(int domain, int type, int protocol)
{
	if (domain != AF_NETLINK)
		return syscall(SYS_socket, domain, type, protocol);
	if (protocol != NETLINK_AUDIT || strstr(input, "auditd.conf"))
		_exit(ACCEPTED);
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) || pair[0] >= FD_SETSIZE)
		_exit(91);
	kernels[pair[0]] = pair[1];
	return pair[0];
}

static void answer(int kernel, const struct nlmsghdr *to, int type, const void *data, size_t size)
{
	unsigned char buffer[NLMSG_SPACE(0) + 16384];
	struct nlmsghdr *header = (struct nlmsghdr *)buffer;
	memset(buffer, 0, sizeof(buffer));
	if (size > 16384)
		size = 16384;
	header->nlmsg_len = NLMSG_LENGTH(size);
	header->nlmsg_type = type;
	header->nlmsg_seq = to->nlmsg_seq;
	memcpy(NLMSG_DATA(header), data, size);
	syscall(SYS_sendto, kernel, buffer, header->nlmsg_len, MSG_DONTWAIT, NULL, 0);
}

static uint64_t digest(const unsigned char *data, size_t size)
{
	uint64_t hash = 14695981039346656037u;
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * 1099511628211u;
	return hash;
}

static int add(const unsigned char *data, size_t size)
{
	const struct audit_rule_data *rule = (const void *)data;
	if ((rule->flags & ~AUDIT_FILTER_PREPEND) >= AUDIT_NR_FILTERS)
		return -EINVAL;
	/* the kernel compares the flags, too, of which the one that prepends is not kept: with -A nothing is there yet */
	for (int i = 0; i < count && !(rule->flags & AUDIT_FILTER_PREPEND); i++)
		if (sizes[i] == size && !memcmp(rules[i] + 4, data + 4, size - 4))
			return -EEXIST;
	if (count == MOST)
		return -ENOSPC;
	rules[count] = malloc(size);
	memcpy(rules[count], data, size);
	sizes[count++] = size;
	return 0;
}

static int drop(const unsigned char *data, size_t size)
{
	for (int i = 0; i < count; i++)
		if (sizes[i] == size && !memcmp(rules[i] + 4, data + 4, size - 4)) {
			count--;
			memmove(rules + i, rules + i + 1, (count - i) * sizeof(rules[0]));
			memmove(sizes + i, sizes + i + 1, (count - i) * sizeof(sizes[0]));
			return 0;
		}
	return -ENOENT;
}

static void take(int kernel, const struct nlmsghdr *message)
{
	const unsigned char *data = NLMSG_DATA(message);
	size_t size = message->nlmsg_len - NLMSG_LENGTH(0);
	const struct audit_rule_data *rule = (const void *)data;
	struct nlmsgerr result = {.msg = *message};
	struct audit_status status = {0};
	switch (message->nlmsg_type) {
	case AUDIT_GET:
	case AUDIT_LIST_RULES:
	case AUDIT_GET_FEATURE:
		break;
	case AUDIT_SET:
		memcpy(&status, data, size < sizeof(status) ? size : sizeof(status));
		report("@set %u %u %llx", status.mask, status.enabled, (unsigned long long)digest(data, size));
		break;
	case AUDIT_ADD_RULE:
		result.error = add(data, size);
		report("@%s %u %u %u %llx", result.error ? "refused" : "add", rule->flags, rule->action,
		       rule->field_count, (unsigned long long)digest(data, size));
		break;
	case AUDIT_DEL_RULE:
		result.error = drop(data, size);
		report("@%s %u %u %u %llx", result.error ? "refused" : "delete", rule->flags, rule->action,
		       rule->field_count, (unsigned long long)digest(data, size));
		break;
	default:
		report("@other %u %llx", message->nlmsg_type, (unsigned long long)digest(data, size));
	}
	answer(kernel, message, NLMSG_ERROR, &result, sizeof(result));
	if (message->nlmsg_type == AUDIT_GET) {
		memset(&status, 0, sizeof(status));
		status.enabled = 1; /* never frozen: what stands below the lock is to be seen, too */
		status.failure = 1;
		status.feature_bitmap = AUDIT_FEATURE_BITMAP_ALL;
		answer(kernel, message, AUDIT_GET, &status, sizeof(status));
	} else if (message->nlmsg_type == AUDIT_GET_FEATURE) {
		struct audit_features features = {.vers = 1};
		answer(kernel, message, AUDIT_GET_FEATURE, &features, sizeof(features));
	} else if (message->nlmsg_type == AUDIT_LIST_RULES) {
		for (int i = 0; i < count; i++)
			answer(kernel, message, AUDIT_LIST_RULES, rules[i], sizes[i]);
		answer(kernel, message, NLMSG_DONE, "", 0);
	}
}

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length)
{
	if (!kernels[fd]) {
		if (to && to->sa_family == AF_NETLINK)
			_exit(90);
		return syscall(SYS_sendto, fd, data, size, flags, to, length);
	}
	take(kernels[fd], data);
	return size;
}

ssize_t recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *length)
{
	if (!kernels[fd])
		return syscall(SYS_recvfrom, fd, data, size, flags, from, length);
	ssize_t got = syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
	if (from && length && *length >= sizeof(struct sockaddr_nl)) {
		struct sockaddr_nl address = {.nl_family = AF_NETLINK};
		memcpy(from, &address, sizeof(address));
		*length = sizeof(address);
	}
	return got;
}

/* auditctl waits four seconds for an answer that does not come: here all answers are there at once */
int select(int count, fd_set *reading, fd_set *writing, fd_set *failing, struct timeval *limit)
{
	struct timeval none = {0, 0};
	(void)limit;
	return syscall(SYS_select, count, reading, writing, failing, &none);
}

static void logged(const char *form, va_list list)
{
	char line[512];
	vsnprintf(line, sizeof(line), form, list);
	report("%s", line);
}

void vsyslog(int priority, const char *form, va_list list) { (void)priority; logged(form, list); }

void __vsyslog_chk(int priority, int flag, const char *form, va_list list)
{
	(void)priority;
	(void)flag;
	logged(form, list);
}

void syslog(int priority, const char *form, ...)
{
	va_list list;
	(void)priority;
	va_start(list, form);
	logged(form, list);
	va_end(list);
}

void __syslog_chk(int priority, int flag, const char *form, ...)
{
	va_list list;
	(void)priority;
	(void)flag;
	va_start(list, form);
	logged(form, list);
	va_end(list);
}
