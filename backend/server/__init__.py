"""HTTP and WebSocket: the app, its routes, access control, and the command that serves it."""
