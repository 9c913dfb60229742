"""Examples in the document hold against the shapes they are examples of."""

import inspect

import pytest
from pydantic import BaseModel

from printfarm_gateway import schemas

SHAPES = [
    shape
    for name in schemas.__all__
    if inspect.isclass(shape := getattr(schemas, name)) and issubclass(shape, BaseModel)
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_examples(shape: type[BaseModel]) -> None:
    extra = shape.model_config.get("json_schema_extra") or {}
    assert isinstance(extra, dict)
    for example in extra.get("examples", []):  # type: ignore[union-attr]
        shape.model_validate(example)
        assert isinstance(example, dict)
        assert set(example) <= set(shape.model_fields)
