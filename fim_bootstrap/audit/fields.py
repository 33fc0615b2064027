"""The fields of an audit rule as auditctl reads them: -F, -C, and what -w, -p and -k stand for (libaudit.c).

What is refused here every release refuses (measured with audit 3.0 to 4.2.1; 2.x refuses more). Whether a user, a
group, a record type or a machine is known is for auditctl to say. `meaning` is what the kernel is told: there a rule
is the same as another however the two are spelled.
"""

from __future__ import annotations

import errno
import functools
import re
from collections.abc import Mapping
from typing import NamedTuple, Optional, Union

EXIT_ONLY = frozenset((
    "ppid", "obj_user", "obj_role", "obj_type", "obj_lev_low", "obj_lev_high", "devmajor", "devminor", "inode", "exit",
    "success", "path", "dir", "filetype",
))  # fmt: skip
LISTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(EXIT_ONLY, ("exit",)), "perm": ("exit", "exclude"), "msgtype": ("exclude", "user"),
    "sessionid": ("exit", "exclude", "user"), "fstype": ("filesystem",),
}  # fmt: skip
USERS = frozenset(("auid", "uid", "euid", "suid", "fsuid", "obj_uid"))
GROUPS = frozenset(("gid", "egid", "sgid", "fsgid", "obj_gid"))
ARGUMENTS = frozenset(("a0", "a1", "a2", "a3"))
NUMBERS = frozenset(("pid", "ppid", "pers", "devmajor", "devminor", "inode", "success", "field_compare"))
ANY_TEXT = frozenset(("subj_user", "subj_role", "subj_type", "subj_sen", "subj_clr", "saddr_fam", "arch", "exe", "key"))
KNOWN = EXIT_ONLY | {*LISTS} | USERS | GROUPS | ARGUMENTS | NUMBERS | ANY_TEXT
ALIASES = {"loginuid": "auid"}
EQUAL_ALONE = frozenset(("perm",))
NO_ORDER = frozenset(("arch", "inode", "exe", "fstype"))
FILE_TYPES = frozenset(("file", "dir", "socket", "link", "character", "block", "fifo"))
ERRORS: Mapping[str, int] = {**{name: number for name, number in vars(errno).items() if isinstance(number, int)},
                             "EHWPOISON": 133}  # fmt: skip
