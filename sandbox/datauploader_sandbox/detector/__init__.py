"""A detector that writes as instruments do, and keeps a ledger of everything that it wrote."""

from datauploader_sandbox.detector.ledger import Ledger
from datauploader_sandbox.detector.plan import Plan
from datauploader_sandbox.detector.run import Detector

__all__ = ["Detector", "Ledger", "Plan"]
