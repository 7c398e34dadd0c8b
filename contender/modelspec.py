"""The spec's section `model`: what is trained, from what it starts, and how much of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator

from contender import specrules
from contender.names import BUILTIN
from contender.section import Section
from contender.training.options import ADAPTING, GenerationOptions, Init, LoraOptions, Method


class Model(Section):
    """What is fine-tuned, and how much of it."""

    base: Annotated[str, Field(min_length=1), AfterValidator(specrules.base)] = Field(
        description="Hugging Face id, local folder, package:NAME for an installed Python package with a model/ folder, or "
        "contender:NAME@alias for a release: REGISTRY_URL/pipeline, or a pipeline of promote.to; builtin:NAME for an "
        "architecture without weights: tabular, the default for tables, or t5-mini, for translation and summarization"
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
        if self.base.startswith(BUILTIN) and self.init == "pretrained":
            faults.append((("init",), f"is pretrained, and {self.base} is an architecture without weights: scratch"))
        if self.config and self.init != "scratch":
            faults.append(
                (("config",), "is only for init: scratch, since pretrained weights fit their own config.json alone")
            )
        if faults:
            raise specrules.misfits(faults)
        return self

    def read(self, writes: bool) -> dict[str, Any]:
        """What a training depends on: the options of another method, or of a task that writes no texts, are none of it."""
        unread = {"lora"} if self.method not in ADAPTING else set()
        unread |= set() if writes else {"generation"}
        return self.model_dump(exclude=unread)