ALIAS_ERRORS = frozenset(("ENOTSUP",))  # the C library's, which auditctl does not know
KEYED = frozenset(("path", "dir", "exe", "perm", "fstype"))  # fields of which a rule may have a key
LONGEST_KEY = 256  # AUDIT_MAX_KEY_LEN; the keys of a rule together
LONGEST_PATH, LONGEST_WATCH = 4096, 4094  # of -F path and the like (PATH_MAX), and of -w
SYSCALLS = 2048  # AUDIT_BITMASK_SIZE, in bits
MASK, UNSET = 2**32 - 1, 2**32 - 1
# by number, as runs of those that follow one another (linux/audit.h, audit-records.h)
RECORD_RUNS = """
1005 USER LOGIN
1100 USER_AUTH USER_ACCT USER_MGMT CRED_ACQ CRED_DISP USER_START USER_END USER_AVC USER_CHAUTHTOK USER_ERR CRED_REFR
 USYS_CONFIG USER_LOGIN USER_LOGOUT ADD_USER DEL_USER ADD_GROUP DEL_GROUP DAC_CHECK CHGRP_ID TEST TRUSTED_APP
 USER_SELINUX_ERR USER_CMD USER_TTY CHUSER_ID GRP_AUTH SYSTEM_BOOT SYSTEM_SHUTDOWN SYSTEM_RUNLEVEL SERVICE_START
 SERVICE_STOP GRP_MGMT GRP_CHAUTHTOK MAC_CHECK ACCT_LOCK ACCT_UNLOCK USER_DEVICE SOFTWARE_UPDATE
1200 DAEMON_START DAEMON_END DAEMON_ABORT DAEMON_CONFIG 1205 DAEMON_ROTATE DAEMON_RESUME DAEMON_ACCEPT DAEMON_CLOSE
 DAEMON_ERR
1300 SYSCALL 1302 PATH IPC SOCKETCALL CONFIG_CHANGE SOCKADDR CWD 1309 EXECVE 1311 IPC_SET_PERM MQ_OPEN MQ_SENDRECV
 MQ_NOTIFY MQ_GETSETATTR KERNEL_OTHER FD_PAIR OBJ_PID TTY EOE BPRM_FCAPS CAPSET MMAP NETFILTER_PKT NETFILTER_CFG
 SECCOMP PROCTITLE FEATURE_CHANGE 1330 KERN_MODULE FANOTIFY TIME_INJOFFSET TIME_ADJNTPVAL BPF EVENT_LISTENER URINGOP
 OPENAT2 DM_CTRL DM_EVENT
1400 AVC SELINUX_ERR AVC_PATH MAC_POLICY_LOAD MAC_STATUS MAC_CONFIG_CHANGE MAC_UNLBL_ALLOW MAC_CIPSOV4_ADD
 MAC_CIPSOV4_DEL MAC_MAP_ADD MAC_MAP_DEL MAC_IPSEC_ADDSA MAC_IPSEC_DELSA MAC_IPSEC_ADDSPD MAC_IPSEC_DELSPD
 MAC_IPSEC_EVENT MAC_UNLBL_STCADD MAC_UNLBL_STCDEL MAC_CALIPSO_ADD MAC_CALIPSO_DEL
1500 APPARMOR APPARMOR_AUDIT APPARMOR_ALLOWED APPARMOR_DENIED APPARMOR_HINT APPARMOR_STATUS APPARMOR_ERROR
 APPARMOR_KILL
1700 ANOM_PROMISCUOUS ANOM_ABEND ANOM_LINK ANOM_CREAT
1800 INTEGRITY_DATA INTEGRITY_METADATA INTEGRITY_STATUS INTEGRITY_HASH INTEGRITY_PCR INTEGRITY_RULE
 INTEGRITY_EVM_XATTR INTEGRITY_POLICY_RULE
2000 KERNEL
2100 ANOM_LOGIN_FAILURES ANOM_LOGIN_TIME ANOM_LOGIN_SESSIONS ANOM_LOGIN_ACCT ANOM_LOGIN_LOCATION ANOM_MAX_DAC
 ANOM_MAX_MAC ANOM_AMTU_FAIL ANOM_RBAC_FAIL ANOM_RBAC_INTEGRITY_FAIL ANOM_CRYPTO_FAIL ANOM_ACCESS_FS ANOM_EXEC
 ANOM_MK_EXEC ANOM_ADD_ACCT ANOM_DEL_ACCT ANOM_MOD_ACCT ANOM_ROOT_TRANS ANOM_LOGIN_SERVICE ANOM_LOGIN_ROOT
 ANOM_ORIGIN_FAILURES ANOM_SESSION
2200 RESP_ANOMALY RESP_ALERT RESP_KILL_PROC RESP_TERM_ACCESS RESP_ACCT_REMOTE RESP_ACCT_LOCK_TIMED
 RESP_ACCT_UNLOCK_TIMED RESP_ACCT_LOCK RESP_TERM_LOCK RESP_SEBOOL RESP_EXEC RESP_SINGLE RESP_HALT RESP_ORIGIN_BLOCK
 RESP_ORIGIN_BLOCK_TIMED RESP_ORIGIN_UNBLOCK_TIMED
2300 USER_ROLE_CHANGE ROLE_ASSIGN ROLE_REMOVE LABEL_OVERRIDE LABEL_LEVEL_CHANGE USER_LABELED_EXPORT
 USER_UNLABELED_EXPORT DEV_ALLOC DEV_DEALLOC FS_RELABEL USER_MAC_POLICY_LOAD ROLE_MODIFY USER_MAC_CONFIG_CHANGE
 USER_MAC_STATUS
2400 CRYPTO_TEST_USER CRYPTO_PARAM_CHANGE_USER CRYPTO_LOGIN CRYPTO_LOGOUT CRYPTO_KEY_USER CRYPTO_FAILURE_USER
 CRYPTO_REPLAY_USER CRYPTO_SESSION CRYPTO_IKE_SA CRYPTO_IPSEC_SA
2500 VIRT_CONTROL VIRT_RESOURCE VIRT_MACHINE_ID VIRT_INTEGRITY_CHECK VIRT_CREATE VIRT_DESTROY VIRT_MIGRATE_IN
 VIRT_MIGRATE_OUT
"""
Value = Union[int, str]
Meaning = tuple[object, ...]


class Field(NamedTuple):
    """One -F or -C: the name in lower case, and as libaudit calls it; no operator, no value: ''."""

    name: str
    sign: str
    value: str


@functools.lru_cache(maxsize=1024)
def field_of(text: str) -> Field:
    """A field as it is written behind -F or -C."""
    found = re.match(r"([^=!<>&]*)(!=|[<>&]=|[=<>&])(.*)", text, re.DOTALL)
    name, sign, value = found.groups() if found else (text, "", "")
    return Field(ALIASES.get(name.lower(), name.lower()), sign, value)


def fault(kind: str, field: Field) -> str:
    """What is certainly wrong with a -F of a rule on the list `kind` ('': not known yet), or ''."""
    name, sign, value = field
    if not sign:
        return f"-F {name} has no operator"
    if name not in KNOWN:
        return f"{name!r} is no field"
    if not value and name != "key":
        return f"-F {name} has no value"
    if kind and name in LISTS and (kind if kind != "entry" else "exit") not in LISTS[name]:
        return f"the {kind} list takes no {name}"
    if (name in EQUAL_ALONE and sign != "=") or (name in NO_ORDER and sign not in ("=", "!=")):
        return f"-F {name} does not take {sign}"
    return _value_fault(name, value)


