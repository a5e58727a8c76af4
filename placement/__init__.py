# SPDX-License-Identifier: Apache-2.0
"""A topology-aware placement compiler for training jobs on very large GPU clusters."""

__version__ = "0.1.0"
