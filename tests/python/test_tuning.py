"""Forms of groups: measured on the device, cached, shown, and kept by checkpoints and results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydarts
import pytest
from conftest import make_arrays, make_config
from pydarts._search.progress import Progress


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own; its file."""
    monkeypatch.setenv("PYDARTS_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "forms.json"


def kept(cache: Path) -> dict[str, str]:
    """What the cache knows of the only setting it was used for."""
    (forms,) = json.loads(cache.read_text()).values()
    return dict(forms)


def test_a_full_tuning_measures_every_group_once_and_keeps_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Progress, "tuning", lambda self, site, done, total: seen.append(f"{done}/{total}"))
    config = make_config(epochs=1, tune="full", progress=True)
    first = pydarts.search(make_arrays(), config)
    assert seen == [f"{done}/{len(first.forms)}" for done in range(len(first.forms))]
    assert first.forms == kept(cache) and set(first.forms.values()) <= {"edges", "grouped"}
    assert all("sep_conv_3x3" in site for site in first.forms)
    seen.clear()
    again = pydarts.search(make_arrays(), config.replace(progress=True))
    assert not seen and again.forms == first.forms
    np.testing.assert_array_equal(again.alphas["normal"], first.alphas["normal"])


def test_a_tuning_that_is_stopped_keeps_what_it_measured(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Progress, site: str, done: int, total: int) -> None:
        assert total > 2
        if done == 2:
            raise RuntimeError("enough")

    monkeypatch.setattr(Progress, "tuning", stop)
    config = make_config(tune="full", progress=True)
    with pytest.raises(RuntimeError, match="enough"):
        pydarts.search(make_arrays(), config)
    assert len(kept(cache)) == 2


def flipped(cache: Path, config: pydarts.SearchConfig) -> dict[str, str]:
    """Tunes, then turns every choice in the cache around."""
    pydarts.search(make_arrays(), config.replace(epochs=1, tune="full", checkpoint_dir=None))
    ((setting, forms),) = json.loads(cache.read_text()).items()
    turned = {site: "edges" if form == "grouped" else "grouped" for site, form in forms.items()}
    cache.write_text(json.dumps({setting: turned}))
    return turned


def test_cached_forms_are_taken_shown_and_do_not_change_the_search(cache: Path) -> None:
    config = make_config(epochs=1, precision="float64")
    turned = flipped(cache, config)
    cached, off = (pydarts.search(make_arrays(), config.replace(tune=tune)) for tune in ("cached", "off"))
    assert cached.forms == turned and off.forms.keys() == turned.keys()
    np.testing.assert_allclose(cached.alphas["normal"], off.alphas["normal"], rtol=0, atol=1e-10)
    net = pydarts.Supernet(
        config=config.replace(num_classes=4, in_channels=1, image_size=8), dtype="float64", device="cpu"
    )
    for site, form in turned.items():
        assert any(form in line and site in line for line in net.explain().splitlines()), site


def test_a_resumed_search_keeps_the_forms_it_began_with(cache: Path, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"checkpoint_dir": str(tmp_path / "run"), "resume": True}
    config = make_config(epochs=3)
    turned = flipped(cache, config)
    whole = pydarts.search(make_arrays(), config)
    pydarts.search(make_arrays(), config.replace(epochs=1, **fields))
    cache.unlink()
    with pytest.warns(UserWarning, match="epochs"):
        resumed = pydarts.search(make_arrays(), config.replace(tune="off", **fields))
    assert resumed.forms == turned == whole.forms


def test_tune_off_neither_reads_nor_writes_the_cache(cache: Path) -> None:
    pydarts.search(make_arrays(), make_config(epochs=1, tune="off"))
    assert not cache.exists()


def test_an_unknown_way_to_tune_is_refused() -> None:
    with pytest.raises(pydarts.ConfigError, match="cached"):
        make_config(tune="cach")


def test_a_cache_that_cannot_be_written_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PYDARTS_CACHE_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="PYDARTS_CACHE_DIR") as seen:
        result = pydarts.search(make_arrays(), make_config(epochs=1, tune="full"))
    assert len(seen) == 1 and result.status == "complete" and result.forms
