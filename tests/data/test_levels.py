import shutil
import subprocess
import sys

import pytest
from timm.data import ImageNetInfo

from conftest import CHECKOUT, run
from dataset import cub_levels, wordnet
from dataset.label_levels import read_splits, write_levels
from wsol.core.csv_rows import read_rows
from wsol.core.errors import InputError
from wsol.core.files import write_text
from wsol.data.hierarchy import read_tree
from wsol.data.levels import load_level, read_hierarchy, read_levels

TREES = CHECKOUT / "metadata/hierarchies"


def labelled(folder, **labels):
    """Write the finest labels of splits, images named by split and label."""
    for split, values in labels.items():
        names = [f"{split}{i}.jpg" for i in range(len(values))]
        write_text(folder / split / "image_ids.txt", "".join(f"{name}\n" for name in names))
        lines = [f"{name},{value}\n" for name, value in zip(names, values, strict=True)]
        write_text(folder / split / "class_labels.txt", "".join(lines))
    return folder


def test_levels_from_a_table(tmp_path):
    folder = labelled(tmp_path / "D", train=[0, 1, 2], val=[2, 0], test=[1, 2])
    rows = [("a, b", "g"), ("c", ""), ("d", "h")]
    write_levels(folder, ("species", "genus"), rows, read_splits(folder))
    assert (folder / "train/class_labels_genus.txt").read_text() == "train0.jpg,0\ntrain2.jpg,1\n"
    assert (folder / "class_names.txt").read_text() == "a, b,0\nc,1\nd,2\n"
    assert (folder / "hierarchy.csv").read_text() == 'species,genus\n"a, b",g\nc,\nd,h\n'
    data = load_level(tmp_path, "D", "genus")
    assert (data.class_names, data.splits["test"].image_ids) == (["g", "h"], ["test1.jpg"])
    assert read_hierarchy(folder).coarsen(1) == {"a, b": "g", "d": "h"}


def test_a_label_without_a_row_is_refused_before_anything_is_written(tmp_path):
    folder = labelled(tmp_path / "D", train=[0, 7])
    with pytest.raises(InputError, match=r"class_labels.txt: 'train1.jpg,7'; expected labels from 0 to 1"):
        write_levels(folder, ("a", "b"), [("x", "y"), ("z", "y")], read_splits(folder))
    assert not (folder / "levels.txt").exists()


NOUNS = """  1 A notice.
00000001 03 n 01 entity 0 001 ~ 00000002 n 0000 | all
00000002 03 n 01 animal 0 002 @ 00000001 n 0000 ~ 00000003 n 0000 | alive
00000003 05 n 02 house_dog 0 dog 1 002 @ 00000002 n 0000 @ 00000004 n 0000 | barks
00000004 05 n 01 pet 0 001 @i 00000002 n 0000 | at home
00000005 05 n 0a fox 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 002 + 00000009 v 0101 @ 00000002 n 0000 | red
"""


def test_a_tree_from_wordnets_own_file(tmp_path):
    write_text(tmp_path / "data.noun", NOUNS)
    write_text(tmp_path / "synsets.txt", "n00000003\nn00000005\n")
    printed = run("dataset/wordnet.py", "synsets.txt", "tree.csv", "--wordnet", ".", cwd=tmp_path)
    assert "2 synsets; 5 nodes, 1 with several parents; after the greedy rule 4 nodes, 2 leaves, depth 2" in printed
    assert (tmp_path / "tree.csv").read_text().splitlines()[1:] == [
        "#",
        "# A notice.",
        "child,parent",
        "animal (n00000002),entity (n00000001)",
        "house dog (n00000003),animal (n00000002)",
        "fox (n00000005),animal (n00000002)",
    ]
    write_text(tmp_path / "synsets.txt", "n00000002\nn00000003\nn00000005\n")
    printed = run("dataset/wordnet.py", "synsets.txt", "tree.csv", "--wordnet", ".", cwd=tmp_path)
    assert "left out: animal (n00000002)\n" in printed  # it lies above the others, so it is no leaf


TWO_ROOTS = NOUNS.replace("01 animal 0 002 @ 00000001", "01 animal 0 002 ~ 00000001")


