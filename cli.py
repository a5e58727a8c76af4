# SPDX-License-Identifier: Apache-2.0
"""`python cli.py …` from a checkout: the same as the installed `placement`."""

import sys

from placement.cli.main import main

sys.exit(main())
