"""Keys, looks and paths to camera motion, live and offline: the one module to import from."""

from __future__ import annotations

from flashdreams.camera.keys import KEYS
from flashdreams.camera.kinematics import CameraMotion
from flashdreams.camera.live import CameraState, Constrain, LiveCamera
from flashdreams.camera.timeline import KeyTimeline

__all__ = ["KEYS", "CameraMotion", "CameraState", "Constrain", "KeyTimeline", "LiveCamera"]
