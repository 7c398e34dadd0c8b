"""A body sets what the spec's map names, to what the spec allows, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from gateways import MemoryPrefect, a_pipeline, basic, gateway
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.testclient import TestClient

from contender.triggers import Webhook
from deployments.gateway import mapping
from deployments.gateway.answers import Refused

pytestmark = pytest.mark.usefixtures("prefect_named")
MAP = {
    "train.epochs": "epochs",
    "train.learning_rate": "options.rate",
    "train.precision": "precision",
    "resources.max_recoveries": "recoveries",
    "resources.checkpoint.steps": "steps",
    "concurrency": "concurrency",
}


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> MemoryPrefect:
    folder = tmp_path_factory.mktemp("mapping")
    return MemoryPrefect(
        a_pipeline(folder, "one", map=MAP),
        a_pipeline(folder, "plain"),
        a_pipeline(folder, "summed", map={"train.epochs": "sum(values)"}),
        a_pipeline(folder, "wrong", map={"train.no_such_key": "x", "train.epochs.deeper": "y"}),
    )


@pytest.fixture(scope="module")
def client(
    prefect_named: None, prefect: MemoryPrefect, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    with gateway(prefect, tmp_path_factory.mktemp("journal") / "journal.db") as opened:
        yield opened


def post(client: TestClient, body: Any, name: str = "one") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/hooks/{name}", content=content, headers=basic())


def test_mapped_values_reach_the_run_and_the_rest_stays_as_it_is_deployed(
    client: TestClient, prefect: MemoryPrefect
) -> None:
    body = {"epochs": 2, "options": {"rate": 1e-4}, "recoveries": 0, "steps": 7, "concurrency": "skip", "data": "evil"}
    assert post(client, body).status_code == 202
    given = prefect.runs[-1].parameters["spec"]
    deployed = prefect.deployments[0].parameters["spec"]
    spec = given["spec"]
    assert (spec["train"]["epochs"], spec["train"]["learning_rate"]) == (2, 1e-4)
    assert (spec["resources"]["max_recoveries"], spec["resources"]["checkpoint"]["steps"]) == (0, 7)
    assert spec["concurrency"] == "skip"
    changed = {key for key in spec if spec[key] != deployed["spec"][key]}
    assert changed == {"train", "resources", "concurrency"}
    assert {key: given[key] for key in given if key != "spec"} == {
        key: deployed[key] for key in deployed if key != "spec"
    }
    prefect.begin_all()


@pytest.mark.parametrize(
    ("body", "key", "allowed"),
    [
        ({"epochs": 0}, "train.epochs", "greater than 0"),
        ({"epochs": True}, "train.epochs", ""),
        ({"epochs": "many"}, "train.epochs", "number"),
        ({"epochs": {"$ref": "x"}}, "train.epochs", "number"),
        ({"options": {"rate": "fast"}}, "train.learning_rate", "auto"),
        ({"precision": "\ud800"}, "train.precision", "valid string"),
        ({"precision": "int4"}, "train.precision", "'bf16'"),
        ({"recoveries": 101}, "resources.max_recoveries", "less than or equal to 100"),
        ({"recoveries": 1.5}, "resources.max_recoveries", "integer"),
        ({"recoveries": [1]}, "resources.max_recoveries", "integer"),
        ({"concurrency": "never"}, "concurrency", "'queue' or 'skip'"),
        ({"steps": 0, "epochs": -1}, "resources.checkpoint.steps", "greater than or equal to 1"),
    ],
)
def test_a_value_that_the_spec_does_not_allow_is_refused_by_its_key(
    client: TestClient, prefect: MemoryPrefect, body: dict[str, Any], key: str, allowed: str
) -> None:
    before = len(prefect.runs)
    answer = post(client, body)
    assert answer.status_code == 422 and len(prefect.runs) == before
    assert key in answer.json()["error"]["what"] and allowed in answer.json()["error"]["what"]
    assert str(prefect.deployments[0].parameters["spec"]["folder"]) not in answer.text


HOSTILE = [
    b"",
    b"not json",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b'{"epochs": NaN}',
    b'{"epochs": Infinity}',
    b'{"epochs": 1, "epochs": 2}',
    b'{"epochs": ' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"epochs":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"epochs": 1} trailing',
    b"payload=%7B%22epochs%22%3A1%7D",
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_body_is_refused(client: TestClient, prefect: MemoryPrefect, body: bytes) -> None:
    before = len(prefect.runs)
    assert post(client, body).status_code == 422 and len(prefect.runs) == before


@pytest.mark.parametrize("body", [b"\xff", b"not json", b"x" * 100])
def test_without_a_map_a_body_need_not_be_json(client: TestClient, body: bytes) -> None:
    assert post(client, body, "plain").status_code == 202


@pytest.mark.parametrize("body", [{}, [], None, 7, {"epochs": None}, {"options": []}])
def test_what_the_body_does_not_say_stays_as_it_is_deployed(
    client: TestClient, prefect: MemoryPrefect, body: Any
) -> None:
    prefect.begin_all()
    assert post(client, body).status_code in (202, 409)
    assert "spec" not in prefect.runs[-1].parameters or prefect.runs[-1].state_name == "Running"


def test_an_expression_that_does_not_fit_the_body_is_refused(client: TestClient) -> None:
    answer = post(client, {"values": "text"}, "summed")
    assert (
        answer.status_code == 422
        and "train.epochs" in answer.text
        and "text" not in answer.text.replace("expression", "")
    )


@pytest.mark.parametrize("body", [{"x": 1}, {"y": 1}])
def test_a_key_of_the_map_that_does_not_exist_is_refused(client: TestClient, body: dict[str, int]) -> None:
    assert post(client, body, "wrong").status_code == 422


@pytest.mark.parametrize(
    "key",
    ["data.source", "model.base", "promote.to", "promote", "workspace", "stores", "triggers.webhook.secrets", "train"],
)
def test_no_other_key_can_be_mapped(key: str) -> None:
    with pytest.raises(ValidationError, match="may not be set from outside"):
        Webhook.model_validate({"scheme": "token", "secrets": ["env:S"], "map": {key: "x"}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["epochs", "rate", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=JSON, key=st.sampled_from([*MAP]))
@settings(max_examples=60, deadline=None)
def test_whatever_a_body_says_changes_nothing_else_or_is_refused(value: Any, key: str, prefect: MemoryPrefect) -> None:
    from contender.spec import Pipeline

    pipeline = Pipeline.model_validate(prefect.deployments[0].parameters["spec"])
    try:
        changed = mapping.with_overrides(pipeline, {key: value})
    except Refused as refused:
        assert refused.status == 422
        return
    left = {"train", "resources", "concurrency"}
    assert changed.spec.model_dump(exclude=left) == pipeline.spec.model_dump(exclude=left)
    assert (changed.folder, changed.suite) == (pipeline.folder, pipeline.suite)
