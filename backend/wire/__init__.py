"""Message types of the WebSocket protocol, in both directions."""
