# SPDX-License-Identifier: Apache-2.0
"""What can be said about a cluster without a model: counts of its design, checks, capacities under faults."""

from placement.fabric.counts import design
from placement.fabric.pattern import Pattern, TierSpec, build
from placement.fabric.validate import validate

__all__ = ["Pattern", "TierSpec", "build", "design", "validate"]
