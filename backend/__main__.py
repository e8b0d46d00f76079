"""`python -m backend` is the same as `flashdreams-play`."""

import sys

from backend.server.main import main

sys.exit(main())
