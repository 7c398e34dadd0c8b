"""Several conversations in one row of tensors, of which none can see another: positions begin anew with each.

transformers tells them apart by their positions and lets none attend to another, where a model is given positions, no mask and no
cache (masking_utils.find_packed_sequence_indices, read in 5.23). A base that does not do so is refused, by trying it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Any

from contender.errors import ModelError

IGNORED = -100  # in labels: no token of an answer; as transformers and torch have it
LEAK = 1e-2  # of the largest logit: what rounding does stays far below, and what another conversation does far above
TRIED = 24  # tokens of each conversation that a base is tried with


def packed(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Places of examples, put together so that the sum of their lengths fits: the longest first, each where least is left over.

    The same lengths give the same packs.
    """
    packs: list[list[int]] = []
    left: list[tuple[int, int]] = []  # room of each pack that has some, and the pack
    for place in sorted(range(len(lengths)), key=lambda place: (-lengths[place], place)):
        fits = bisect_left(left, (lengths[place], -1))
        if fits < len(left):
            rest, pack = left.pop(fits)
        else:
            rest, pack = room, len(packs)
            packs.append([])
        packs[pack].append(place)
        if rest > lengths[place]:
            insort(left, (rest - lengths[place], pack))
    return packs


def batch_of(examples: Sequence[Mapping[str, Any]], fill: int) -> dict[str, Any]:
    """Tensors (rows, width) of prepared rows, filled up behind them; with positions where rows hold `parts`.

    Nothing before it sees what is behind it, so that no mask is needed.
    """
    import numpy as np
    import torch

    width = -(-max(len(example["input_ids"]) for example in examples) // 8) * 8
    ids = np.full((len(examples), width), fill, np.int64)
    labels = np.full((len(examples), width), IGNORED, np.int64)
    positions = np.tile(np.arange(width), (len(examples), 1))
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        ids[row, :length], labels[row, :length] = example["input_ids"], example["labels"]
        ends = np.cumsum(example.get("parts", [length]))
        for start, end in zip(ends, [*ends[1:], width], strict=True):
            positions[row, start:end] -= start
    arrays = {"input_ids": ids, "labels": labels}
    if "parts" in examples[0]:
        arrays["position_ids"] = positions
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def refuse_leaks(model: Any, base: str) -> None:
    """ModelError for a base whose answers to one conversation depend on another one in the same row."""
    import torch

    size = model.get_input_embeddings().num_embeddings
    first = torch.arange(TRIED, device=model.device) % size
    second = (first * 7 + 3) % size
    alone = batch_of([_part(second)], 0)
    both = batch_of([_part(torch.cat([first, second]), (TRIED, TRIED))], 0)
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            whole, single = (_logits(model, batch) for batch in (both, alone))
        apart = float((whole[0, TRIED : 2 * TRIED] - single[0, :TRIED]).abs().max())
    except (TypeError, ValueError, RuntimeError) as error:
        raise _unpackable(base, str(error).splitlines()[0]) from error
    finally:
        model.train(training)
    if not apart <= LEAK * float(single.abs().max()):
        raise _unpackable(base, "one conversation sees another in the same row")


def _part(ids: Any, parts: Sequence[int] | None = None) -> dict[str, Any]:
    ids = ids.tolist()
    return {"input_ids": ids, "labels": ids} | ({"parts": list(parts)} if parts else {})


def _logits(model: Any, batch: Mapping[str, Any]) -> Any:
    inputs = {name: value.to(model.device) for name, value in batch.items() if name != "labels"}
    return model(**inputs).logits.float()


def _unpackable(base: str, why: str) -> ModelError:
    return ModelError(f"train.packing cannot be used with the base {base}: {why}", "Set train.packing: false.")