@pytest.mark.parametrize(
    ("nouns", "synsets", "message"),
    [
        (NOUNS, "n00000003\nn00000077\n", "synsets.txt:2: 'n00000077'; expected unique nouns of this WordNet"),
        (NOUNS, "n00000003\nn00000003\n", "synsets.txt:2: 'n00000003'; expected unique nouns of this WordNet"),
        (NOUNS, "n00000003\n\n", "synsets.txt:2: ''; expected"),
        (NOUNS, "", "synsets.txt: empty; expected synset ids"),
        (NOUNS + "nonsense\n", "n00000003\n", "data.noun:7: not a line"),
        (NOUNS.replace("@ 00000001", "@ 00000009"), "n00000003\n", "data.noun: n00000009 is a hypernym but not a noun"),
        (TWO_ROOTS, "n00000001\nn00000003\n", "data.noun: 2 nodes without a parent"),
        (NOUNS.replace("~ 00000003", "@ 00000003"), "n00000003\n", "data.noun: "),
    ],
)
def test_what_gives_no_tree_from_wordnet_is_refused(tmp_path, nouns, synsets, message):
    write_text(tmp_path / "data.noun", nouns)
    write_text(tmp_path / "synsets.txt", synsets)
    words = ("synsets.txt", "x.csv", "--wordnet", ".")
    assert message in run("dataset/wordnet.py", *words, cwd=tmp_path, code=2)
    assert not (tmp_path / "x.csv").exists()


IMAGENET_SIZES = [927, 926, 904, 845, 804, 747, 680, 625, 553, 477, 345, 208, 71, 27, 13, 8, 4, 2]
TINY_SIZES = [192, 192, 192, 188, 188, 186, 178, 163, 145, 114, 76, 36, 15, 7, 4, 2]


@pytest.mark.parametrize(("name", "sizes"), [("imagenet_tree.csv", IMAGENET_SIZES), ("tiny_imagenet_tree.csv", TINY_SIZES)])
def test_the_committed_trees(name, sizes):
    tree = read_tree(TREES / name)
    assert tree.root == "entity (n00001740)"
    found = [len(set(labels.values())) for labels in tree.deepest_steps()]
    assert [size for size in found if size > 1] == sizes
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in (TREES / name).read_text()


def test_the_levels_of_ilsvrc(tmp_path):
    folder = labelled(tmp_path / "ILSVRC", train=range(1000), val=range(1000), test=range(1000))
    levels = wordnet.write_ilsvrc_levels(folder, read_splits(folder))
    assert levels == read_levels(folder) == ["synset", *(f"c{k}" for k in range(18))]
    sizes = [len(load_level(tmp_path, "ILSVRC", level).class_names) for level in levels]
    assert sizes == [1000, *IMAGENET_SIZES]
    finest = load_level(tmp_path, "ILSVRC").class_names
    assert (finest[0], finest[402]) == ("tench (n01440764)", "acoustic guitar (n02676566)")
    assert (
        "train: 73 of 1000 images have no class at level 'c0' and are left out" in load_level(tmp_path, "ILSVRC", "c0").notes
    )
    assert len(read_hierarchy(folder).leaves) == 927


def test_the_class_names_of_ilsvrc_are_timms():
    info = ImageNetInfo("imagenet-1k")
    classes = wordnet.ilsvrc_classes()
    assert list(classes) == info.label_names()
    inside = set(read_tree(TREES / "imagenet_tree.csv").leaves)
    words = {synset: info.label_name_to_description(synset).partition(",")[0] for synset in classes}
    outside = {synset: name for synset, name in classes.items() if name not in inside}
    assert len(outside) == 73
    assert outside == {synset: wordnet.node_name(words[synset], synset) for synset in outside}


