"""What stops a segment sync before or beside the service: each says with numbers what is wrong."""

from __future__ import annotations


class SegmentSyncError(Exception):
    """A segment sync cannot go on; trying the same again does not help."""


class AudienceError(SegmentSyncError):
    """An audience cannot be read, or is not what its name says."""


class StoreError(SegmentSyncError):
    """The ledger's store lacks what a ledger rests on."""


class GuardError(SegmentSyncError):
    """A plan would do more than was allowed.

    :param message: what the plan would do, in numbers.
    :param parameter: the parameter that allows it.
    """

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message, parameter)
        self.message = message
        self.parameter = parameter

    def __str__(self) -> str:
        return f"{self.message} {self.parameter} allows it."


class PlanMismatchError(SegmentSyncError):
    """What lies in the store is not the plan that was made, or approved."""


class LedgerMovedError(SegmentSyncError):
    """Another run has changed the ledger since the plan was made."""


class LeaseError(SegmentSyncError):
    """Another run works on the ledger, or has taken over."""


class ThresholdError(SegmentSyncError):
    """More was refused than the run may have refused; what could be done was done and recorded."""
