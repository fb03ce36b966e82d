"""The option `tune` of earlier versions has no effect, and what they saved can still be read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pydarts
import pytest
from commands import TINY, answered
from conftest import make_arrays, make_config

# Version 1 wrote these with `tune="full"`, where its measurements differed from the rule for groups of edges:
# the result of a search of two epochs, and the checkpoint after the first epoch.
TUNED = Path(__file__).parents[1] / "fixtures" / "tuned"


@pytest.mark.parametrize("value", ["off", "cached", "full", None])
def test_tune_warns_and_is_not_stored(value: str | None) -> None:
    with pytest.warns(DeprecationWarning, match="tune"):
        config = make_config(**{"tune": value})
    assert config == make_config()
    assert "tune" not in config.to_dict() and not hasattr(config, "tune")
    with pytest.warns(DeprecationWarning, match="tune"):
        assert config.replace(**{"tune": value}) == config  # type: ignore[arg-type]


@pytest.mark.filterwarnings("error")
def test_a_configuration_of_an_earlier_version_is_read() -> None:
    text = (TUNED / "result" / "config.json").read_text()
    assert json.loads(text)["tune"] == "full"
    config = pydarts.SearchConfig.from_json(text)
    assert config.channels == 2 and "tune" not in config.to_dict()
    assert pydarts.SearchConfig.from_dict(json.loads(text)) == config


@pytest.mark.filterwarnings("error")
def test_a_result_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    about = json.loads((TUNED / "result" / "result.json").read_text())
    assert set(about["forms"].values()) == {"edges", "grouped"}
    result = pydarts.SearchResult.load(TUNED / "result")
    assert result.status == "complete" and len(result.history) == 2
    result.save(tmp_path / "again")
    assert "forms" not in json.loads((tmp_path / "again" / "result.json").read_text())


@pytest.mark.filterwarnings("error")
def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path: Path) -> None:
    (checkpoint,) = TUNED.glob("*.safetensors")
    assert b"forms" in checkpoint.read_bytes()
    shutil.copy(checkpoint, tmp_path)
    expected = pydarts.SearchResult.load(TUNED / "result")
    config = expected.config.replace(checkpoint_dir=str(tmp_path), resume=True)
    found = pydarts.search(make_arrays(), config)
    assert found.status == "complete" and len(found.history) == 2
    # The groups that version 1 had measured are computed by the rule, which rounds in another order.
    np.testing.assert_allclose(found.alphas["normal"], expected.alphas["normal"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.alphas["reduce"], expected.alphas["reduce"], rtol=0, atol=1e-10)


@pytest.mark.usefixtures("somewhere")
def test_the_command_line_ignores_tune_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "earlier.toml").write_text('tune = "off"\n')
    for given in (("--tune", "off"), ("--config", "earlier.toml")):
        outcome = answered("explain", *TINY[:6], *given)
        assert "tune" in outcome.err and "tune" not in outcome.out
    assert "tune" not in answered("explain", *TINY[:6]).err
    assert "--tune" not in answered("explain", "--help").out
