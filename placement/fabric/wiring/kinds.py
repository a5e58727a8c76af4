# SPDX-License-Identifier: Apache-2.0
"""Every kind of fault that a wired fabric can have: the diagnostic `fabric/<kind>`, each with a page."""

KINDS = frozenset(
    {
        "absent-tray", "adapter-above-leaf", "adapter-naming", "clique-across-leafs", "clique-across-racks", "clique-split",
        "clique-too-large", "crossed-pair", "degraded-domain", "duplicate-guid", "duplicate-lid", "duplicate-name",
        "extra-cable", "foreign-device", "gpu-count", "host-name", "host-unhealthy", "idle-switch", "island",
        "leaf-without-hosts", "loop-cable", "missing-cable", "missing-host-link", "missing-switch", "mixed-generation",
        "no-clique", "no-leaf", "no-lid", "no-link", "no-such-port", "not-a-tree", "nvlink-count", "partial-domain",
        "partial-group", "place-twice", "plan-extra", "plan-missing", "plan-missing-device", "plan-miswired", "plan-speed",
        "port-twice", "rail-swap", "rails-not-joined", "swapped-cables", "swapped-hosts", "swapped-leafs", "swapped-ports",
        "swapped-racks", "swapped-uplinks", "switch-cut-off", "taper-off-design", "two-parents", "unnamed-adapter",
        "wrong-adapter", "wrong-leaf", "wrong-place", "wrong-port", "wrong-speed", "wrong-switch", "wrong-width",
    }
)  # fmt: skip
