"""The kiosk's one settings file: what it is called, how it looks, which scenes it shows, and its limits."""

from __future__ import annotations

import datetime
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from flashdreams.infra.world.base import WorldConfig

Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$", description="as #rrggbb")]
Seconds = Annotated[float, Field(ge=0.1, le=86400)]
LOGO_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Colours(_Part):
    """Of the page's letters and buttons, over the picture."""

    accent: Colour = "#ffb070"
    background: Colour = "#08090b"
    text: Colour = "#f3efe8"


class Limits(_Part):
    """Seconds."""

    visitor_seconds: Seconds = Field(default=180, description="how long a visitor may walk")
    idle_seconds: Seconds = Field(default=45, description="without any input until the visitor counts as gone")
    warn_seconds: Seconds = Field(default=20, description="before the end in which the countdown is shown")
    farewell_seconds: Seconds = Field(default=20, description="how long the last screen stays, with the QR code")
    attract_seconds: Seconds = Field(default=16, description="of every path in the attract loop")


class ClipSettings(_Part):
    """Clips that visitors take along."""

    seconds: float = Field(default=15, ge=1, le=120, description="the last of a visit")
    folder: Path = Field(default=Path("kiosk-clips"), description="where they are kept, from the settings file on")
    keep: int = Field(default=500, ge=1, le=100_000, description="clips kept; the oldest make room")
    mib: int = Field(default=500, ge=1, le=1_000_000, description="disk space that they may take")


class KioskSettings(_Part):
    """All of the file; everything has a default, so an empty file is a kiosk too."""

    title: str = Field(default="Walk through a dream", min_length=1, max_length=80)
    subtitle: str = Field(default="A neural network imagines every picture as you go. Touch any key.", max_length=200)
    logo: Path | None = Field(default=None, description="an SVG, PNG, JPEG or WebP file")
    scenes: tuple[str, ...] = Field(default=(), description="none: all that the world has")
    address: str | None = Field(default=None, description="where visitors' phones reach this server; none: no QR code")
    shared_worlds: bool = Field(default=False, description="visitors of one world see what the others change in it")
    nightly: str = Field(default="04:00", pattern=r"^$|^([01]\d|2[0-3]):[0-5]\d$", description="restart; empty: never")
    colours: Colours = Colours()
    limits: Limits = Limits()
    clips: ClipSettings = ClipSettings()

    @field_validator("address")
    @classmethod
    def _address_is_one(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("write it as https://kiosk.example.org")
        return value.rstrip("/")

    @field_validator("logo")
    @classmethod
    def _logo_is_a_picture(cls, value: Path | None) -> Path | None:
        if value is not None and value.suffix.lower() not in LOGO_TYPES:
            raise ValueError(f"a logo must end in {', '.join(LOGO_TYPES)}")
        return value

    @property
    def origin(self) -> str:
        """Scheme and host of `address`; empty without one."""
        parts = urlsplit(self.address or "")
        return f"{parts.scheme}://{parts.netloc}" if self.address else ""

    @property
    def restart_at(self) -> datetime.time | None:
        """Time of the daily restart."""
        return datetime.time.fromisoformat(self.nightly) if self.nightly else None

    def shown(self, world: WorldConfig) -> tuple[str, ...]:
        """Return the scenes of the attract loop. Raises KeyError if the world lacks one."""
        return tuple(world.scene(name).name for name in self.scenes) or tuple(scene.name for scene in world.scenes)


def read_kiosk_settings(file: Path) -> KioskSettings:
    """Read the settings of a TOML file; its relative paths begin at its folder.

    Raises ValueError with one sentence that names the file, the field and what it takes.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not TOML: {error}") from None
    try:
        settings = KioskSettings(**values)
    except ValidationError as error:
        raise ValueError(f"{file}: {_sentence(error)}") from None
    folder = file.resolve().parent
    logo = None if settings.logo is None else folder / settings.logo
    if logo is not None and not logo.is_file():
        raise ValueError(f"{file}: logo: there is no file {logo}")
    clips = settings.clips.model_copy(update={"folder": folder / settings.clips.folder})
    return settings.model_copy(update={"logo": logo, "clips": clips})


def attract_loop(scenes: tuple[str, ...], paths: list[str]) -> list[dict[str, str]]:
    """Return the items of the attract loop, round by round: `{scene, path}` with file names of camera paths.

    A path that is named after a scene is shown there, `tour` and `circle` everywhere.
    """
    rounds: list[tuple[Literal["own", "any"], str]] = [
        ("own", "glide"),
        ("own", "orbit"),
        ("own", "stroll"),
        ("any", "tour"),
    ]
    loop = []
    for kind, name in rounds:
        for scene in scenes:
            pattern = rf"{name}-{re.escape(scene)}\.\w+" if kind == "own" else rf"{name}\.\w+"
            loop += [{"scene": scene, "path": path} for path in paths if re.fullmatch(pattern, path)][:1]
    return loop


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such setting"
    problem = first["msg"].removeprefix("Value error, ")
    return f"{where}: {problem[0].lower()}{problem[1:]}, got {first['input']!r:.80}"
