"""Versions, the live pointers and the audit trail: this room alone decides what is live."""

from noria.registry.pointers import Registry
from noria.registry.trail import AuditEntry
from noria.registry.versions import Version

__all__ = ["AuditEntry", "Registry", "Version"]
