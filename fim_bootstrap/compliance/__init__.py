"""What a hardening standard asks for and FIM cannot bear, and the record of the exception that a person signs.

The vendor, "Resolving the conflict": FIM needs audit rules that can be changed while the system runs; CIS (Level 2),
STIG and PCI DSS profiles ask for `-e 2`, and "exceptions can be made". Nothing here judges whether a host is compliant.
"""
