"""All that is the vendor's: paths, names, keys, processes, and the exit causes of the agent's script.

Nothing else outside of this room knows them, so a second vendor would be a second room. What is said here is read off
the agent 6.1.2: newer ones may differ, so what is observed always counts more than a name.
"""

# the page of prerequisites, which the docstrings cite as "Vendor, prerequisite 5", and what it says of scanners
PAGE = "https://docs.qualys.com/en/fim/latest/configuration/issues_for_fim_on_linux.htm"
PAGE_ON_EXCEPTIONS = "for CIS Level 2 Profiles, exceptions can be made"
ROOT = "/usr/local/qualys/cloud-agent"
SERVICE = "qualys-cloud-agent"
PROGRAM = f"{ROOT}/bin/{SERVICE}"
EDR = "qualys-edr"
PLUGIN = "edr-plugin"
PLUGIN_PROGRAM = f"{ROOT}/bin/{PLUGIN}"
SOCKET_FOLDER = f"{ROOT}/sock"
SOCKET = f"{SOCKET_FOLDER}/audit_disp.sock"
MANIFESTS = f"{ROOT}/fim/manifests/*.json"
MODULE = "qualys-agent-plugin"  # its SELinux module
# by audit generation: the script copies it there, wherever plugin_dir points
PLUGIN_FILES = {2: "/etc/audisp/plugins.d/edr-plugin.conf", 3: "/etc/audit/plugins.d/edr-plugin.conf"}
OLD = "fimc"  # what agents before 4.1 had in the place of qualys-edr
SCRIPT = "qualys-edr-start-stop.sh"  # run by the main process, for the start and for the stop of FIM
TOOLS = ("checkmodule", "semodule_package", "semodule", "restorecon")  # it builds its SELinux module with them
SEMODULE = "semodule"
CONF = "/etc/qualys/cloud-agent/qualys-cloud-agent.conf"
DISPATCHER_KEY = "UseAuditDispatcher"
LOG_KEY = "LogFileDir"
IDENTITY_KEY = "HostIdSearchDir"
KEYS = (DISPATCHER_KEY, LOG_KEY, IDENTITY_KEY)  # the only ones that are ever kept; the others hold ids and secrets
USE_DISPATCHER = f"qualys-cloud-agent.sh {DISPATCHER_KEY}=1"  # the vendor's way to set it; it restarts the agent
LOG_FOLDER = "/var/log/qualys"
LOG, EVENTS, SCRIPT_LOG = "edr.log", "edr-events.log", "edr-script.log"
IDENTITY = "qualys/hostid"  # below HostIdSearchDir, /etc unless set
# with which exit status its script gives up, what that means, and which of our requirements it belongs to
CAUSES = {
    200: ("auditctl was not found", "packages"),
    201: ("a tool to build an SELinux module was not found", "packages"),
    202: (f"its SELinux module {MODULE} could not be loaded", "policy"),
    203: ("the label of its socket folder could not be restored", "policy"),
    204: (f"auditd runs, and {DISPATCHER_KEY} is 0", "auditd"),
    205: ("the kernel's audit rules are frozen (enabled 2)", "rules"),
    206: ("the rule never,task silences every new process", "rules"),
}
REMEDIES = {
    200: "which auditctl has to find it: install which and audit",
    201: "which has to find checkmodule, semodule_package, semodule and restorecon: install them, and which",
    202: "see what semodule says of it; no other module may declare its type, and no other semodule be at work",
    203: f"run restorecon -R {SOCKET_FOLDER}, and see what it says",
}
TAIL = 65536  # bytes of a log's end that are ever read
