"""The spec's section `model`: what is trained, from what it starts, and how much of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, JsonValue, Tag, model_validator

from contender import specrules
from contender.names import API, BUILTIN
from contender.section import Section
from contender.selectionspec import candidate
from contender.training.options import ADAPTING, GenerationOptions, Init, LoraOptions, Method

Base = Annotated[str, Field(min_length=1), AfterValidator(candidate)]


def _alone(value: Any) -> Any:
    """One base in a list is that base."""
    return value[0] if isinstance(value, list | tuple) and len(value) == 1 else value


def _shape(value: Any) -> str:
    return "tuple[]" if isinstance(value, list | tuple) else "str"


class Model(Section):
    """What is fine-tuned, and how much of it."""

    base: Annotated[
        Annotated[Base, Tag("str")] | Annotated[tuple[Base, ...], Field(min_length=2), Tag("tuple[]")],
        Discriminator(_shape),
        BeforeValidator(_alone),
    ] = Field(
        description="Hugging Face id, local folder, package:NAME for an installed Python package with a model/ folder, or "
        "contender:NAME@alias for a release: REGISTRY_URL/pipeline, or a pipeline of promote.to; builtin:NAME for an "
        "architecture without weights: tabular, the default for tables, or t5-mini, for translation and summarization. A list: one is "
        "selected first; api:URL#model is one that is only asked"
    )
    init: Init = Field(
        default="pretrained",
        description="pretrained: start from the base's weights; scratch: only from its config.json",
    )
    method: Method = Field(
        default="full",
        description="full: every weight; lora: low-rank adapters beside the weights, merged at the end; qlora: the same beside weights of "
        "4 bits, while it trains; head: only the classifier",
    )
    lora: Annotated[LoraOptions, BeforeValidator(specrules.no_flags)] = LoraOptions()
    config: dict[str, JsonValue] = Field(
        default={}, description="with init: scratch, what differs from the base's config.json, such as hidden_size"
    )

    generation: Annotated[GenerationOptions, BeforeValidator(specrules.no_flags)] = GenerationOptions()

    @model_validator(mode="after")
    def _parts_agree(self) -> Model:
        faults: list[specrules.Fault] = []
        if self.init == "scratch" and self.method != "full":
            faults.append((("method",), f"is {self.method}, and init: scratch leaves weights that only full can train"))
        built_in = next((base for base in self.bases if base.startswith(BUILTIN)), None)
        if built_in and self.init == "pretrained":
            faults.append((("init",), f"is pretrained, and {built_in} is an architecture without weights: scratch"))
        if twice := [base for place, base in enumerate(self.bases) if base in self.bases[:place]]:
            faults.append((("base",), f"names {twice[0]!r} twice"))
        if not self.local:
            faults.append(
                (("base",), f"is only asked, and nothing of {API} can be trained: name a base beside it that can")
            )
        if self.config and self.init != "scratch":
            faults.append(
                (("config",), "is only for init: scratch, since pretrained weights fit their own config.json alone")
            )
        if faults:
            raise specrules.misfits(faults)
        return self

    @property
    def bases(self) -> tuple[str, ...]:
        """All that are named."""
        return (self.base,) if isinstance(self.base, str) else self.base

    @property
    def local(self) -> tuple[str, ...]:
        """Those that can be trained."""
        return tuple(base for base in self.bases if not base.startswith(API))

    @property
    def asked(self) -> tuple[str, ...]:
        """Those that are only asked."""
        return tuple(base for base in self.bases if base.startswith(API))

    def read(self, writes: bool) -> dict[str, Any]:
        """What a training depends on: the options of another method, or of a task that writes no texts, are none of it."""
        unread = {"lora"} if self.method not in ADAPTING else set()
        unread |= set() if writes else {"generation"}
        return self.model_dump(exclude=unread)
