"""The workspace of the trials: a small data set, a finished run on it, and valid inputs for every command.

Everything is made here in a few seconds and is always the same. `BASE` has words that each command accepts in this
workspace.
"""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from dataset.layout import Entry, write_metadata
from scripts.trials.common import CHECKOUT, call
from wsol.maps.score_maps import save_score_map

NAME = "Mini"
LEVELS = ("species", "order")
CLASSES = (("ant", "insects"), ("bee", "insects"), ("cat", "mammals"), ("dog", "mammals"))
PER_CLASS = {"train": 3, "val": 2, "test": 2}
SIZE = (48, 40)  # width, height

LEVELS_SPEC = str(CHECKOUT / "scripts/experiments/levels.yaml")

TINY: tuple[str, ...] = ("--dataset_name", NAME, "--architecture", "resnet18")
TINY += ("--pretrained", "FALSE", "--large_feature_map", "TRUE")
TINY += ("--resize_size", "32", "--crop_size", "32", "--batch_size", "4", "--workers", "0", "--bootstrap", "20")
TINY += ("--cam_curve_interval", "0.1")

# Words that each command accepts; a case appends an option (the last one wins) or replaces the name.
BASE = {
    "main.py": (*TINY, "--epochs", "0", "--experiment_name", "new"),
    "evaluation.py": ("--dataset_name", NAME, "--scoremap_root", "maps", "--split", "val", "--bootstrap", "20"),
    "inference.py": ("--checkpoint", "train_log/mini/last_checkpoint.pth.tar", "--scoremap_root", "out", "--workers", "0"),
    "dataset/import_dataset.py": ("Own", "--images", "photos", "--boxes", "boxes.csv"),
    "dataset/prepare.py": ("OxfordPet", "--archive", "archives/images.tar.gz", "archives/annotations.tar.gz"),
    "dataset/add_levels.py": (NAME,),
    "dataset/pseudo_boxes.py": (
        *(NAME, "--proposals", "detections.json", "--reference", "resnet18"),
        *("--pretrained", "FALSE", "--crop_size", "32"),
    ),
    "dataset/build_inatloc.py": (
        *("MyLoc", "--train_json", "train.json", "--boxed_json", "boxed.json", "--no_observations"),
        *("--per_split", "1", "--min_box", "4"),
    ),
    "dataset/wordnet.py": ("synsets.txt", "tree.csv", "--wordnet", "wordnet"),
    "scripts/dataset_tables.py": (NAME,),
    "scripts/plot_dataset.py": (NAME, "--what", "counts", "--out", "plots"),
    "scripts/compare_runs.py": ("mini=train_log/mini",),
    "scripts/sweep.py": (LEVELS_SPEC, "--dry_run", *TINY, "--epochs", "0", "--name", "sweep"),
}


def picture(seed: int, size: tuple[int, int] = SIZE) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Return an RGB image of noise with a bright rectangle, and that rectangle as (x0, y0, x1, y1), inclusive."""
    rng = np.random.default_rng(seed)
    width, height = size
    image = Image.fromarray(rng.integers(0, 120, (height, width, 3), dtype=np.uint8))
    x0, y0 = int(rng.integers(2, width // 3)), int(rng.integers(2, height // 3))
    box = (x0, y0, x0 + width // 2, y0 + height // 2)
    ImageDraw.Draw(image).rectangle(box, fill=tuple(rng.integers(150, 256, 3).tolist()))
    return image, box


def rectangle_mask(box: tuple[int, int, int, int], values: tuple[int, int] = (0, 255)) -> Image.Image:
    """Return a grey image with `values[1]` inside the box and `values[0]` outside."""
    mask = Image.new("L", SIZE, values[0])
    ImageDraw.Draw(mask).rectangle(box, fill=values[1])
    return mask


def make_data(root: Path) -> None:
    """Make the data set Mini below dataset/ and metadata/, with boxes and masks, and maps of its val split below maps/."""
    images = root / "dataset" / NAME
    entries: dict[str, list[Entry]] = {}
    for split, count in PER_CLASS.items():
        entries[split] = []
        for label, names in enumerate(CLASSES):
            for number in range(count):
                image, box = picture(1000 * len(split) + 10 * label + number)
                image_id = f"{split}/{names[0]}/{number}.png"
                mask = f"{split}/{names[0]}/{number}_mask.png"
                (images / image_id).parent.mkdir(parents=True, exist_ok=True)
                image.save(images / image_id)
                rectangle_mask(box).save(images / mask)
                boxes, masks = ([box], [mask]) if split != "train" else ([], [])
                entries[split].append(Entry(image_id, names, SIZE, boxes, masks))
    write_metadata(root / "metadata" / NAME, LEVELS, [list(names) for names in CLASSES], entries)
    rng = np.random.default_rng(0)
    for entry in entries["val"]:
        save_score_map(root / "maps", entry.image_id, rng.random((20, 24)))


def make_photos(root: Path) -> None:
    """Make photos/ with a folder per class, and every kind of annotation that an import takes."""
    boxes, labels = ["image,x0,y0,x1,y1"], ["image,label"]
    coco: dict[str, list[dict[str, object]]] = {"images": [], "annotations": [], "categories": []}
    (root / "voc").mkdir()
    for label, (name, _) in enumerate(CLASSES):
        (root / "photos" / name).mkdir(parents=True)
        (root / "photo_masks" / name).mkdir(parents=True)
        coco["categories"].append({"id": label, "name": name})
        for number in range(6):
            image, box = picture(5000 + 10 * label + number)
            file, key = f"{name}/{number}.jpg", len(coco["images"])
            image.save(root / "photos" / file, quality=92)
            rectangle_mask(box).save(root / "photo_masks" / name / f"{number}.png")
            labels.append(f"{file},{name}")
            coco["images"].append({"id": key, "file_name": file, "width": SIZE[0], "height": SIZE[1]})
            if number < 4:
                boxes.append(",".join([file, *map(str, box)]))
                x0, y0, x1, y1 = box
                each = {"id": key, "image_id": key, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
                coco["annotations"].append(each)
                edges = "".join(f"<{k}>{v + 1}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
                (root / "voc" / name).mkdir(exist_ok=True)
                text = f"<annotation><object><name>{name}</name><bndbox>{edges}</bndbox></object></annotation>"
                (root / "voc" / name / f"{number}.xml").write_text(text)
    (root / "boxes.csv").write_text("\n".join(boxes) + "\n")
    (root / "labels.csv").write_text("\n".join(labels) + "\n")
    (root / "coco.json").write_text(json.dumps(coco))
    (root / "taxonomy.csv").write_text("species,order\n" + "".join(f"{','.join(names)}\n" for names in CLASSES))


def tar(path: Path, members: dict[str, bytes]) -> None:
    """Write a .tar.gz of members (name to content)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def make_archives(root: Path, per_breed: int = 6) -> None:
    """Make archives/ in the official layout of OxfordPet, with two breeds."""
    images, annotations, lines = {}, {}, ["#Image CLASS-ID SPECIES BREED ID"]
    for label, breed in enumerate(("Abyssinian", "beagle"), 1):
        for number in range(1, per_breed + 1):
            image, box = picture(9000 + 100 * label + number)
            buffers = io.BytesIO(), io.BytesIO()
            image.save(buffers[0], "JPEG")
            rectangle_mask(box, (2, 1)).save(buffers[1], "PNG")
            images[f"images/{breed}_{number}.jpg"] = buffers[0].getvalue()
            annotations[f"annotations/trimaps/{breed}_{number}.png"] = buffers[1].getvalue()
            lines.append(f"{breed}_{number} {label} {label} 1")
    annotations["annotations/list.txt"] = "\n".join(lines).encode()
    tar(root / "archives/images.tar.gz", images)
    tar(root / "archives/annotations.tar.gz", annotations)


