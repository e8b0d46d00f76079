"""Runner and world configs that cost nothing to make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flashdreams.infra.runner import Runner, RunnerConfig
from flashdreams.infra.world.base import Scene, WorldConfig
from tests.infra.toy import toy_pipeline


class ToyRunner(Runner):
    def run(self) -> None:
        if self.config.scene == "nowhere":
            raise KeyError("unknown scene 'nowhere'")
        (self.prepare_output_dir() / "scene.txt").write_text(self.config.scene)


@dataclass(kw_only=True)
class ToyRunnerConfig(RunnerConfig):
    _target: type = field(default_factory=lambda: ToyRunner)

    scene: str = "meadow"
    """Scene to start in."""


def toy_runner(slug: str = "toy", output_dir: Path = Path("outputs")) -> ToyRunnerConfig:
    return ToyRunnerConfig(
        runner_name=slug, description=f"The {slug} model", pipeline=toy_pipeline(), output_dir=output_dir, device="cpu"
    )


def toy_world(slug: str = "toy") -> WorldConfig:
    return WorldConfig(
        _target=dict,
        slug=slug,
        title=slug.title(),
        width=16,
        height=16,
        fps=24,
        frames_per_chunk=4,
        window_chunks=8,
        controls=("keys",),
        scenes=(Scene(name="meadow", title="Meadow"),),
        session_bytes=0,
    )