def _value_fault(name: str, value: str) -> str:
    digits = value[:1].isascii() and value[:1].isdigit()
    signed = value[:1] == "-" and value[1:2].isascii() and value[1:2].isdigit()
    if name == "exit":
        word = value.removeprefix("-").upper()
        named = word in ERRORS and word not in ALIAS_ERRORS
        return "" if digits or signed or named else f"{value!r} is no error's name"
    if name == "msgtype":  # ALL is a word of ausearch's
        return f"{value!r} is no record type" if value.upper() in ("ALL", "ANY", "*") or value[:1] == "-" else ""
    if name == "perm":
        return f"{value!r} are no permissions" if len(value) > 4 or set(value.lower()) - set("rwxa") else ""
    if name == "filetype":
        return "" if value.lower() in FILE_TYPES else f"{value!r} is no type of files"
    if name in ("path", "dir", "exe") and len(value) > LONGEST_PATH:
        return f"the path is longer than {LONGEST_PATH} bytes"
    wrong = (name in NUMBERS and not digits) or (name in ARGUMENTS and not (digits or signed))
    wrong = wrong or (name in USERS and value[:1] == "-" and not signed) or (name in GROUPS and value[:1] == "-")
    return f"-F {name} takes a number, not {value!r}" if wrong else ""


def comparison_fault(field: Field) -> str:
    """What is certainly wrong with a -C, or ''."""
    right = ALIASES.get(field.value.lower(), field.value.lower())
    if field.sign not in ("=", "!="):
        return f"-C {field.name} takes = or != alone"
    same_kind = any(field.name in kind and right in kind for kind in (USERS, GROUPS))
    return "" if same_kind and right != field.name else f"{field.name} and {field.value} cannot be compared"


def number(value: str) -> Optional[int]:
    """The number that a text begins with, as strtoul(3) has it and the kernel keeps it, or None."""
    found = re.match(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+)", value, re.ASCII)
    if not found:
        return None
    text = found[0].removeprefix("-")
    if text[:2] in ("0x", "0X"):
        amount = int(text, 16)
    elif text[0] == "0":
        amount = int((re.match("[0-7]*", text) or [""])[0], 8)
    else:
        amount = int(text[:24])
    return (-amount if value[0] == "-" else min(amount, 2**64 - 1)) & MASK


def record(value: str) -> Optional[int]:
    """The number of a record type by its name or number, or None."""
    if unknown := re.match(r"UNKNOWN\[(\d+)\]", value, re.ASCII):
        value = unknown[1]
    return number(value) if value[:1].isdigit() else _records().get(value.upper())


@functools.lru_cache(maxsize=1)
def _records() -> Mapping[str, int]:
    found: dict[str, int] = {}
    at = 0
    for word in RECORD_RUNS.split():
        if word.isdigit():
            at = int(word)
        else:
            found[word] = at
            at += 1
    return found


def value_of(field: Field) -> Value:
    """What the kernel compares with: a number where the text alone tells it, else the text."""
    name, _, value = field
    found: Optional[int] = None
    if name == "msgtype":
        found = record(value)
    elif name == "exit" and not value.lstrip("-")[:1].isdigit():
        error = ERRORS.get(value.removeprefix("-").upper(), 0)
        found = (-error if value[:1] == "-" else error) & MASK
    elif name in USERS | GROUPS:
        found = UNSET if value == "unset" else 0 if value == "root" else number(value)
    elif name in NUMBERS | ARGUMENTS | {"devmajor", "devminor", "inode", "exit", "success", "sessionid"}:
        found = UNSET if value == "unset" else number(value)
    elif name == "perm":
        return "".join(sorted(set(value.lower())))
    return value if found is None else found


@functools.lru_cache(maxsize=1024)  # the same rules are parsed file by file, and as they are joined
def meaning(options: tuple[tuple[str, str], ...]) -> Meaning:
    """What a rule is for the kernel; two of the same meaning are one rule. The options begin with list and action.

    A watch stands apart from -F path and -F dir: which of the two it is depends on what lies there.
    """
    fields: list[tuple[object, ...]] = []
    keys: list[str] = []
    calls: set[str] = set()
    for name, value in options[1:]:
        field = field_of(value)
        if name == "S":
            calls.update(value.split(","))
        elif name == "k" or (name == "F" and field.name == "key"):
            keys.append(value if name == "k" else field.value)
        elif name == "w":
            fields += [("watch", "=", value.rstrip("/") or "/"), ("perm", "=", "arwx")]
        elif name == "p":
            _permit(fields, "".join(sorted(set(value.lower()))))
        elif name == "C":
            fields.append(("compare", field.sign, *sorted((field.name, ALIASES.get(field.value, field.value)))))
        else:
            fields.append((field.name, field.sign, value_of(field)))
    every = not calls or "all" in calls
    return (*options[0], tuple(fields), tuple(filter(None, keys)), frozenset(() if every else calls))


def _permit(fields: list[tuple[object, ...]], permissions: str) -> None:
    """-p sets the permissions that a rule has already, or adds them."""
    permitted = ("perm", "=", permissions)
    at = next((place for place, field in enumerate(fields) if field[0] == "perm"), len(fields))
    fields[at : at + 1] = [permitted]
