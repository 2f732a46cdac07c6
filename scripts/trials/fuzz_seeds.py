"""Valid files of every kind, from which fuzz.py makes its inputs."""

import io
import json
import tarfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from scripts.trials import fuzz_torch, workspace
from scripts.trials.wrong_pictures import encoded
from wsol.maps.score_maps import save_score_map
from wsol.metrics.images_file import write_images

Files = dict[str, bytes]  # relative path to content


@cache
def workspace_files() -> Files:
    """Return the files of the trials' workspace, without a run."""
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        for make in (workspace.make_data, workspace.make_photos, workspace.make_archives, workspace.make_small_files):
            make(root)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def taken(*names: str) -> list[Files]:
    """Return each file of the workspace as an input of its own, called `file` with its extension."""
    return [{f"file{Path(name).suffix}": workspace_files()[name]} for name in names]


def below(folder: str) -> list[Files]:
    """Return the text files below a folder of the workspace as one input."""
    found = workspace_files().items()
    return [{name: data for name, data in found if name.startswith(f"{folder}/") and not name.endswith((".png", ".jpg"))}]


def files(suffix: str, *contents: bytes | str) -> list[Files]:
    """Return each content as an input of its own, called `file` with the suffix."""
    return [{f"file{suffix}": one if isinstance(one, bytes) else one.encode()} for one in contents]


