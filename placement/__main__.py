# SPDX-License-Identifier: Apache-2.0
"""`python -m placement …`."""

import sys

from placement.cli.main import main

sys.exit(main())
