import sys
from importlib.metadata import EntryPoint

import pytest

from wsol.core import registry
from wsol.core.errors import InputError


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_name_is_found(kind):
    assert all(callable(registry.find(kind, name)) for name in registry.names(kind))


def test_an_unknown_name_is_told_which_there_are():
    with pytest.raises(InputError, match=r"'gradcan' is not one of the mappers: .*; did you mean gradcam\?"):
        registry.find("mappers", "gradcan")
    with pytest.raises(InputError, match=r"'crf' is not one of the refiners: grabcut, proposals"):
        registry.find("refiners", "crf")
    with pytest.raises(InputError, match=r"'method' is not a kind of the registry; expected one of architectures, methods"):
        registry.names("method")


def test_a_mistyped_entry_is_named(monkeypatch):
    for entry in ("wsol.maps.nowhere:mapper", "wsol.maps.mapper:nothing", "no module:x"):
        monkeypatch.setitem(registry.MAPPERS, "mistyped", entry)
        with pytest.raises(InputError, match=f"the registry's entry '{entry}' cannot be loaded: "):
            registry.find("mappers", "mistyped")


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """A package that registers a mapper, and one under a name that we have."""
    (tmp_path / "otherpackage.py").write_text("def negative(model, ancestors=None):\n    return ('negative', model)\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = {
        "wsol.mappers": [EntryPoint(name, "otherpackage:negative", "wsol.mappers") for name in ("negative", "gradcam")]
    }
    monkeypatch.setattr("wsol.core.registry.entry_points", lambda group: points.get(group, []))
    registry.of_other_packages.cache_clear()
    yield
    registry.of_other_packages.cache_clear()
    sys.modules.pop("otherpackage", None)


def test_another_packages_mapper_is_listed_and_found_but_takes_no_name_of_ours(other_package):
    assert registry.names("mappers")[-1] == "negative" and registry.names("methods") == tuple(registry.METHODS)
    assert registry.find("mappers", "negative")("model") == ("negative", "model")
    assert "torchcam" in str(registry.find("mappers", "gradcam"))
