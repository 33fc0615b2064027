/* A stand-in for the vendor's agent: one program under the three names of the real one.
 *
 * qualys-cloud-agent  once a FIM manifest is there, runs its start script; when it is told to end, its stop script
 * qualys-edr          watches WATCHED, connects to the plugin's socket and logs what arrives
 * edr-plugin SOCKET   is started by the dispatcher: serves the socket and passes its standard input on
 */
#include <errno.h>
#include <glob.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOME "/usr/local/qualys/cloud-agent"
#define SOCKET HOME "/sock/audit_disp.sock"
#define SCRIPT HOME "/bin/qualys-edr-start-stop.sh"
#define MANIFESTS HOME "/fim/manifests/*.json"
#define CONF "/etc/qualys/cloud-agent/qualys-cloud-agent.conf"
#define LOG "/var/log/qualys/edr.log"
#define EVENTS "/var/log/qualys/edr-events.log"
#define WATCHED "/etc/fim-watched"
#define HASTY "/etc/qualys/stand-in-hasty"

/* The value of a key of the configuration, in `value`; "" where it is not set. */
static const char *setting(const char *key, char value[64])
{
	char line[256];
	size_t n = strlen(key);
	FILE *f = fopen(CONF, "r");
	value[0] = 0;
	while (f && fgets(line, sizeof line, f))
		if (!strncmp(line, key, n) && line[n] == '=')
			snprintf(value, 64, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
	if (f)
		fclose(f);
	return value;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	strncpy(a.sun_path, path, sizeof a.sun_path - 1);
	return a;
}

/* The socket of the last run still lies there. What comes while nobody is connected is lost. */
static int plugin(const char *path)
{
	struct sockaddr_un a = address(path);
	char buffer[16384];
	ssize_t n;
	struct pollfd on[2] = { { 0, POLLIN, 0 }, { socket(AF_UNIX, SOCK_STREAM, 0), POLLIN, 0 } };
	int edr = -1;
	signal(SIGHUP, SIG_IGN);	/* auditd passes its own on */
	signal(SIGPIPE, SIG_IGN);
	if ((unlink(path) && errno != ENOENT) || bind(on[1].fd, (struct sockaddr *)&a, sizeof a) || listen(on[1].fd, 1))
		return 1;
	while (poll(on, 2, -1) > 0 || errno == EINTR) {
		if (on[1].revents) {
			close(edr);
			edr = accept(on[1].fd, 0, 0);
		}
		if (!on[0].revents)
			continue;
		if ((n = read(0, buffer, sizeof buffer)) <= 0)
			return 0;
		if (edr >= 0 && write(edr, buffer, n) != n) {
			close(edr);
			edr = -1;
		}
	}
	return 1;
}

static void say(const char *path, const char *priority, const char *text)
{
	char when[32];
	struct timespec now;
	FILE *f = fopen(path, "a");
	if (!f)
		exit(1);
	clock_gettime(CLOCK_REALTIME, &now);
	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime(&now.tv_sec));
	fprintf(f, "%s.%03ld %s [%d]:[%s]:%s\n", when, now.tv_nsec / 1000000, tzname[0], getpid(), priority, text);
	fclose(f);
}

_Noreturn static void edr(void)
{
	struct sockaddr_un a = address(SOCKET);
	char line[16384], value[64];
	/* how long the real one reads its manifests before it adds rules is not known; audit 4.2's audit-rules.service,
	 * which is started after auditd, takes away what it finds, and an emulated machine is slow */
	if (access(HASTY, F_OK))
		sleep(5);
	if (system("auditctl -w " WATCHED " -p wa -k stand-in >/dev/null 2>&1"))
		say(LOG, "Error", "the rules were not taken");
	for (;; usleep(200000)) {
		int s = socket(AF_UNIX, SOCK_STREAM, 0);
		if (!strcmp(setting("UseAuditDispatcher", value), "0") || connect(s, (struct sockaddr *)&a, sizeof a)) {
			close(s);
			continue;
		}
		say(LOG, "Information", "connected to the dispatcher's plugin");
		FILE *f = fdopen(s, "r");
		while (fgets(line, sizeof line, f)) {
			line[strcspn(line, "\n")] = 0;
			say(LOG, "Trace", line);
			if (strstr(line, "type=PATH"))
				say(EVENTS, "Information", line);
		}
		fclose(f);
		say(LOG, "Warning", "the dispatcher's plugin is gone");
	}
}

static void script(const char *word)
{
	char value[64];
	const char *mode = strcmp(setting("UseAuditDispatcher", value), "0") ? "dispatcher" : "direct";
	pid_t child = fork();
	if (child == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, 0);
		if (!strcmp(setting("UseSudo", value), "1"))
			execlp("sudo", "sudo", "-n", SCRIPT, word, mode, (char *)0);
		execl(SCRIPT, SCRIPT, word, mode, (char *)0);
		_exit(127);
	}
	while (waitpid(child, 0, 0) < 0 && errno == EINTR)
		;
}

static int main_process(void)
{
	char value[64];
	glob_t found;
	sigset_t end;
	struct timespec second = { 1, 0 };
	struct passwd *user = 0;
	FILE *users = fopen("/etc/passwd", "r");
	setting("User", value);
	while (users && (user = fgetpwent(users)) && strcmp(user->pw_name, value))
		;
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigprocmask(SIG_BLOCK, &end, 0);
	if (value[0] && (!user || setgid(user->pw_gid) || setuid(user->pw_uid)))
		return 1;
	while (glob(MANIFESTS, 0, 0, &found))
		if (sigtimedwait(&end, 0, &second) > 0)
			return 0;
	script("start");
	sigwaitinfo(&end, 0);
	/* systemd tells every process of the unit to end, and looks again until it finds no new one (KillMode=control-group):
	 * a script that begins at once would be among them */
	nanosleep(&second, 0);
	script("stop");
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	if (!strcmp(name, "edr-plugin"))
		return plugin(argc > 1 ? argv[1] : SOCKET);
	if (!strcmp(name, "qualys-edr"))
		edr();
	return main_process();
}
