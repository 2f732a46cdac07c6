"""What the fuzz trial (scripts/trials/fuzz.py), and the reading of readers for it, has found: each with its file."""

import io
import json
import struct
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from config import training_groups
from dataset import aircraft, cub, tiny_imagenet, wordnet
from dataset.sources import extract
from samples import write_png
from scripts.trials import fuzz_torch
from wsol.core.errors import MOST_PRINTED, InputError, MetadataError, OptionName, plain_warning
from wsol.core.flat_yaml import read_dumped
from wsol.core.nested_yaml import read_nested_yaml
from wsol.core.options import by_name
from wsol.core.safe_load import UnsafeFileError, load_tensors
from wsol.data.hierarchy import check_level_names
from wsol.data.images import load_image
from wsol.maps.score_maps import read_score_map
from wsol.metrics.images_file import read_images
from wsol.runs.checkpoints import read_checkpoint
from wsol.runs.results import read_results
from wsol.runs.resume import load_state, read_to_resume
from wsol.runs.run_record import read_record
from wsol.runs.train_state import to_arrays
from wsol.sweeps.protocol import read_protocol
from wsol.sweeps.spec import read_spec

DIGITS = "9" * 5000


def _saved(content, path, legacy=False):
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path.read_bytes()


def _with_pickle(data, change):
    """A file of torch.save with its pickle changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info.filename, change(content) if info.filename.endswith("data.pkl") else content)
    return buffer.getvalue()


def test_a_message_can_neither_fill_nor_change_a_terminal():
    error = InputError("a.csv: \x1b[2J\x9b\u202e\n" + "x" * 10**6 + "; expected ", OptionName("lr"))
    said = error.on_command_line()
    assert said.startswith("a.csv: \\x1b[2J\\x9b\\u202e\nxxx") and said.endswith("xxx; expected --lr")
    assert len(said) == MOST_PRINTED and " ... (1000040 characters) ... " in said
    assert len(InputError("\x1b" * 10**5).on_command_line()) == MOST_PRINTED
    assert plain_warning("a\x1b[2J") == "WARNING: a\\x1b[2J\n"
    assert InputError("ä\t日本 é\n").on_command_line() == "ä\t日本 é\n"


@pytest.mark.parametrize("legacy", [False, True])
def test_a_long_text_where_torch_expects_another_thing_does_not_take_minutes(legacy, tmp_path):
    path = tmp_path / "a.pth"
    data = _saved({"a": torch.ones(2)}, path, legacy)
    name = b"torch\n" + b"x" * 150_000
    for old in (b"torch._utils\n_rebuild_tensor_v2", b"torch\nFloatStorage"):
        path.write_bytes(
            data.replace(old, name) if legacy else _with_pickle(data, lambda one, old=old: one.replace(old, name))
        )
        with pytest.raises(UnsafeFileError, match="is damaged"):  # of minutes, in torch's own search of its message
            load_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_cannot_declare_more_than_it_has(legacy, tmp_path):
    path = tmp_path / "a.pth"
    data = _saved({"a": torch.ones(7), "b": "12345678"}, path, legacy)
    assert load_tensors(path)["a"].tolist() == [1.0] * 7
    more = b"J" + struct.pack("<i", 2**31 - 1)  # 8 GB of numbers

    def declared(one):
        return one.replace(b"K\x07", more)

    def text(one):
        return one.replace(struct.pack("<I", 8) + b"12345678", struct.pack("<I", 2**31) + b"12345678")

    def maker(one):
        return one.replace(b"ccollections\nOrderedDict\n", b"cbuiltins\nbytearray\n")

    for change in (declared, text, maker):
        changed = change(data) if legacy else _with_pickle(data, change)
        assert changed != data
        path.write_bytes(changed)
        with pytest.raises(UnsafeFileError, match="is damaged"):
            load_tensors(path)


ONE = torch.ones(2, 3)


@pytest.mark.parametrize("value", [ONE.to_sparse(), ONE.to("meta"), ONE.bfloat16(), [{"a": ONE.to(torch.complex64)}]])
def test_counts_in_a_checkpoint_have_numpys_kinds_of_numbers(value, tmp_path):
    content = fuzz_torch.checkpoint()
    content["validation"]["last"]["counts"]["images"]["boxes"] = value
    path = tmp_path / "a.pth.tar"
    _saved(content, path)
    with pytest.raises(InputError, match=r"a\.pth\.tar: validation is a dict of 1; expected"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", [None, "iou_threshold_list", "format"])
def test_a_checkpoint_is_continued_from_and_arrays_among_its_settings_are_other_settings(name, tmp_path):
    path = tmp_path / "a.pth.tar"
    for change in {False, name is not None}:
        content = fuzz_torch.checkpoint()
        counts = content["validation"]["last"]["counts"]
        if change and name == "format":
            counts[name] = torch.ones(2)
        elif change:
            counts["settings"][name] = [ONE, ONE]
        _saved(content, path)
        state = fuzz_torch.train_state()
        load_state(state, read_to_resume(str(path), tmp_path))
        evaluator = fuzz_torch.evaluator(scored=False)
        counts = to_arrays(state.validation["last"].counts)
        if change:
            with pytest.raises(InputError, match=f"counts (for|of) {name}"):
                evaluator.load_state_dict(counts)
        else:
            evaluator.load_state_dict(counts)
            assert evaluator.results() == fuzz_torch.evaluator(scored=True).results()


@pytest.mark.parametrize("wrong", [{"state": 0.5}, {"param_groups": 3}, {"param_groups": [None]}])
def test_an_optimiser_that_is_none_is_refused(wrong, tmp_path):
    path = tmp_path / "a.pth.tar"
    content = fuzz_torch.checkpoint()
    content["optimizer"] |= wrong
    _saved(content, path)
    with pytest.raises(InputError, match=r"a\.pth\.tar: its optimiser does not fit the network"):
        load_state(fuzz_torch.train_state(), read_to_resume(str(path), tmp_path))


def test_only_files_of_torch_are_given_to_torch(tmp_path):
    path = tmp_path / "a.pth"
    with tarfile.open(path, "w") as archive:  # torch would unpack one of before 2017 to a temporary folder
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(UnsafeFileError, match="does not start as"):
        load_tensors(path)


def test_an_image_that_pillow_would_give_to_another_program_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", None)
    monkeypatch.setattr(subprocess, "Popen", None)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", "EPS")
    with pytest.raises(InputError, match=r"a\.png: not a readable image \(in a format"):
        load_image(tmp_path / "a.png")


def test_an_image_within_an_icon_is_not_decoded_before_its_size_is_known(tmp_path):
    write_png(tmp_path / "inner.png", 60_000, 60_000)
    inner = (tmp_path / "inner.png").read_bytes()
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22)
    (tmp_path / "a.png").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + inner)
    with pytest.raises(InputError, match=r"a\.png: not a readable image \(in a format"):
        load_image(tmp_path / "a.png")


def test_a_map_that_declares_more_than_its_file_has_is_not_made_room_for(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((9000, 9000), np.float16))
    path.write_bytes(path.read_bytes()[:1000])
    monkeypatch.setattr(np, "empty", None)
    with pytest.raises(InputError, match=r"a\.npy: not a readable .*\(872 of 162000000 bytes, the rest is cut off"):
        read_score_map(path)


def test_a_sparse_member_of_an_archive_is_refused(tmp_path):
    info = tarfile.TarInfo("images/a.jpg")
    info.pax_headers = {"GNU.sparse.size": "9" * 15, "GNU.sparse.map": "0,1"}  # a petabyte of zeros
    info.size = 1
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(InputError, match=r"a\.tar: its member 'images/a\.jpg' is a sparse file"):
        extract(tmp_path / "a.tar", tmp_path / "out", str)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [".", "./."])
def test_a_member_of_an_archive_cannot_stand_for_the_folder(name, tmp_path):
    info = tarfile.TarInfo(name)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(InputError, match=r"a\.tar: its member .* points outside"):
        extract(tmp_path / "a.tar", tmp_path / "out", str)
    assert not (tmp_path / "out").exists()


def test_a_name_in_an_archive_that_is_no_text_is_damage(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("é.jpg", b"x")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(InputError, match=r"a\.zip: damaged or unreadable"):
        extract(path, tmp_path / "out", str)


def test_numbers_of_thousands_of_digits_in_official_lists_are_refused(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(f"1 1 1 1 {DIGITS}\n")
    with pytest.raises(InputError, match=r"list\.txt:1: "):
        aircraft._boxes(path)
    path.write_text(f"a.JPEG\tn01\t1\t1\t1\t{DIGITS}\n")
    with pytest.raises(InputError, match=r"list\.txt:1: "):
        tiny_imagenet.read_annotations(path, {"n01": "x"})
    path.write_text(f"00000001 03 n 01 a 0 {'9' * 12} @ 00000002 n 0000 | x\n")
    with pytest.raises(InputError, match=r"list\.txt:1: not a line"):
        wordnet.read_nouns(path)
    texts = ("1 a/b.jpg", "1 a", "1 1", "1 1", f"1 {'9' * 400} 1 1 1")
    for name, text in zip(cub.TEXTS, texts, strict=True):
        (tmp_path / name).write_text(f"{text}\n")
    with pytest.raises(InputError, match=r"bounding_boxes\.txt:1: "):
        cub.read_annotations(tmp_path)


def test_many_synsets_do_not_take_minutes(tmp_path):
    synsets = [f"n{i:08d}" for i in range(60_000)]
    (tmp_path / "wnids.txt").write_text("\n".join(synsets))
    (tmp_path / "words.txt").write_text(f"{synsets[0]}\tcat\n{synsets[1]}\tcat\n")
    names = tiny_imagenet.read_names(tmp_path)  # each name was counted for itself
    assert list(names.items())[:2] == [(synset, f"cat ({synset})") for synset in synsets[:2]]
    assert list(names.values())[2:] == synsets[2:]


@pytest.mark.parametrize(
    "text", ["a: =\n", "<<: a\n", f"a: {'1:' * 200}1.5\n", "1: a\n", "2001-01-01: a\n", "a: 2001-99-99\n"]
)
def test_values_that_yaml_does_not_build_are_refused_in_configurations(text, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml: "):
        read_dumped(path)


@pytest.mark.parametrize("text", ['a: "\\Uffffffff"\n', "%YAML 9" + DIGITS + ".1\n---\na: b\n"])
def test_escapes_and_numbers_that_python_refuses_are_refused_in_specs(text, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"spec\.yaml"):
        read_nested_yaml(path)


def test_a_number_of_thousands_of_digits_for_the_cluster_stays_text(tmp_path):
    (tmp_path / "s.yaml").write_text(f"run: {{submitit: {{cluster: slurm, timeout_min: {DIGITS}, nodes: 2}}}}\n")
    submitit = read_spec(tmp_path / "s.yaml", by_name(training_groups())).run.submitit
    assert submitit == {"cluster": "slurm", "timeout_min": DIGITS, "nodes": 2}


@pytest.mark.parametrize(("interval", "ious"), [(1e-12, [50]), (0.1, [0]), (0.1, [1e9])])
def test_the_settings_in_a_file_of_images_are_those_of_an_evaluator(interval, ious, tmp_path):
    header = {"format": 1, "settings": {"cam_curve_interval": interval, "iou_threshold_list": ious}}
    np.savez(tmp_path / "a.npz", header=np.array(json.dumps(header)), image_id=np.array(["a"]))
    with pytest.raises(InputError, match=r"a\.npz: no valid settings"):
        read_images(tmp_path / "a.npz")


def test_letters_that_unicode_does_not_have_are_refused(tmp_path):
    header = {"format": 1, "settings": {"cam_curve_interval": 0.1, "iou_threshold_list": [50]}}
    ids = np.array([0x7FFFFFFF], np.uint32).view("<U1")
    np.savez(tmp_path / "a.npz", header=np.array(json.dumps(header)), image_id=ids)
    with pytest.raises(InputError, match=r"a\.npz: not a readable file of images"):
        read_images(tmp_path / "a.npz")


def test_results_hold_numbers_and_names(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"val": {"MaxBoxAcc": {"30": 10**308, "50": 10**308}, "counts": {"images": 1}}}))
    assert read_results(path).split("val").find("mean_MaxBoxAcc").value == float("inf")
    for content in ({"dataset_name": [1]}, {"label_level": {}}):
        path.write_text(json.dumps({**content, "val": {"top1_cls": 1.0}}))
        with pytest.raises(InputError, match=r"results\.json: (dataset_name|label_level) is "):
            read_results(path).rows()
    path.write_text(json.dumps({"fullsup_images": {"val": "x"}}))
    with pytest.raises(InputError, match=r"results\.json\.fullsup_images\.val is 'x'"):
        _ = read_results(path).fullsup_images
    (tmp_path / "run.json").write_text(
        json.dumps({"state": "failed", "wall_seconds": 1, "seconds": {}, "start": "now", "versions": [1]})
    )
    with pytest.raises(InputError, match=r"run\.json: "):
        read_record(tmp_path)


RUN = {"point": "p", "chosen": "x", "seed": 0, "sha256": "0", "intended": "now", "opened": None, "marks": []}
PROTOCOL = {
    "format": 1,
    "name": "s",
    "spec": {},
    "levels_alike": {"A": {"b": "c"}},
    "reported": {"r": "p"},
    "choices": {"p": {"candidates": {"r": 1.0}}},
    "test": {"seeds": [0], "runs": {"r": RUN}},
}


def test_every_part_of_a_sweeps_record_that_is_read_is_checked(tmp_path):
    def write(**changes):
        content = {**PROTOCOL, **changes}
        (tmp_path / "protocol.json").write_text(json.dumps({k: v for k, v in content.items() if v != "absent"}))

    write()
    assert read_protocol(tmp_path).role("r") == "reported"
    wrong = [{"levels_alike": {"A": "b"}}, {"reported": {"r": ["p"]}}, {"test": "absent"}]
    wrong += [
        {"choices": {"p": {"candidates": {}, "options": "x"}}},
        {"choices": {"p": {"candidates": {}, "fullsup_images": "x"}}},
    ]
    for name, value in (("marks", [1]), ("marks", "ab"), ("chosen", None), ("seed", "0"), ("sha256", 1)):
        wrong.append({"test": {"seeds": [0], "runs": {"r": {**RUN, name: value}}}})
    for changes in wrong:
        write(**changes)
        with pytest.raises(InputError, match=r"protocol\.json: "):
            read_protocol(tmp_path)


def test_a_levels_name_fits_into_the_name_of_a_file():
    check_level_names(["é" * 100], ["here"])
    with pytest.raises(MetadataError, match=r"here: .*200 bytes"):
        check_level_names(["é" * 101], ["here"])
