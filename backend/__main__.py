"""`python -m backend` is the same as `flashdreams-play`."""

import sys

from backend.main import main

sys.exit(main())
