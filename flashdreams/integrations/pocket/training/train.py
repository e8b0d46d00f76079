"""Trains the pocket world from nothing: `make train`. Stopped at any moment, the same command goes on where it was.

Seven stages, each of which leaves files in the run's folder and does only what is not there yet: render walks, fit the
patch code, encode, render single views, train the scene encoder, the denoiser, the decoder. At the end the weights file
is written.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from flashdreams.infra.runner import resolve_device
from flashdreams.integrations.pocket.model.codec import PatchCodec
from flashdreams.integrations.pocket.training.data import load_shard, render_shards
from flashdreams.integrations.pocket.training.export import export
from flashdreams.integrations.pocket.training.latents import EncodedClips, encode_shards
from flashdreams.integrations.pocket.training.run_log import Checkpoint
from flashdreams.integrations.pocket.training.train_decoder import train_decoder
from flashdreams.integrations.pocket.training.train_denoiser import TrainOptions, train_denoiser, trained_denoiser
from flashdreams.integrations.pocket.training.train_scene_encoder import train_scene_encoder
from flashdreams.integrations.pocket.training.views import EncodedViews, render_views

CODEC_SHARDS = 20
"""Shards that the patch code is fitted to: its few thousand numbers need no more."""


def fitted_codec(data: Path, run: Path) -> PatchCodec:
    """The run's patch code, fitted to its rendered pictures when there is none yet."""
    codec, checkpoint = PatchCodec(), Checkpoint(run / "codec.pt")
    if not checkpoint.load(codec=codec):
        shards = sorted(data.glob("keyframes-*.npz"))[:CODEC_SHARDS]
        frames = np.concatenate([load_shard(path).frames[:, 1::4] for path in shards])
        codec.fit(torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2).float() / 255)
        checkpoint.save({"pictures": float(frames.shape[0] * frames.shape[1])}, codec=codec)
    return codec


def train(args: argparse.Namespace) -> int:
    """All stages; answers the number of parameters in the weights file."""
    run, data, device = args.run, args.run / "data", str(resolve_device(args.device))
    compile = args.compile and (device != "cpu" or shutil.which("c++") is not None)
    render_shards(data, "keyframes", args.keyframes, device=device, compile=compile)
    render_shards(data, "frames", args.frames, device=device, compile=compile)
    codec = fitted_codec(data, run)
    encode_shards(codec, data, run / "latents")
    render_views(codec, run / "latents", args.views, device=device, compile=compile)
    camera_paths = EncodedClips(run / "latents", seed=random.getrandbits(32))
    views = EncodedViews(run / "latents", seed=random.getrandbits(32))
    scene_encoder = train_scene_encoder(
        camera_paths, views, codec, run, minutes=args.scene_encoder_minutes, device=device
    )
    options = TrainOptions(minutes=args.minutes, device=device, clips=args.clips, compile=compile)
    train_denoiser(camera_paths, views, scene_encoder, run, options)
    train_decoder(data, codec, trained_denoiser(codec, run), run, minutes=args.decoder_minutes, device=device)
    return export(run, args.output or run / "pocket.safetensors")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description="Train the pocket world from nothing; run it again to go on.")
    p.add_argument("--run", type=Path, default=Path("runs/pocket"), help="folder of all that the training makes")
    p.add_argument("--output", type=Path, help="the weights file; default: pocket.safetensors in the run's folder")
    p.add_argument(
        "--minutes", type=_positive, default=90.0, help="length of the denoiser's training, earlier runs included"
    )
    p.add_argument(
        "--scene-encoder-minutes", type=_positive, default=40.0, help="the same for the scene encoder before it"
    )
    p.add_argument("--decoder-minutes", type=_positive, default=8.0, help="the same for the decoder")
    p.add_argument("--keyframes", type=_several, default=37, help="shards of 96 walks that the denoiser learns from")
    p.add_argument("--frames", type=_several, default=24, help="shards of 96 short walks that the decoder learns from")
    p.add_argument("--views", type=_several, default=120, help="shards of 384 pictures that the places are learnt from")
    p.add_argument("--clips", type=_several, default=6, help="walks in one training step")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    p.add_argument("--no-compile", dest="compile", action="store_false", help="do without a C++ compiler; half as fast")
    return p


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def _several(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError(f"must be at least 2, got {text}")
    return value


def main() -> None:
    """Command line."""
    args = parser().parse_args()
    target = args.output or args.run / "pocket.safetensors"
    try:
        count = train(args)
    except (ValueError, OSError) as error:
        sys.exit(f"training stopped: {error}")
    except KeyboardInterrupt:
        sys.exit("\nstopped; the same command goes on from the last checkpoint")
    print(f'{target}: {count:,} parameters. Judge it: make eval-world ARGS="--checkpoint {target}"')
    print(f'Walk in it: make play ARGS="--checkpoint {target}"')


if __name__ == "__main__":
    main()
