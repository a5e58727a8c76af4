# SPDX-License-Identifier: Apache-2.0
"""Predicted against measured on one host of GPUs. How to run it: docs/validation-gpu.md."""
