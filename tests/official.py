"""Archives of the official layouts, small, made by the tests, and a local server that misbehaves on demand."""

import http.server
import io
import tarfile
import zipfile
from pathlib import Path

from PIL import Image


def jpeg(width, height, shade=90):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (shade, 120, 50)).save(buffer, format="JPEG")
    return buffer.getvalue()


def mask_png(width, height):
    buffer = io.BytesIO()
    Image.new("L", (width, height), 255).save(buffer, format="PNG")
    return buffer.getvalue()


def tar_bytes(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_archive(path: Path, members):
    """Write a .tar, .tgz or .zip, by its name; a member is bytes or text."""
    members = {name: content.encode() if isinstance(content, str) else content for name, content in members.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def texts(prefix, **files):
    """Return members `prefix/<name>.txt` of lists of lines; the last line has no end, as in the releases."""
    return {f"{prefix}/{name}.txt": "\n".join(lines) for name, lines in files.items()}


BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross")


def cub(folder: Path):
    images, lines = {}, {name: [] for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes")}
    number = 0
    for label, bird in enumerate(BIRDS, 1):
        for i in range(12):
            number += 1
            images[f"CUB_200_2011/images/{bird}/{bird[4:]}_{i}.jpg"] = jpeg(50, 40)
            lines["images"].append(f"{number} {bird}/{bird[4:]}_{i}.jpg")
            lines["image_class_labels"].append(f"{number} {label}")
            lines["train_test_split"].append(f"{number} {i % 2}")
            lines["bounding_boxes"].append(f"{number} 5.7 4.0 {40.0 + i} 20.9")  # some leave the image by a pixel
    lines["classes"] = [f"{label} {bird}" for label, bird in enumerate(BIRDS, 1)]
    write_archive(folder / "CUB_200_2011.tgz", {"attributes.txt": "x", **images, **texts("CUB_200_2011", **lines)})
    val = [f"{bird}/{i}.jpg" for bird in BIRDS for i in (301, 302)]
    write_archive(folder / "CUBV2.tar", {f"CUBV2/{name}": jpeg(60, 45) for name in val})
    released = texts(
        "wsolevaluation-96f4b88/metadata/CUB/val",
        image_ids=val,
        class_labels=[f"{name},{i // 2}" for i, name in enumerate(val)],
        image_sizes=[f"{name},60,45" for name in val],
        localization=[f"{name},1,2,30,40" for name in val],
    )
    write_archive(folder / "wsolevaluation.zip", {"wsolevaluation-96f4b88/README.md": "", **released})


def ilsvrc(folder: Path):
    synsets = ("n01440764", "n01443537")
    train = [f"train/{s}/{s}_{i}.JPEG" for s in synsets for i in range(3)]
    test = [f"val/ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 2)]
    val = [f"val2/{label}/{i}.jpeg" for label in (0, 1) for i in (0, 1)]
    nested = {
        f"{s}.tar": tar_bytes({n.split("/")[-1]: jpeg(50, 40) for n in train if s in n} | {f"{s}_77.JPEG": b"on no list"})
        for s in synsets
    }
    write_archive(folder / "ILSVRC2012_img_train.tar", nested)
    write_archive(folder / "ILSVRC2012_img_val.tar", {name.split("/")[-1]: jpeg(50, 40) for name in test})
    v2 = {f"imagenetv2-threshold0.7/{name[5:]}": jpeg(50, 40) for name in val}
    write_archive(folder / "imagenetv2-threshold0.7.tar.gz", v2)
    released = {}
    for split, ids in (("train", train), ("val", val), ("test", test)):
        labels = [f"{name},{i * 2 // len(ids)}" for i, name in enumerate(ids)]
        boxes = [f"{name},1,2,{20 + k},40" for name in ids for k in (0, 1)] if split != "train" else []
        sizes = [f"{name},50,40" for name in ids] if split != "train" else []
        released |= texts(
            f"w-96f4b88/metadata/ILSVRC/{split}", image_ids=ids, class_labels=labels, image_sizes=sizes, localization=boxes
        )
    released |= texts("w-96f4b88/metadata/ILSVRC/train", image_ids_proxy=train[::3])
    write_archive(folder / "wsolevaluation.zip", released)


def openimages(folder: Path):
    images, masks, released = {}, {}, {}
    for split in ("train", "val", "test"):
        ids = [f"{split}/0bt{k}/{i}.jpg" for k in (0, 1) for i in (0, 1)]
        images |= {f"OpenImages/{name}": jpeg(50, 40) for name in ids}
        lines = []
        for name in ids if split != "train" else ():
            stem = name[:-4]
            lines += [f"{name},{stem}_m_1.png,{stem}_ignore.png", f"{name},{stem}_m_2.png,"]
            masks |= {f"{stem}_{part}.png": mask_png(50, 40) for part in ("m_1", "m_2", "ignore")}
        labels = [f"{name},{i // 2}" for i, name in enumerate(ids)]
        released |= texts(
            f"w/metadata/OpenImages/{split}", image_ids=ids, class_labels=labels, image_sizes=[], localization=lines
        )
    write_archive(folder / "OpenImages_images.zip", images)
    write_archive(folder / "OpenImages_annotations.zip", masks)
    write_archive(folder / "wsolevaluation.zip", released)


RANKS = ("species", "genus", "family", "order", "class", "phylum", "kingdom")
ANIMALS = (
    ("Cyprinus carpio", "Cyprinus", "Cyprinidae", "Cypriniformes", "Actinopterygii", "Chordata", "Animalia"),
    ("Bufo bufo", "Bufo", "Bufonidae", "Anura", "Amphibia", "Chordata", "Animalia"),
)


def inatloc(folder: Path, size=(80, 60), said=("60,80", "80,60")):
    """Write iNatLoc500's archives; `said` are the size columns of each species' images, `size` is the real one."""
    images, released = {}, {}
    names = {rank: list(dict.fromkeys(row[i] for row in ANIMALS)) for i, row_rank in enumerate(RANKS) for rank in [row_rank]}
    for split in ("train", "val", "test"):
        ids = [f"{split}/{row[4]}/{row[0]}/{i}.jpg" for row in ANIMALS for i in range(2)]
        images |= {f"iNatLoc500/{name}": jpeg(*size) for name in ids}
        files = {"image_ids": ids, "image_sizes": [f"{name},{said[i // 2]}" for i, name in enumerate(ids)]}
        files["localization"] = [f"{name},3,4,80,50" for name in ids] if split != "train" else []
        for k, rank in enumerate(RANKS):
            stem = f"class_labels_{rank}" if k else "class_labels"
            files[stem] = [f"{name},{names[rank].index(ANIMALS[i // 2][k])}" for i, name in enumerate(ids)]
        released |= texts(f"metadata_choe/{split}", **files)
    classes = {f"class_names_{r}" if r != "species" else "class_names": names[r] for r in RANKS}
    released |= texts("metadata_choe", **{k: [f"{n},{i}" for i, n in enumerate(v)] for k, v in classes.items()})
    write_archive(folder / "iNatLoc.tar.gz", images)
    write_archive(folder / "metadata_choe.zip", released)


def aircraft(folder: Path):
    planes = (("707-320", "Boeing 707", "Boeing"), ("F-16A/B", "F-16", "Lockheed Martin"))
    files, boxes, images, number = {}, [], {}, 34309
    for split in ("train", "val", "test"):
        for plane in planes:
            for _ in range(2):
                number += 1
                images[f"fgvc-aircraft-2013b/data/images/{number:07d}.jpg"] = jpeg(50, 40)
                boxes.append(f"{number:07d} 1 5 {50 if number % 2 else 30} 20")
                for level, name in zip(("variant", "family", "manufacturer"), plane, strict=True):
                    files.setdefault(f"images_{level}_{split}", []).append(f"{number:07d} {name}")
    members = {**images, **texts("fgvc-aircraft-2013b/data", images_box=boxes, **files)}
    write_archive(folder / "fgvc-aircraft-2013b.tar.gz", members)


OFFICIAL_LAYOUTS = {
    "CUB": cub,
    "ILSVRC": ilsvrc,
    "OpenImages": openimages,
    "iNatLoc500": inatloc,
    "FGVC-Aircraft": aircraft,
}


class FileServer(http.server.BaseHTTPRequestHandler):
    """Serves the files of `folder` and honours Range.

    `breaks` maps a file to how many more answers break off in the middle, `wrong` names files with other bytes, `pages`
    those in whose place a web page comes.
    """

    folder, breaks, wrong, pages, requests = Path(), {}, set(), set(), []

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        wanted = self.headers.get("Range")
        self.requests.append((name, wanted))
        if not (self.folder / name).is_file():
            self.send_error(404)
            return
        content = (self.folder / name).read_bytes()
        if name in self.wrong:
            content = bytes(255 - byte for byte in content)
        body = content[int(wanted.split("=")[1].rstrip("-")) if wanted else 0 :]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", "text/html" if name in self.pages else "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.breaks.get(name, 0):
            self.breaks[name] -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