def test_adding_levels_loads_no_torch(tmp_path):
    labelled(tmp_path / "ILSVRC", train=range(1000))
    code = "import sys; from dataset import add_levels; add_levels.main(); sys.exit('torch' in sys.modules)"
    words = [sys.executable, "-c", code, "ILSVRC", "--metadata_root", str(tmp_path)]
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_some_synsets_have_the_tree_above_them_alone(tmp_path):
    folder = labelled(tmp_path / "Some", train=[0, 1, 2], val=[0, 1, 2], test=[0, 1, 2])
    synsets, classes = ["n01443537", "n02165456", "n12345678"], ["goldfish", "ladybug", "made up"]
    levels = wordnet.write_levels(folder, "tiny_imagenet_tree.csv", synsets, classes, read_splits(folder))
    names = {level: load_level(tmp_path, "Some", level).class_names for level in levels}
    assert names["synset"] == classes and names["c0"] == classes[:2]
    assert names[levels[-1]] == ["chordate (n01466257)", "invertebrate (n01905661)"]
    assert wordnet.write_levels(folder, "tiny_imagenet_tree.csv", synsets[2:], classes[2:], {}) == ["synset"]


def released(shared, tmp_path, name):
    shutil.copytree(shared / "data/metadata" / name, tmp_path / name)
    for path in (tmp_path / name).rglob("*"):
        path.chmod(0o755)
    return tmp_path / name


CUB_SIZES = {"category": 200, "species": 188, "genus": 114, "family": 36, "order": 12}


def test_the_levels_of_cub(shared, tmp_path):
    folder = released(shared, tmp_path, "CUB")
    printed = run("dataset/add_levels.py", "CUB", "--metadata_root", tmp_path, cwd=tmp_path)
    sizes = "".join(f"level {level}: {size} classes\n" for level, size in CUB_SIZES.items())
    assert printed.startswith(f"{sizes}12 of 200 classes are outside the hierarchy, without a coarser level: '017.Cardinal'")
    assert {level: len(load_level(tmp_path, "CUB", level).class_names) for level in CUB_SIZES} == CUB_SIZES
    official = [line.split()[1] for line in (shared / "data/CUB_200_2011/classes.txt").read_text().splitlines()]
    assert load_level(tmp_path, "CUB").class_names == official
    order = load_level(tmp_path, "CUB", "order")
    assert len(order.splits["test"].image_ids) == len(order.splits["test"].labels) < 5794
    assert len((folder / "val/class_labels_order.txt").read_text().splitlines()) == len(order.splits["val"].image_ids)


def test_cubs_table_agrees_with_the_published_mapping_and_with_inatloc500(shared):
    lines = (shared / "data/cub_inat_mapping.txt").read_text().splitlines()[1:]
    published = {line.split(",")[0]: line.split(",")[1] for line in lines}
    _, rows = read_rows(cub_levels.TABLE)
    table = {row[0]: row[1:] for _, row in rows}
    assert {name: row[0] or "Unknown" for name, row in table.items()} == published
    birds = read_hierarchy(shared / "data/metadata/iNatLoc500")
    known = {}
    for leaf in birds.leaves:
        genus, family, order, _ = list(birds.ancestors(leaf))[:4]
        known[genus] = (family, order)
    both = {row[1]: tuple(row[2:]) for row in table.values() if row[1] in known}
    assert len(both) == 14 and both == {genus: known[genus] for genus in both}
    assert all(row[0].split()[0] == row[1] for row in table.values() if row[0])


def test_the_released_metadata_of_ilsvrc(shared, tmp_path):
    released(shared, tmp_path, "ILSVRC")
    printed = run("dataset/add_levels.py", "ILSVRC", "--metadata_root", tmp_path, cwd=tmp_path)
    assert "level synset: 1000 classes\nlevel c0: 927 classes\nlevel c1: 926 classes\n" in printed
    val = load_level(tmp_path, "ILSVRC", "c17", ["val"])
    assert (len(val.class_names), len(val.splits["val"].image_ids)) == (2, 9270)
    refused = run("dataset/add_levels.py", "CUB", cwd=tmp_path, code=2)
    assert "metadata/CUB: no metadata of a data set 'CUB'; make it with 'python dataset/prepare.py CUB'" in refused
    (tmp_path / "metadata/CUB").mkdir(parents=True)
    assert "no split with class_labels.txt" in run("dataset/add_levels.py", "CUB", cwd=tmp_path, code=2)


