"""Conversations, as tests write and draw them."""

from __future__ import annotations

from hypothesis import strategies as st

SAID = st.text(st.characters(codec="utf-8"), max_size=8)


def turns(*said: str) -> list[dict[str, str]]:
    """Conversations as they are easiest to read: "user: hello"."""
    return [dict(zip(("role", "content"), one.split(": ", 1), strict=True)) for one in said]


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, str]]:
    """Any conversation without a fault."""
    roles = ["system"] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        roles += ["user", "assistant"]
        for _ in range(draw(st.integers(0, 2))):
            roles += ["tool"] * draw(st.integers(1, 2)) + ["assistant"]
    return [{"role": role, "content": f"{draw(SAID)}."} for role in roles]
