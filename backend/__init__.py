"""The app: serves a world to browsers over HTTP and one WebSocket. Knows the world contract, never a model."""

from flashdreams.threads import set_wait_policy

set_wait_policy()
