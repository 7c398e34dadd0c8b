"""Examples that are changed a little each time they are trained on, so that a model learns what does not depend on such changes.

It happens in front of the model and only while it trains, and draws from torch's global generator, as dropout does: a resumed training
draws what an undisturbed one would. No picture is mirrored: a hand, a digit and a word mean something else then.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn.functional import affine_grid, grid_sample

TURN = 10.0  # degrees, either way
SHIFT, SCALE = 0.1, 0.1  # shares of the side
BRIGHTNESS, CONTRAST = 0.2, 0.2
LOUDNESS, DELAY, HIDDEN = 0.5, 0.1, 0.1  # of a sound: gain's natural logarithm either way; shares of its length


def augment_pictures(model: Any) -> None:
    """From now on the model, while it trains, sees pictures turned, moved, scaled and lit a little differently."""

    def change(module: Any, arguments: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if module.training:
            named = {**named, "pixel_values": changed_pictures(named["pixel_values"])}
        return arguments, named

    model.register_forward_pre_hook(change, with_kwargs=True)


def changed_pictures(pixels: torch.Tensor) -> torch.Tensor:
    """`(pictures, channels, height, width)`, each changed in its own way; edges are repeated where the picture ends."""
    count = len(pixels)
    draws = (torch.rand(count, 6) * 2 - 1).to(pixels)  # on the CPU's generator, which every checkpoint keeps
    turn, scale = draws[:, 0] * math.radians(TURN), 1 + SCALE * draws[:, 1]
    matrix = torch.zeros(count, 2, 3).to(pixels)
    matrix[:, 0, 0], matrix[:, 0, 1] = scale * turn.cos(), -scale * turn.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = scale * turn.sin(), scale * turn.cos()
    matrix[:, :, 2] = 2 * SHIFT * draws[:, 2:4]
    grid = affine_grid(matrix, list(pixels.shape), align_corners=False)
    moved = grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    light, contrast = (draws[:, number].reshape(-1, 1, 1, 1) for number in (4, 5))
    mean = moved.mean(dim=(1, 2, 3), keepdim=True)
    spread = moved.std(dim=(1, 2, 3), keepdim=True)
    return (moved - mean) * (1 + CONTRAST * contrast) + mean + BRIGHTNESS * spread * light


def augment_sounds(model: Any) -> None:
    """From now on the model, while it trains, hears sounds moved and scaled a little, with a piece of each hidden."""
    name = model.main_input_name

    def change(module: Any, arguments: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if module.training:
            named = {**named, name: changed_sounds(named[name])}
        return arguments, named

    model.register_forward_pre_hook(change, with_kwargs=True)


def changed_sounds(sounds: torch.Tensor) -> torch.Tensor:
    """`(sounds, …, time)`, samples or frames; each louder or softer, later or earlier, and silent for a moment.

    What is moved out at one end of the batch comes in at the other.
    """
    count, width = len(sounds), sounds.shape[-1]
    draws = torch.rand(count, 4)
    gains = torch.exp(LOUDNESS * (2 * draws[:, 0] - 1)).to(sounds)
    moves = (DELAY * (2 * draws[:, 1] - 1) * width).long().tolist()
    hidden = (HIDDEN * draws[:, 2] * width).long()
    starts = (draws[:, 3] * (width - hidden)).long()
    places = torch.arange(width)
    kept = (places < starts.unsqueeze(-1)) | (places >= (starts + hidden).unsqueeze(-1))
    moved = torch.stack([sound.roll(move, -1) for sound, move in zip(sounds, moves, strict=True)])
    shape = (count, *[1] * (sounds.dim() - 2))
    return moved * gains.reshape(*shape, 1) * kept.to(sounds).reshape(*shape, width)
