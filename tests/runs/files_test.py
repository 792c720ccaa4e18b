import json

import pytest

from advknow.runs import files


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    files.write_atomically(path, "old")

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_workdir_that_is_a_file_or_lies_in_one_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        with pytest.raises(ValueError, match=r"workdir=.*is a file or lies in one; a folder"):
            files.make_workdir(path)
    with pytest.raises(ValueError, match="workdir='' is empty"):
        files.make_workdir("")


def test_a_workdir_is_claimed_by_one_configuration(tmp_path):
    config = {"seed": 0, "sources": [{"width": 1.0}, {"width": 0.5}], "pair": (1, 2)}
    files.claim(tmp_path, config)
    files.claim(tmp_path, config)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 0
    other = {**config, "seed": 3, "sources": [{"width": 1.0}, {"width": 0.25}]}
    with pytest.raises(ValueError, match=r"seed: 0 -> 3; sources\[1\].width: 0.5 -> 0.25"):
        files.claim(tmp_path, other)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON"):
        files.claim(tmp_path, config)