@cache
def pictures() -> list[Files]:
    """Return pictures of many formats, with orientations and profiles."""
    image, _ = workspace.picture(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    made: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", image, {"exif": exif.tobytes(), "quality": 90}),
        ("JPEG", image.convert("L"), {"progressive": True}),
        ("JPEG", image.convert("CMYK"), {}),
        *(("PNG", image.convert(mode), {}) for mode in ("RGB", "L", "P", "RGBA", "1", "I;16")),
        ("PNG", image, {"exif": exif.tobytes(), "icc_profile": bytes(200)}),
        ("BMP", image, {}),
        ("GIF", image.convert("P"), {}),
        ("PPM", image, {}),
        *(("TIFF", image, {"compression": how}) for how in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
        ("TIFF", image.convert("I;16"), {}),
        ("TIFF", image, {"exif": exif.tobytes()}),
        ("WEBP", image, {"exif": exif.tobytes()}),
        ("WEBP", image, {"lossless": True}),
        *((kind, image, {}) for kind in ("TGA", "ICO", "ICNS", "PCX", "SGI", "DDS", "JPEG2000", "EPS", "AVIF", "MPO")),
    ]
    found: list[Files] = []
    for kind, picture, options in made:
        try:
            found += files(".png", encoded(picture, kind, **options))
        except (OSError, KeyError, ValueError):  # Pillow was built without this format
            continue
    return found


def masks() -> list[Files]:
    """Return masks of many formats."""
    mask = workspace.rectangle_mask((5, 5, 30, 30))
    made = [("PNG", mask.convert(mode)) for mode in ("L", "1", "P", "RGB", "RGBA")]
    made += [(kind, mask) for kind in ("BMP", "TIFF", "GIF", "PPM", "JPEG", "WEBP", "JPEG2000")]
    return [one for kind, image in made for one in files(".png", encoded(image, kind))]


@cache
def score_maps(kind: str) -> list[Files]:
    """Return score maps of one format."""
    array = np.random.default_rng(0).random((20, 24))
    arrays: list[np.ndarray] = [array, array.astype(np.float32), np.asfortranarray(array), array.astype(np.float16)]
    found = []
    with TemporaryDirectory() as folder:
        for one in arrays:
            save_score_map(folder, "file", one, kind)
            found.append({path.name: path.read_bytes() for path in Path(folder).iterdir()})
    return found


FIGURES = {
    "MaxBoxAcc": {"30": 60.0, "50": 50.0, "70": 10},
    **{"MaxBoxAccV2": 40.0, "gt_known_loc": 50.0, "top1_loc": 40.0, "top5_loc": 45.0, "top1_cls": 60, "top5_cls": 90.0},
    **{"PxAP": 44.0, "best_threshold": {"30": 0.1, "50": 0.2, "70": 0.3}, "box_rule": "multi_contour"},
    **{"MaxBoxAcc_at_val_threshold": {"50": 49.0}, "counts": {"images": 8}},
    "intervals": {"MaxBoxAcc": {"50": [40.0, 60.0]}, "top1_cls": [50.0, 70.0]},
}


RESULTS = {
    **{"dataset_name": "Mini", "label_level": "species", "num_classes": 4, "cam_curve_interval": 0.1},
    **{"fullsup_images": {"val": 8}, "val": FIGURES, "test": FIGURES},
}


RECORD = {
    **{"format": 1, "state": "finished", "host": "a", "process": 3, "seconds": {"train": 1.0}, "wall_seconds": 2.0},
    **{
        "peak_memory_bytes": 5,
        "device": "cpu",
        "versions": {"torch": "2"},
        "progress": "epoch 1",
        "error": None,
        "start": "now",
    },
}


RUN = "experiment_name: a\nwsol_method: cam\narchitecture: resnet18\nseed: 0\nlr: 0.1\neval_test: true\n"


RUN += "dataset_name: Mini\nlabel_level: species\ncam_agg_level: null\niou_threshold_list: [30, 50, 70]\n"


TEST = {"point": "p", "chosen": "lr 0.1", "seed": 0, "sha256": "0", "intended": "now", "opened": "now", "marks": ["m"]}


PROTOCOL = {
    **{"format": 1, "name": "s", "spec": {"options": {"lr": "0.1"}}, "levels_alike": {"Mini": {"genus": "species"}}},
    "choices": {
        "p": {
            **{"options": {"lr": 0.1}, "run": "a", "figure": "MaxBoxAccV2", "candidates": {"a": 40.0, "b": 30.0}},
            **{"fullsup_images": 8, "fullsup_boxes": 8, "fullsup_masks": 8},
        }
    },
    **{"reported": {"a": "p"}, "test": {"seeds": [0], "runs": {"a": TEST}}, "created": "now"},
}


SPEC = """name: s
options: {epochs: 1, iou_threshold_list: [30, 50]}
vary:
  wsol_method: [cam, has]
  label_level: all
cases:
  - where: {wsol_method: has}
    options: {has_grid_size: 2}
choose:
  random: {draws: 3, seed: 1, ranges: {lr: {log_uniform: [0.001, 0.1]}, adl_threshold: {uniform: [0, 1]}}}
  figure: MaxBoxAccV2
report:
  - seeds: [0, 1]
    where: {label_level: finest}
    vary: {weight_decay: [0, 0.1]}
run: {jobs: 2, submitit: {cluster: slurm, timeout_min: 60}}
"""


GRID = "options: {pretrained: false}\nchoose:\n  grid: {lr: [0.1, 0.01]}\n  seed: 3\nreport:\n- cam_agg_levels: [order]\n"


def sweeps() -> list[Files]:
    """Return a sweep with two runs."""
    run = {
        "config.yaml": RUN.encode(),
        "results.json": json.dumps(RESULTS).encode(),
        "run.json": json.dumps(RECORD).encode(),
    }
    files = {f"s/{name}/{file}": data for name in "ab" for file, data in run.items()}
    del files["s/b/results.json"]
    files["s/b/results.json"] = json.dumps({**RESULTS, "test": None}).encode()
    return [{**files, "s/protocol.json": json.dumps(PROTOCOL).encode()}]


@cache
def images_files() -> list[Files]:
    """Return what an evaluator of boxes has saved."""
    with TemporaryDirectory() as folder:
        write_images(Path(folder, "file.npz"), fuzz_torch.evaluator(scored=True), 0.5)
        return files(".npz", Path(folder, "file.npz").read_bytes())


def tensors() -> list[Files]:
    """Return a .safetensors file."""
    return files(".safetensors", safetensors.torch.save({"conv1.weight": torch.ones(2, 3), "a": torch.zeros(1)}))


CUB = {
    "images.txt": b"1 001.ant/a.jpg\n2 002.bee/b.jpg\n",
    "classes.txt": b"1 001.ant\n2 002.bee\n",
    "train_test_split.txt": b"1 1\n2 0\n",
    "image_class_labels.txt": b"1 1\n2 2\n",
    "bounding_boxes.txt": b"1 60.0 27.0 325.0 304.0\n2 1.0 2.0 3.0 4.0\n",
}


TINY = {
    "words.txt": b"n01443537\tgoldfish\nn01629819\tsalamander\n",
    "wnids.txt": b"n01443537\nn01629819\n",
    "val_annotations.txt": b"val_0.JPEG\tn01443537\t0\t32\t44\t62\nval_1.JPEG\tn01629819\t1\t2\t3\t4\n",
}


def tar() -> bytes:
    """Return a .tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, size in (("images/a_1.jpg", 700), ("m/val/image_ids.txt", 3), ("m/val/class_labels.txt", 9), ("x.txt", 0)):
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(b"a\n" * size))
    return buffer.getvalue()


ZIPPED = [("images/a_1.jpg", b"x" * 700), ("m/val/image_ids.txt", b"a\n"), ("m/val/class_labels.txt", b"a,0\n"), ("b/", b"")]


EDGES = "filename,width,height,class,xmin,ymin,xmax,ymax\nant/0.jpg,48,40,ant,1,2,20,30\nbee/1.jpg,48,40,bee,1,2,20,30\n"


LABELS = "sep=;\nimage;label;order;group\nant/0.jpg;ant;insects;g\nbee/1.jpg;bee;insects;\ncat/2.jpg;cat;mammals;h\n"


def tables() -> list[Files]:
    """Return tables of labels, boxes and taxonomies."""
    return [*taken("labels.csv", "boxes.csv", "taxonomy.csv"), *files(".csv", EDGES, LABELS, LABELS.encode("utf-16"))]


NOTED = "# from somewhere\nchild,parent\nant,insect\nbee,insect\ncat,mammal\ninsect,animal\nmammal,animal\n"


TIERS = "species,order\nant,insects\nbee,insects\ncat,mammals\n"


VERDICTS = "file_name,species,observation,x0,y0,x1,y1,verdict\na.jpg,ant,3,1,2,3,4,keep\n"


def is_png(files: Files) -> bool:
    """Return whether an input of one file is a PNG."""
    return next(iter(files.values())).startswith(b"\x89PNG")


def both(content: object) -> tuple[bytes, bytes]:
    """Return the bytes of a file of torch.save, of today's format and of the one before."""
    return fuzz_torch.saved(content), fuzz_torch.saved(content, legacy=True)
