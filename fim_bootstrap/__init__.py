"""Make a Linux host ready for auditd-based file integrity monitoring, or say exactly why it is not."""

__version__ = "0.1.0"
