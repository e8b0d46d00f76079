"""Keys and looks to camera motion: the one module to import from."""

from __future__ import annotations

from flashdreams.camera.kinematics import CameraMotion

__all__ = ["CameraMotion"]
