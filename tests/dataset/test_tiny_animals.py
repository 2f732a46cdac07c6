import zipfile

from conftest import CHECKOUT, run
from dataset import tiny_animals
from official import jpeg
from wsol.data.hierarchy import read_tree
from wsol.data.levels import read_hierarchy


def write_tiny_archive(path, synsets):
    """Write an archive of TinyImageNet's layout with two images of every synset in train, and in val/."""
    image = jpeg(16, 16)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny-imagenet-200/wnids.txt", "\n".join(synsets))
        archive.writestr("tiny-imagenet-200/words.txt", "".join(f"{synset}\tname\n" for synset in synsets))
        lines = []
        for i, synset in enumerate(2 * synsets):
            lines.append(f"val_{i}.JPEG\t{synset}\t0\t0\t9\t9\n")
            archive.writestr(f"tiny-imagenet-200/val/images/val_{i}.JPEG", image)
            archive.writestr(f"tiny-imagenet-200/train/{synset}/images/{synset}_{i}.JPEG", image)
        archive.writestr("tiny-imagenet-200/val/val_annotations.txt", "".join(lines))


def test_tiny_animals_takes_the_animals_alone(tmp_path):
    animals = list(tiny_animals.taxonomy())
    write_tiny_archive(tmp_path / "tiny.zip", [*animals, "n00000001"])
    printed = run("dataset/prepare.py", "TinyAnimals", "--archive", "tiny.zip", cwd=tmp_path)
    for line in ("category: 59", "order: 35", "class: 14", "phylum: 5", "train: 118", "val: 59", "test: 59"):
        assert line in printed
    assert not list((tmp_path / "dataset/TinyAnimals").rglob("*n00000001*"))
    assert len(list((tmp_path / "dataset/TinyAnimals").rglob("*.JPEG"))) == 4 * 59
    hierarchy = read_hierarchy(tmp_path / "metadata/TinyAnimals")
    assert (len(hierarchy.leaves), hierarchy.ancestor("lesser panda", 2)) == (59, "Mammalia")
    write_tiny_archive(tmp_path / "less.zip", animals[1:])
    refused = run("dataset/prepare.py", "TinyAnimals", "--archive", "less.zip", cwd=tmp_path, code=2)
    assert "1 synsets are not in wnids.txt:\n  n01443537" in refused


def test_the_animals_are_those_of_wordnet():
    tree = read_tree(CHECKOUT / "metadata/hierarchies/tiny_imagenet_tree.csv")
    animals = {leaf for leaf in tree.leaves if "animal (n00015388)" in tree.ancestors(leaf)}
    table = {f"{row[0]} ({synset})" for synset, row in tiny_animals.taxonomy().items()}
    # The greedy rule leaves the cougar out of TinyImageNet's tree.
    assert table == animals | {"cougar (n02125311)"} and len(table) == 59