def test_levels_from_a_data_sets_own_files(tmp_path):
    labelled(tmp_path / "D", train=[0, 1, 2, 3], val=[0, 1, 2, 3])
    folder = tmp_path / "D"
    write_text(folder / "class_names.txt", "crow,0\njay,1\nowl,2\nemu,3\n")

    def add(code=0):
        return run("dataset/add_levels.py", "D", "--metadata_root", ".", cwd=tmp_path, code=code)

    assert "neither hierarchy.csv nor tree.csv" in add(code=2)
    tree = "# a notice\nchild,parent\ncrow,corvid\njay,corvid\nowl,bird\ncorvid,bird\n"
    write_text(folder / "tree.csv", tree)
    outside = "1 of 4 classes are outside the hierarchy, without a coarser level: 'emu'\n"
    assert add() == f"level finest: 4 classes\nlevel c0: 3 classes\nlevel c1: 2 classes\n{outside}"
    assert add() == add() and (folder / "tree.csv").read_text() == tree
    assert (folder / "val/class_labels_c1.txt").read_text() == "val0.jpg,0\nval1.jpg,0\nval2.jpg,1\n"
    write_text(folder / "hierarchy.csv", "finest,group\njay,corvid\ncrow,corvid\nowl,other\n")
    assert add() == f"level finest: 4 classes\nlevel group: 2 classes\n{outside}"
    write_text(folder / "class_names.txt", "crow,0\nowl,2\njay,3\n")
    assert "expected numbers without gaps" in add(code=2)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "names", "hierarchy", "message"),
    [
        ("D", "a,0\nb,1\n", "finest,x/../../../../escaped\na,g\nb,h\n", "hierarchy.csv:1: 'x/../../../../escaped'"),
        ("D", "a,0\nb,1\n", "finest,g,g\na,x,x\nb,y,y\n", "hierarchy.csv:1: 'g'; expected unique level names"),
        ("D", "a,0\nb,1\n", "finest,\na,g\nb,h\n", "hierarchy.csv:1: ''; expected unique level names"),
        ("D", "a,0\na,1\n", "finest,g\na,g\n", "class_names.txt:2: 'a' is the name of two classes"),
        ("D", "a,0\nb,1\n", "finest,g\na,g\nrook,\n", "hierarchy.csv:3: 'rook' is not a class of the finest level"),
        ("CUB", "a,0\nb,1\n", None, "class_names.txt:1: the class 0 is 'a', in the hierarchy '001.Black_footed_Albatross'"),
        ("ILSVRC", "a,0\nb,1\n", None, "class_names.txt:1: the class 0 is 'a'"),
    ],
)
def test_what_cannot_be_added_is_refused_before_anything_is_written(tmp_path, name, names, hierarchy, message):
    folder = labelled(tmp_path / "root" / name, train=[0, 1])
    write_text(folder / "class_names.txt", names)
    if hierarchy:
        write_text(folder / "hierarchy.csv", hierarchy)
    before = contents(tmp_path)
    assert message in run("dataset/add_levels.py", name, "--metadata_root", "root", cwd=tmp_path, code=2)
    assert contents(tmp_path) == before


def test_files_that_say_the_same_stay_as_they_are(tmp_path):
    """Above all the order of class names, which numbers the classes of trained models; and our tables give way."""
    folder = labelled(tmp_path / "CUB", train=[0, 1, 2])
    own = {
        "class_names.txt": "c,2\na,0\nb,1\n",
        "class_names_group.txt": "h,1\ng,0\n",
        "hierarchy.csv": "# mine\nfinest,group\nc,h\na,g\n\n",
    }
    for name, text in own.items():
        write_text(folder / name, text)
    printed = run("dataset/add_levels.py", "CUB", "--metadata_root", ".", cwd=tmp_path)
    assert printed.endswith("1 of 3 classes are outside the hierarchy, without a coarser level: 'b'\n")
    assert {name: (folder / name).read_text() for name in own} == own
    assert (folder / "train/class_labels_group.txt").read_text() == "train0.jpg,0\ntrain2.jpg,1\n"
    write_text(folder / "hierarchy.csv", "finest,group,all\nc,h,bird\na,g,bird\n")
    assert "level all: 1 class, too few to train on" in run(
        "dataset/add_levels.py", "CUB", "--metadata_root", ".", cwd=tmp_path
    )
