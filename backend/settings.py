"""Settings of the server: flags win over FLASHDREAMS_* in the environment, and these over the defaults."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from backend.origins import normal_origin

if TYPE_CHECKING:  # it imports PyTorch
    from flashdreams.infra.world.base import WorldConfig

DRAWN_TOKEN_BYTES = 12
"""Random bytes of an access token that the server draws."""
LEAST_TOKEN = 12
"""Characters of a token that is given where others reach the address: thousands can be tried in a second."""
ACCESS_QUERY = "access"
"""Query parameter of a page's address that carries the access token."""


class Settings(BaseSettings):
    """Serve a world that a neural network dreams, to walk through in a browser."""

    model_config = SettingsConfigDict(
        env_prefix="FLASHDREAMS_",
        cli_prog_name="flashdreams-play",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_avoid_json=True,
        cli_hide_none_type=True,
        extra="ignore",
    )

    world: str = Field(default="endless", description="slug of the world to serve")
    checkpoint: Path | None = Field(
        default=None, description="weights: a file, folder or hf:// address; none: those of the world"
    )
    adapt: bool = Field(default=True, description="choose cores and denoising steps by trying, where the world can")
    together: Literal["auto", "on", "off"] = Field(
        default="off",
        description="denoise chunks of several visitors in one pass; rewinds and replays then agree to a tolerance, not"
        " bit for bit. auto: where that is measured to be faster, and not with --no-adapt",
    )
    flow: bool = Field(default=True, description="let a world that can move while nobody acts; off: it rests")
    shared_worlds: bool = Field(
        default=True, description="visitors of one world see what the others build, open and push in it, if it can"
    )
    host: str = Field(default="127.0.0.1", description="address to listen on; 0.0.0.0 means all of them")
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port; 0 takes a free one")
    browser: bool = Field(default=True, description="open the page in a browser where there is one")
    capacity: int | None = Field(default=None, ge=1, le=1000, description="visitors at a time; none: by free memory")
    access_token: str | None = Field(
        default=None,
        max_length=256,
        description="visitors must bring it; none: one is drawn where the address is not only this machine's; "
        "an empty one lets everybody in",
    )
    allowed_origins: str = Field(
        default="",
        description="more origins whose pages may connect, with commas: https://play.example.org; * for all",
    )
    max_connections: int = Field(default=256, ge=8, description="connections at a time, in all")
    connections_per_address: int = Field(default=32, ge=4, description="connections at a time from one address")
    grace: float = Field(default=30.0, ge=0, description="seconds that a session without connection is kept")
    idle_limit: float = Field(default=900.0, ge=0, description="seconds without any input until it ends; 0: never")
    send_timeout: float = Field(default=5.0, gt=0, description="seconds until a reader that takes nothing is dropped")
    session_fps: float = Field(default=0.0, ge=0, description="frames per second for each visitor; 0: no limit")
    session_minutes: float = Field(default=0.0, ge=0, description="minutes until a session ends; 0: no limit")
    spectators: int = Field(default=32, ge=0, description="who may watch a session at a time")
    rewind_minutes: float = Field(default=5.0, ge=0, le=60, description="minutes that can be gone back; 0: none")
    rewind_mib: int = Field(default=256, ge=0, description="memory per visitor for the states to go back to, MiB")
    rewind_every: int = Field(default=6, ge=1, description="chunks from one kept state to the next, before thinning")
    save_minutes: float = Field(default=30.0, ge=0, le=600, description="minutes of a session that can be saved")
    recording_minutes: float = Field(
        default=10.0, ge=0, le=2880, description="minutes of video kept per visitor; 0: none"
    )
    recording_mib: int = Field(default=64, ge=0, description="memory per visitor for that video, MiB")
    replays_dir: Path | None = Field(default=None, description="folder to keep saved sessions in; none: in memory")
    replays_keep: int = Field(default=500, ge=1, description="saved sessions in that folder; the oldest make room")
    replays_mib: int = Field(default=1024, ge=1, description="size of that folder, MiB")
    kiosk: Path | None = Field(default=None, description="settings file of a kiosk (TOML); its pictures are guarded")
    guard: bool = Field(default=False, description="begin dreams again whose pictures have gone bad")
    paths_dir: Path | None = Field(default=None, description="folder of more camera path files to offer by name")

    @field_validator("allowed_origins")
    @classmethod
    def _origins_are_origins(cls, value: str) -> str:
        for origin in _split(value):
            if origin != "*" and normal_origin(origin) is None:
                raise ValueError(f"{origin!r} is no origin: write it as https://play.example.org")
        return value

    @field_validator("access_token")
    @classmethod
    def _access_token_is_not_guessed(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and len(value) < LEAST_TOKEN and not is_loopback(info.data.get("host", "127.0.0.1")):
            raise ValueError(
                f"give {LEAST_TOKEN} characters or more where others reach the address, or none: one is drawn; "
                f"got {len(value)} characters"
            )
        return value

    @field_validator("checkpoint")
    @classmethod
    def _checkpoint_is_there(cls, value: Path | None) -> Path | None:
        if value is None:
            return None
        from flashdreams.core.checkpoint.hub import parse_hub_address  # not above: its package imports PyTorch

        if parse_hub_address(str(value)) is None and not value.exists():
            raise ValueError(f"{value} is no file, no folder and no hf:// address")
        return value

    @field_validator("paths_dir", "replays_dir")
    @classmethod
    def _folder_is_there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError(f"{value} is no folder")
        return value

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins, one by one, without default ports."""
        return frozenset(normal_origin(origin) or origin for origin in _split(self.allowed_origins))

    @property
    def passes(self) -> Literal["auto", "on", "off"]:
        """The use of one pass for several sessions."""
        return "off" if self.together == "auto" and not self.adapt else self.together

    @property
    def is_local(self) -> bool:
        """True if only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return True if a host name or address without port means this machine itself."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def settings_from(arguments: list[str] | None = None) -> Settings:
    """Return the settings of command line arguments and of the environment.

    Raises pydantic's ValidationError; argparse leaves with status 2 for an unknown flag and 0 for --help.
    """
    options: dict[str, Any] = {"_cli_parse_args": arguments} if arguments else {}
    return Settings(**options)


def world_config(settings: Settings) -> WorldConfig:
    """Return the config of the world to serve. Raises KeyError for an unknown slug."""
    from flashdreams.configs.worlds import get_world

    config = get_world(settings.world)
    flows = config.flows and settings.flow
    return replace(config, checkpoint=settings.checkpoint, adapts=settings.adapt, flows=flows)


def describe_error(error: ValidationError, arguments: list[str]) -> str:
    """Return what is wrong, under the name by which it was set: a flag's, or else the environment's."""
    first = error.errors(include_url=False)[0]
    name = "_".join(str(part) for part in first["loc"])
    flag = f"--{name.replace('_', '-')}"
    given = any(argument.split("=")[0] == flag for argument in arguments)
    said = f"{flag if given else f'FLASHDREAMS_{name.upper()}'}: {first['msg'].removeprefix('Value error, ')}"
    return said if first["type"] == "value_error" else f"{said}, got {first['input']!r}"


def _split(names: str) -> list[str]:
    return [name.strip().rstrip("/") for name in names.split(",") if name.strip()]
