/* A stand-in for the vendor's agent: one program under the three names of the real one.
 *
 * qualys-cloud-agent  registers edr-plugin with the audit dispatcher and keeps qualys-edr running
 * qualys-edr          listens on the socket and appends to edr.log what arrives
 * edr-plugin SOCKET   is started by the dispatcher: copies its standard input to the socket
 *
 * The plugin waits for an agent that is not up yet, as at boot, and connects anew when the agent was restarted;
 * it ends when it may not connect. It outlives the SIGHUP by which auditd passes on its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOME "/usr/local/qualys/cloud-agent"
#define SOCKET HOME "/sock/audit_disp.sock"
#define PLUGIN HOME "/bin/edr-plugin"
#define PLUGINS "/etc/audit/plugins.d"
#define REGISTRATION PLUGINS "/edr-standin.conf"

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	return a;
}

static int copy(int from, int to)
{
	char buffer[16384];
	ssize_t n;
	while ((n = read(from, buffer, sizeof buffer)) > 0)
		if (write(to, buffer, n) != n)
			return 1;
	return 0;
}

static int connected(const char *path)
{
	struct sockaddr_un a = address(path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	while (s >= 0 && connect(s, (struct sockaddr *)&a, sizeof a)) {
		if (errno != ENOENT && errno != ECONNREFUSED)
			return -1;
		usleep(200000);
	}
	return s;
}

static int plugin(const char *path)
{
	char buffer[16384];
	ssize_t n;
	int s = connected(path);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	while (s >= 0 && (n = read(0, buffer, sizeof buffer)) > 0)
		while (s >= 0 && write(s, buffer, n) != n) {
			close(s);
			s = connected(path);
		}
	return s < 0;
}

static int edr(void)
{
	struct sockaddr_un a = address(SOCKET);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	mkdir("/var/log/qualys", 0755);
	if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 4))
		return 1;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int c = accept(s, 0, 0);
		if (c >= 0 && fork() == 0) {
			int log = open("/var/log/qualys/edr.log", O_WRONLY | O_CREAT | O_APPEND, 0600);
			close(s);
			_exit(log < 0 ? 1 : copy(c, log));
		}
		close(c);
	}
}

static int main_process(void)
{
	if (access(PLUGINS, F_OK) == 0 && access(REGISTRATION, F_OK) != 0) {
		FILE *f = fopen(REGISTRATION, "w");
		if (!f)
			return 1;
		fputs("active = yes\ndirection = out\npath = " PLUGIN "\ntype = always\nargs = " SOCKET
		      "\nformat = string\n", f);
		fclose(f);
		chmod(REGISTRATION, 0640);
	}
	for (;;) {
		unlink(SOCKET);
		pid_t child = fork();
		if (child == 0) {
			execl(HOME "/bin/qualys-edr", "qualys-edr", (char *)0);
			_exit(1);
		}
		for (int i = 0; i < 100 && access(SOCKET, F_OK) != 0; i++)
			usleep(50000);
		if (access(REGISTRATION, F_OK) == 0) {	/* the daemon looks at its plugins again */
			FILE *f = fopen("/run/auditd.pid", "r");
			int pid = 0;
			if (f && fscanf(f, "%d", &pid) == 1 && pid > 1)
				kill(pid, SIGHUP);
			if (f)
				fclose(f);
		}
		waitpid(child, 0, 0);
		sleep(1);
	}
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	if (!strcmp(name, "edr-plugin"))
		return plugin(argc > 1 ? argv[1] : SOCKET);
	if (!strcmp(name, "qualys-edr"))
		return edr();
	return main_process();
}
