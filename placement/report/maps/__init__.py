# SPDX-License-Identifier: Apache-2.0
"""A map of several towers, told with the parts that tell a plan: what differs is that towers, and no stages, live on hosts."""
