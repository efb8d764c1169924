"""Versions, the live pointers and the audit trail: this room alone decides what is live."""

from noria.registry.pointers import Registry
from noria.registry.requests import REQUEST_ACTIONS, Request
from noria.registry.trail import AuditEntry
from noria.registry.trials import Trial
from noria.registry.versions import Version

__all__ = ["REQUEST_ACTIONS", "AuditEntry", "Registry", "Request", "Trial", "Version"]