def make_small_files(root: Path) -> None:
    """Make the files that other options read: iNaturalist-style JSON, WordNet's nouns, lists, ranks, detections."""
    for side, start in (("train", 0), ("boxed", 100)):
        images = [{"id": start + i, "file_name": f"{side}/{i}.jpg", "width": 48, "height": 40} for i in range(4)]
        annotations = [
            {"id": start + i, "image_id": start + i, "category_id": i % 2}
            | ({"bbox": [4, 4, 20, 20]} if side == "boxed" else {})
            for i in range(4)
        ]
        categories = [{"id": i, "name": name} for i, name in enumerate(("Bufo bufo", "Rana arvalis"))]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{side}.json").write_text(json.dumps(content))
    ids = (root / "metadata" / NAME / "val/image_ids.txt").read_text().split()
    (root / "ids.txt").write_text("\n".join(ids[:2]) + "\n")
    (root / "ranks.csv").write_text("image_id,rank\n" + "".join(f"{name},0\n" for name in ids))
    (root / "detections.json").write_text(
        json.dumps([{"image_id": name, "category_id": 0, "bbox": [5, 5, 20, 20], "score": 0.5} for name in ids])
    )
    (root / "coarsening.csv").write_text("class,k\n" + "".join(f"{names[0]},1\n" for names in CLASSES))
    (root / "rejected.csv").write_text(f"image,reason\n{ids[0]},close_up\n")
    (root / "options.yaml").write_text("dataset_name: Mini\nepochs: 0\n")
    (root / "wordnet").mkdir()
    nouns = ["00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | all"]
    nouns += [
        f"0000000{i} 05 n 01 {word} 0 001 @ 0000000{up} n 0000 | one" for i, word, up in ((2, "animal", 1), (3, "fish", 2))
    ]
    nouns += ["00000004 05 n 01 bird 0 001 @ 00000002 n 0000 | one"]
    (root / "wordnet/data.noun").write_text("  1 Copyright\n" + "\n".join(nouns) + "\n")
    (root / "synsets.txt").write_text("n00000003\nn00000004\n")


def enlarge(root: Path, count: int = 4000) -> None:
    """Replace val by `count` links to one image and its map, with long names: scoring and mapping then take seconds, and
    the ids overflow a pipe's buffer."""
    split, ids = root / "metadata" / NAME / "val", [f"val/ant/more_{i:05d}_{'x' * 40}.png" for i in range(count)]
    for path in split.glob("*.txt"):
        fields = path.read_text().split("\n", 1)[0].split(",")[1:]
        path.write_text("".join(",".join([image_id, *fields]) + "\n" for image_id in ids))
    (split / "masks.txt").unlink()
    for image_id in ids:
        os.link(root / "dataset" / NAME / "val/ant/0.png", root / "dataset" / NAME / image_id)
        os.link(root / "maps/val/ant/0.png.npy", root / "maps" / f"{image_id}.npy")
    for path in (root / "maps").rglob("[0-9].png.npy"):
        path.unlink()


def make_workspace(root: Path, run: bool = True) -> Path:
    """Make everything under `root` and return it; `run`: include a finished run, train_log/mini."""
    root.mkdir(parents=True)
    make_data(root)
    make_photos(root)
    make_archives(root)
    make_small_files(root)
    if run:
        words = [*TINY, "--epochs", "1", "--experiment_name", "mini"]
        code, output = call("main.py", words, root)
        if code:
            raise RuntimeError(f"the training run that the trials need failed:\n{output}")
    os.mkfifo(root / "fifo")
    return root
