"""Commands."""

from flashdreams.threads import set_wait_policy

set_wait_policy()
