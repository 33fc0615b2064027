#!/bin/sh
# The FIM part of the stand-in: `start MODE` or `stop MODE`; the mode is dispatcher or direct.
# What it does in which order, and the numbers with which it gives up, are the vendor's; the words are ours.
# SLOW is the number of seconds that a policy tool takes longer here.
HOME=/usr/local/qualys/cloud-agent
MODULE=qualys-agent-plugin
SCRIPT_LOG=/var/log/qualys/edr-script.log
SLOW=0
action=$1
mode=$2
# shellcheck source=/dev/null
[ ! -r /etc/qualys/stand-in ] || . /etc/qualys/stand-in

say() { printf '%s %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$*" >>"$SCRIPT_LOG"; }
trim() {
    tail -n 500 "$SCRIPT_LOG" >"$SCRIPT_LOG.short" && cat "$SCRIPT_LOG.short" >"$SCRIPT_LOG"
    rm -f "$SCRIPT_LOG.short"
}
give_up() { # status, why
    say "$2; giving up with $1"
    trim
    exit "$1"
}
has() { which "$1" >/dev/null 2>&1; }

selinux_counts() {
    ! grep -q '[Uu]buntu' /etc/*elease 2>/dev/null || return 1
    { has sestatus && sestatus | grep -q '^SELinux status: *enabled'; } ||
        { has getenforce && getenforce | grep -Eq 'Enforcing|Permissive'; }
}
generation() { auditctl -v | sed -n 's/^auditctl version \([0-9]*\).*/\1/p'; }
plugins() { if [ "$(generation)" -lt 3 ]; then echo /etc/audisp/plugins.d; else echo /etc/audit/plugins.d; fi; }

load_policy() {
    for tool in checkmodule semodule_package semodule restorecon; do
        has "$tool" || give_up 201 "$tool not found: the semodule tools are missing"
    done
    if [ "$(generation)" -lt 3 ]; then domain=audisp_t; else domain=auditd_t; fi
    say "building the policy module $MODULE for $domain"
    (
        cd "$HOME/policy" && sed -i "s/audisp_t\|auditd_t/$domain/g" $MODULE.te &&
            checkmodule -M -m -o $MODULE.mod $MODULE.te &&
            semodule_package -o $MODULE.pp -m $MODULE.mod -f $MODULE.fc &&
            sleep "$SLOW" && semodule -i $MODULE.pp
    ) >/dev/null 2>&1
    semodule -l | grep -q "^$MODULE" || give_up 202 "plugin install failed: $MODULE is not among the policy modules"
    restorecon -R "$HOME/sock" || give_up 203 "restorecon failed on $HOME/sock"
    say 'policy module is loaded'
}

end_edr() {
    pkill -TERM -x qualys-edr || return 0
    for _ in 1 2 3 4 5; do
        pidof qualys-edr >/dev/null || return 0
        sleep 1
    done
    pkill -KILL -x qualys-edr
}
start_edr() {
    "$HOME/bin/qualys-edr" </dev/null >/dev/null 2>&1 &
    say 'start: script complete'
    trim
}

start() {
    say "start, mode $mode"
    has auditctl || give_up 200 'auditctl not found'
    say "auditctl is of audit $(generation)"
    if pidof qualys-edr >/dev/null; then
        say 'qualys-edr runs already: starting it again'
        end_edr
        start_edr
        return
    fi
    [ "$mode" = dispatcher ] || ! pidof auditd >/dev/null || give_up 204 'dispatcher mode is off, but auditd is running'
    [ "$(auditctl -s | awk '$1 == "enabled" { print $2 }')" != 2 ] || give_up 205 'the audit configuration is immutable'
    if [ "$mode" = dispatcher ]; then
        if selinux_counts; then load_policy; else say 'no SELinux part here'; fi
        say "registering the plugin in $(plugins)"
        install -m 0640 /etc/qualys/cloud-agent/edr-plugin.conf "$(plugins)/edr-plugin.conf"
        say 'restarting auditd'
        service auditd restart >/dev/null 2>&1
    fi
    ! auditctl -l | grep -Eq '(never,task|task,never)$' || give_up 206 'a never,task rule is loaded'
    start_edr
}

stop() {
    say "stop, mode $mode"
    end_edr
    if [ "$mode" = dispatcher ] && has auditctl; then
        rm -f "$(plugins)/edr-plugin.conf"
        say 'plugin taken out, restarting auditd'
        service auditd restart >/dev/null 2>&1
        if selinux_counts; then
            sleep "$SLOW"
            semodule -r $MODULE >/dev/null 2>&1
            restorecon -R "$HOME/sock"
        fi
    fi
    say 'stop: script complete'
    trim
}

mkdir -p /var/log/qualys
case $action in
start) start ;;
stop) stop ;;
*) exit 64 ;;
esac
