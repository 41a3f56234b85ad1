"""The policy language: files, their strict models, and the evaluator that hub and node share.

Load files with `load_agency`, `load_region` and `load_statute`, keep each as a `Sourced` beside the `digest` of
its bytes, and ask `evaluate`. DESIGN §6 is the language; `docs/policy.md` explains it to those who write it.
"""

from federation.policy.check import Finding, Severity, check_text
from federation.policy.compiled import PolicySet, Sourced
from federation.policy.decision import Decision, Obligations, Outcome, RuleRef, TraceStep
from federation.policy.evaluate import evaluate
from federation.policy.facts import GalleryFacts, RequestFacts
from federation.policy.load import digest, load_agency, load_region, load_statute
from federation.policy.model import AgencyPolicy, RegionPolicy, Retention, StatutePack

__all__ = [
    "AgencyPolicy",
    "Decision",
    "Finding",
    "GalleryFacts",
    "Obligations",
    "Outcome",
    "PolicySet",
    "RegionPolicy",
    "RequestFacts",
    "Retention",
    "RuleRef",
    "Severity",
    "Sourced",
    "StatutePack",
    "TraceStep",
    "check_text",
    "digest",
    "evaluate",
    "load_agency",
    "load_region",
    "load_statute",
]
