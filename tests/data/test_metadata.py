from functools import partial

import numpy as np
import pytest

from dataset.known import PREPARED, require_dataset
from wsol.core.errors import BoxError, InputError, MetadataError
from wsol.core.files import write_text
from wsol.data.levels import load_level, read_class_names, read_hierarchy, read_levels
from wsol.data.metadata import (
    check_boxes_fit,
    configure_metadata,
    get_bounding_boxes,
    get_class_labels,
    get_fitting_sizes,
    get_image_ids,
    get_image_sizes,
    get_mask_paths,
    has_boxes,
    has_masks,
)


def write(folder, **files):
    for name, text in files.items():
        write_text(folder / f"{name}.txt", text)
    return configure_metadata(folder)


def write_dataset(root, splits, levels=None, **texts):
    """Write a data set D from {split: {id: (finest label, coarser label or None)}}, the coarser level called group."""
    for split, labels in splits.items():
        write(
            root / "D" / split,
            image_ids="".join(f"{i}\n" for i in labels),
            class_labels="".join(f"{i},{both[0]}\n" for i, both in labels.items()),
            class_labels_group="".join(f"{i},{both[1]}\n" for i, both in labels.items() if both[1] is not None),
        )
    if levels:
        write_text(root / "D" / "levels.txt", "".join(f"{level}\n" for level in levels))
    for name, text in texts.items():
        write_text(root / "D" / f"{name}.txt", text)


def test_paths_with_spaces_and_commas_several_boxes_and_windows_lines(tmp_path):
    metadata = write(
        tmp_path,
        image_ids="a b, c.jpg\r\nd.jpg\r\n",
        class_labels="a b, c.jpg,3\nd.jpg,0\n",
        image_sizes="a b, c.jpg,30,20\nd.jpg,5,5",
        localization="a b, c.jpg,0,1,30,20\nd.jpg,1,1,2,2\na b, c.jpg,4,4,5,6\n",
    )
    assert get_image_ids(metadata) == ["a b, c.jpg", "d.jpg"]
    assert get_class_labels(metadata) == {"a b, c.jpg": 3, "d.jpg": 0}
    boxes, sizes = get_bounding_boxes(metadata), get_image_sizes(metadata)
    assert boxes == {"a b, c.jpg": [(0, 1, 30, 20), (4, 4, 5, 6)], "d.jpg": [(1, 1, 2, 2)]}
    assert sizes == {"a b, c.jpg": (30, 20), "d.jpg": (5, 5)}
    check_boxes_fit(metadata, boxes, sizes)
    assert has_boxes(metadata)
    assert not has_masks(metadata)


def test_masks_as_openimages_has_them_and_beside_boxes(tmp_path):
    lines = "v/a.jpg,v/a_m0.png,v/a_ignore.png\nv/a.jpg,v/a_m1.png,\nv/b.jpg,v/b_m0.png,\n"
    expected = (
        {"v/a.jpg": ["v/a_m0.png", "v/a_m1.png"], "v/b.jpg": ["v/b_m0.png"]},
        {"v/a.jpg": "v/a_ignore.png", "v/b.jpg": ""},
    )
    alone = write(tmp_path / "alone", localization=lines)
    assert get_mask_paths(alone) == expected
    assert (has_boxes(alone), has_masks(alone)) == (False, True)
    both = write(tmp_path / "both", localization="v/a.jpg,0,0,1,1\n", masks=lines)
    assert get_mask_paths(both) == expected
    assert (has_boxes(both), has_masks(both)) == (True, True)


def test_empty_and_absent_optional_files(tmp_path):
    metadata = write(tmp_path, image_sizes="", localization="")
    assert get_image_sizes(metadata) == {}
    assert get_bounding_boxes(configure_metadata(tmp_path / "none")) == {}
    assert get_mask_paths(metadata) == ({}, {})
    assert not has_boxes(metadata)


@pytest.mark.parametrize(
    ("reader", "name", "text", "message"),
    [
        (get_image_ids, "image_ids", "a.jpg\nb.jpg\na.jpg\n", r"image_ids.txt:3: duplicate id 'a.jpg'"),
        (get_image_ids, "image_ids", "a.jpg\n\nb.jpg\n", r"image_ids.txt:2: ''"),
        (get_image_ids, "image_ids", "a.jpg\n../b.jpg\n", r"image_ids.txt:2: '../b.jpg'; expected a path relative"),
        (get_image_ids, "image_ids", "/b.jpg\n", r"image_ids.txt:1: '/b.jpg'; expected a path relative"),
        (get_class_labels, "class_labels", "a.jpg,0\nb.jpg\n", r"class_labels.txt:2: 'b.jpg'; expected path,label"),
        (get_class_labels, "class_labels", "a.jpg,-1\n", r"class_labels.txt:1: 'a.jpg,-1'; expected path,label"),
        (get_class_labels, "class_labels", "a.jpg,0\na.jpg,1\n", r"class_labels.txt:2: duplicate id 'a.jpg'"),
        (get_image_sizes, "image_sizes", "a.jpg,5\n", r"image_sizes.txt:1: 'a.jpg,5'; expected path,width,height"),
        (get_image_sizes, "image_sizes", "a.jpg,5,0\n", r"image_sizes.txt:1: 'a.jpg,5,0'; expected path,width,height"),
        (get_bounding_boxes, "localization", "a.jpg,1,2,3\n", r"localization.txt:1: .*expected path,x0,y0,x1,y1"),
        (get_bounding_boxes, "localization", "a.jpg,1,2,3,4\nb.jpg,1,2,0,4\n", r"localization.txt:2: .*0 <= x0 <= x1"),
        (get_bounding_boxes, "localization", "a.jpg,-1,2,3,4\n", r"localization.txt:1: .*0 <= x0"),
        (get_bounding_boxes, "localization", "a.jpg,1.5,2,3,4\n", r"localization.txt:1: .*whole pixels"),
        (get_bounding_boxes, "localization", "a.jpg,1_0,2,30,4\n", r"localization.txt:1: .*whole pixels"),
        (get_class_labels, "class_labels", f"a.jpg,{'9' * 5000}\n", r"class_labels.txt:1: .{,400}at most 9 digits"),
        (get_class_labels, "class_labels", "a.jpg,\u0663\n", r"class_labels.txt:1: .*expected path,label"),
        (get_class_labels, "class_labels", "a.jpg,\u00b2\n", r"class_labels.txt:1: .*expected path,label"),
        (get_image_sizes, "image_sizes", f"a.jpg,{'9' * 5000},5\n", r"image_sizes.txt:1: .{,400}expected path,width,height"),
        (get_image_sizes, "image_sizes", "a.jpg,\u0663,5\n", r"image_sizes.txt:1: .*expected path,width,height"),
        (get_bounding_boxes, "localization", f"a.jpg,1,2,3,{'9' * 5000}\n", r"localization.txt:1: .{,400}whole pixels"),
        (get_bounding_boxes, "localization", "a.jpg,1,2,3,\u0664\n", r"localization.txt:1: .*whole pixels"),
        (get_mask_paths, "localization", "a.jpg,m.png\n", r"localization.txt:1: 'a.jpg,m.png'; expected path,mask,ignore"),
        (get_mask_paths, "localization", "a.jpg,m,i\na.jpg,m,i\n", r"localization.txt:2: 'i'; expected the ignore mask on"),
        (get_mask_paths, "localization", "a.jpg,../m,\n", r"localization.txt:1: '../m'; expected a path relative"),
    ],
)
def test_malformed_lines_name_file_line_and_expectation(tmp_path, reader, name, text, message):
    with pytest.raises(MetadataError, match=message):
        reader(write(tmp_path, **{name: text}))


def test_a_missing_file_and_no_text(tmp_path):
    with pytest.raises(MetadataError, match=r"image_ids.txt: no such file"):
        get_image_ids(configure_metadata(tmp_path))
    (tmp_path / "image_ids.txt").write_bytes(b"\xff\xfe\n")
    with pytest.raises(MetadataError, match="not UTF-8"):
        get_image_ids(configure_metadata(tmp_path))


def test_a_box_outside_its_image_is_named_with_its_line(tmp_path):
    text = "b.jpg,0,0,1,1\na.jpg,0,0,1,1\na.jpg,0,0,11,4\n"
    metadata = write(tmp_path, localization=text, image_sizes="a.jpg,10,10\nb.jpg,5,5\n")
    with pytest.raises(BoxError, match=r"localization.txt:3: box 0,0,11,4 of 'a.jpg'; expected it inside the 10 x 10"):
        check_boxes_fit(metadata, get_bounding_boxes(metadata), get_image_sizes(metadata))
    with pytest.raises(MetadataError, match=r"image_sizes.txt: no line for 'b.jpg'"):
        check_boxes_fit(metadata, get_bounding_boxes(metadata), {"a.jpg": (20, 20)})


@pytest.mark.parametrize(
    ("dataset", "split", "images", "boxes"),
    [("CUB", "train", 5994, 5994), ("ILSVRC", "val", 10000, 18532), ("iNatLoc500", "test", 12500, 12500)],
)
def test_released_box_metadata(shared, dataset, split, images, boxes):
    metadata = configure_metadata(shared / "data/metadata" / dataset / split)
    found = get_bounding_boxes(metadata)
    assert len(get_image_ids(metadata)) == len(found) == images
    assert sum(map(len, found.values())) == boxes
    check_boxes_fit(metadata, found, get_image_sizes(metadata))


@pytest.mark.parametrize("line", ["a.jpg,1.5,2,3,4", "a.jpg,2,3,x", "a.jpg,1,2,3", "a.jpg"])
def test_a_malformed_box_line_is_not_taken_for_masks(tmp_path, line):
    metadata = write(tmp_path, localization=f"{line}\n")
    assert (has_boxes(metadata), has_masks(metadata)) == (True, False)


def test_a_class_keeps_its_number_whatever_is_drawn_or_asked_for(tmp_path):
    splits = {"train": {"a.jpg": (2, None)}, "val": {"v.jpg": (2, None)}, "test": {"t.jpg": (1, None), "u.jpg": (2, None)}}
    write_dataset(tmp_path, splits)
    for asked in (["train", "val"], ["train", "val", "test"]):
        data = load_level(tmp_path, "D", None, asked)
        assert (data.class_names, data.file_labels, data.splits["val"].labels.tolist()) == (["1", "2"], [1, 2], [1])
    assert "1 of 2 classes have no training image" in data.notes


def test_released_mask_metadata(shared):
    metadata = configure_metadata(shared / "data/metadata/OpenImages/val")
    masks, ignores = get_mask_paths(metadata)
    assert list(masks) == get_image_ids(metadata)
    assert sum(map(len, masks.values())) == 3854
    assert len(ignores) == 2500


def test_inatloc_levels(shared):
    root = shared / "data/metadata"
    levels = read_levels(root / "iNatLoc500")
    assert levels == ["finest", "genus", "family", "order", "class", "phylum", "kingdom"]
    sizes = [len(load_level(root, "iNatLoc500", level, ["val", "test"]).class_names) for level in levels]
    assert sizes == [500, 317, 184, 61, 18, 5, 1]


def test_a_level_may_leave_images_out_and_is_renumbered_in_file_order(tmp_path):
    train = {f"{i}.jpg": (label, group) for i, (label, group) in enumerate([(0, 7), (1, None), (2, 3), (3, 7)])}
    names = "c,3\nunused,5\nseven,7\n"
    write_dataset(tmp_path, {"train": train, "val": {"v.jpg": (2, 3)}}, ["kind", "group"], class_names_group=names)
    data = load_level(tmp_path, "D", "group", ["train", "val"])
    assert data.class_names == ["c", "seven"]
    assert data.splits["train"].image_ids == ["0.jpg", "2.jpg", "3.jpg"]
    assert data.splits["train"].labels.tolist() == [1, 0, 1]
    assert (data.splits["train"].subset, data.splits["val"].subset) == (True, False)
    assert data.notes[0] == "train: 1 of 4 images have no class at level 'group' and are left out"
    assert load_level(tmp_path, "D", None, ["train", "val"]).level == "kind"


def test_an_inconsistent_level_is_refused_with_its_classes(tmp_path):
    train = {"a.jpg": (0, 0), "b.jpg": (1, 1), "c.jpg": (0, 1)}
    write_dataset(
        tmp_path, {"train": train}, ["kind", "group"], class_names="wren,0\nowl,1\n", class_names_group="x,0\ny,1\n"
    )
    with pytest.raises(
        MetadataError, match=r"class_labels_group.txt:3: level 'group' is inconsistent: the class 'wren'.*'x' and to 'y'"
    ):
        load_level(tmp_path, "D", "group", ["train"])
    assert load_level(tmp_path, "D", "kind", ["train"]).class_names == ["wren", "owl"]


def test_an_unknown_level_and_data_set_are_refused_with_what_is_allowed(tmp_path):
    write_dataset(tmp_path, {"train": {"a.jpg": (0, 0)}}, ["kind", "group"])
    with pytest.raises(InputError, match="has the levels kind, group"):
        load_level(tmp_path, "D", "genus", ["train"])
    with pytest.raises(InputError, match=r"has the levels kind, group; did you mean group\?$"):
        load_level(tmp_path, "D", "groups", ["train"])
    with pytest.raises(InputError, match=r"Nope: no metadata of a data set 'Nope'; .* has D$") as caught:
        load_level(tmp_path, "Nope")
    assert "prepare.py" not in str(caught.value)  # which refuses that name


def test_the_name_of_no_data_set_gets_near_ones_and_advice_that_is_not_refused(tmp_path):
    write_dataset(tmp_path, {"train": {"a.jpg": (0, 0)}}, ["kind", "group"])
    for name, message in {
        "CUB": "'CUB'; make it with 'python dataset/prepare.py CUB'; or give another --metadata_root",
        "cub": "'cub'; did you mean CUB?; ",
        "d": f"did you mean D?; {tmp_path} has D, prepare.py makes Toy, CUB, ",
        "OpenImages30k": "did you mean OpenImages?",
        "Nope": f"'Nope'; {tmp_path} has D, prepare.py makes Toy",
    }.items():
        with pytest.raises(InputError) as caught:
            require_dataset(tmp_path, name)
        assert message in str(caught.value)
        assert f"prepare.py {name}" not in str(caught.value) or name in PREPARED
    require_dataset(tmp_path, "D")


def test_an_id_without_a_finest_label_is_refused(tmp_path):
    write_dataset(tmp_path, {"train": {"a.jpg": (0, 0)}})
    write_text(tmp_path / "D/train/image_ids.txt", "a.jpg\nb.jpg\n")
    with pytest.raises(MetadataError, match=r"class_labels.txt: no label for 'b.jpg'"):
        load_level(tmp_path, "D", None, ["train"])


def test_val_is_drawn_at_the_finest_level_the_same_for_every_level(toy_root):
    draws = [
        load_level(toy_root / "metadata", "Toy", level, num_val_sample_per_class=3, seed=5).splits["val"]
        for level in ("species", "family", "order")
    ]
    assert draws[0].image_ids == draws[1].image_ids == draws[2].image_ids
    assert np.bincount(draws[0].labels).tolist() == [3] * 16
    other = load_level(toy_root / "metadata", "Toy", None, num_val_sample_per_class=3, seed=6).splits["val"]
    assert other.image_ids != draws[0].image_ids


def test_more_validation_images_than_there_are_is_refused(toy_root):
    with pytest.raises(InputError, match=r"^num_val_sample_per_class 9: a class has only 8"):
        load_level(toy_root / "metadata", "Toy", "order", num_val_sample_per_class=9)


def test_training_images_are_drawn_at_the_level_trained_on(toy_root):
    for level, classes in (("species", 16), ("order", 2)):
        data = load_level(toy_root / "metadata", "Toy", level, num_train_sample_per_class=4, seed=1)
        assert np.bincount(data.splits["train"].labels).tolist() == [4] * classes
    data = load_level(toy_root / "metadata", "Toy", None, num_train_sample_per_class=25)
    assert len(data.splits["train"].image_ids) == 384
    assert "16 of 16 classes have fewer than 25 images" in data.notes[0]


def test_training_images_drawn_at_the_finest_level_are_the_same_for_every_level_and_vector(toy_root, tmp_path):
    species = read_class_names(toy_root / "metadata/Toy", "species").values()
    write_text(tmp_path / "vector.csv", "class,k\n" + "".join(f"{name},1\n" for name in species))
    draw = partial(load_level, toy_root / "metadata", "Toy", num_train_sample_per_class=3, train_sample_level="finest")
    of_species = draw("species", seed=2).splits["train"]
    assert np.bincount(of_species.labels).tolist() == [3] * 16
    for options in ({"level": "family"}, {"level": "order"}, {"coarsening": str(tmp_path / "vector.csv")}):
        data = draw(**options, seed=2)
        assert data.splits["train"].image_ids == of_species.image_ids
        assert len(np.unique(data.splits["train"].labels)) == len(data.class_names) < 16
    assert draw("order", seed=3).splits["train"].image_ids != of_species.image_ids
    trained = load_level(toy_root / "metadata", "Toy", num_train_sample_per_class=3, seed=2).splits["train"]
    assert trained.image_ids == of_species.image_ids  # at the finest level both are the same


def test_a_level_without_some_images_keeps_the_rest_of_the_finest_levels_draw(tmp_path):
    images = {f"{label}{i}.jpg": (label, None if label == 1 else label // 2) for label in range(4) for i in range(5)}
    write_dataset(tmp_path, {"train": images}, levels=("finest", "group"))
    finest, group = (
        load_level(tmp_path, "D", level, ["train"], num_train_sample_per_class=2, train_sample_level="finest")
        for level in ("finest", "group")
    )
    drawn = finest.splits["train"].image_ids
    assert len(drawn) == 8
    assert group.splits["train"].image_ids == [image_id for image_id in drawn if image_id[0] != "1"]
    assert group.notes == ["train: 2 of 8 images have no class at level 'group' and are left out"]
    assert group.splits["train"].subset


def test_the_finest_levels_draw_is_from_the_proxy_list(tmp_path):
    images = {f"{label}{i}.jpg": (label, label // 2) for label in range(4) for i in range(5)}
    write_dataset(tmp_path, {"train": images})
    proxy = [image_id for image_id in images if image_id[1] in "03"]
    write_text(tmp_path / "D/train/image_ids_proxy.txt", "".join(f"{image_id}\n" for image_id in proxy))
    for level in ("finest", "group"):
        options = {"num_train_sample_per_class": 1, "train_sample_level": "finest", "proxy": True}
        drawn = load_level(tmp_path, "D", level, ["train"], **options).splits["train"].image_ids
        assert {image_id[0] for image_id in drawn} == set("0123") and len(drawn) == 4
        assert set(drawn) <= set(proxy)


def test_the_proxy_list_replaces_the_training_list(tmp_path):
    write_dataset(tmp_path, {"train": {"a.jpg": (0, 0), "b.jpg": (1, 1)}})
    write_text(tmp_path / "D/train/image_ids_proxy.txt", "b.jpg\n")
    assert load_level(tmp_path, "D", None, ["train"], proxy=True).splits["train"].image_ids == ["b.jpg"]


def with_names(folder, **rows_of):
    for level, names in rows_of.items():
        stem = "class_names" if level == "finest" else f"class_names_{level}"
        write_text(folder / f"{stem}.txt", "".join(f"{name},{label}\n" for label, name in enumerate(names)))


def birds(tmp_path):
    """Crow, jay, owl and emu, the last outside the tree; one image of each in every split."""
    rows = {split: {f"{split}{label}.jpg": (label,) for label in range(4)} for split in ("train", "val", "test")}
    write_dataset(tmp_path, {split: {name: (label[0], 0) for name, label in table.items()} for split, table in rows.items()})
    with_names(tmp_path / "D", finest=["crow", "jay", "owl", "emu"])
    write_text(tmp_path / "D/tree.csv", "child,parent\ncrow,corvid\njay,corvid\nowl,bird\ncorvid,bird\n")
    write_text(tmp_path / "vector.csv", "class,k\njay,1\ncrow,1\nowl,0\n")
    return tmp_path / "D"


def test_a_vector_of_k_relabels_a_data_set(tmp_path):
    folder = birds(tmp_path)
    assert read_hierarchy(folder).leaves == ("crow", "jay", "owl")
    data = load_level(tmp_path, "D", coarsening=str(tmp_path / "vector.csv"))
    assert data.class_names == ["corvid", "owl"]
    assert data.splits["val"].image_ids == ["val0.jpg", "val1.jpg", "val2.jpg"]
    assert data.splits["val"].labels.tolist() == [0, 0, 1]
    assert data.level.startswith("coarsened by ") and "1 of 4 images have no class" in data.notes[0]
    with pytest.raises(InputError, match="not together with coarsening"):
        load_level(tmp_path, "D", "finest", coarsening=str(tmp_path / "vector.csv"))


def test_the_hierarchy_of_a_data_set_from_its_files(tmp_path):
    folder = birds(tmp_path)
    write_text(folder / "hierarchy.csv", "finest,coarse\ncrow,corvid\njay,corvid\nowl,other\n")
    assert read_hierarchy(folder).coarsen(1) == {"crow": "corvid", "jay": "corvid", "owl": "other"}
    write_text(folder / "hierarchy.csv", "finest,coarse\nrook,corvid\njay,corvid\n")
    with pytest.raises(MetadataError, match=r"hierarchy.csv:2: 'rook' is not a class of the finest level"):
        read_hierarchy(folder)
    write_text(folder / "hierarchy.csv", "finest,coarse\ncrow,corvid\n")
    write_text(folder / "levels.txt", "finest\n")
    with pytest.raises(MetadataError, match=r"hierarchy.csv:1: 'finest,coarse'; expected the levels of levels.txt"):
        read_hierarchy(folder)
    (folder / "hierarchy.csv").unlink()
    (folder / "tree.csv").unlink()
    with pytest.raises(InputError, match=r"no hierarchy.csv or tree.csv, and a single level"):
        read_hierarchy(folder)


def test_the_hierarchy_of_a_data_set_from_its_labels(tmp_path):
    write_dataset(tmp_path, {"train": {"a.jpg": (0, 0), "b.jpg": (1, 0)}, "test": {"c.jpg": (2, 1), "d.jpg": (0, 0)}})
    hierarchy = read_hierarchy(tmp_path / "D")
    assert (len(hierarchy.leaves), len(set(hierarchy.coarsen(1).values()))) == (3, 2)
    write_dataset(tmp_path, {"train": {"a.jpg": (0, 0), "b.jpg": (0, 1)}, "test": {"c.jpg": (2, 1), "d.jpg": (0, 0)}})
    with pytest.raises(MetadataError, match="expected one class at every level"):
        read_hierarchy(tmp_path / "D")


def test_the_released_hierarchy_of_inatloc500(shared):
    hierarchy = read_hierarchy(shared / "data/metadata/iNatLoc500")
    sizes = [len(set(labels.values())) for labels in hierarchy.deepest_steps()]
    assert sizes == [500, 317, 184, 61, 18, 5, 1]
    assert hierarchy.root == "Animalia"


@pytest.mark.parametrize("name", ["iNatLoc500", "CUB"])
def test_sizes_in_the_other_column_order_are_recognised_by_the_boxes_and_said(shared, tmp_path, name):
    split = configure_metadata(shared / "data/metadata" / name / "test")
    boxes, sizes = get_bounding_boxes(split), get_image_sizes(split)
    assert get_fitting_sizes(split, boxes) == sizes
    write_text(tmp_path / "image_sizes.txt", "".join(f"{i},{height},{width}\n" for i, (width, height) in sizes.items()))
    split.image_sizes = str(tmp_path / "image_sizes.txt")
    outside = {"iNatLoc500": "5850 of 12500", "CUB": "3462 of 5794"}[name]
    with pytest.warns(UserWarning, match=rf"image_sizes.txt: read as path,height,width.*: {outside} boxes extend"):
        assert get_fitting_sizes(split, boxes) == sizes


def test_few_boxes_are_too_few_to_tell_the_column_order(tmp_path):
    for count, error in ((9, BoxError), (10, None)):
        ids = [f"{i}.jpg" for i in range(count)]
        sizes = "".join(f"{i},20,30\n" for i in ids)
        metadata = write(tmp_path, image_sizes=sizes, localization="".join(f"{i},0,0,25,20\n" for i in ids))
        boxes = get_bounding_boxes(metadata)
        if error:
            with pytest.raises(error, match="expected it inside the 20 x 30 image"):
                get_fitting_sizes(metadata, boxes)
        else:
            with pytest.warns(UserWarning, match="10 of 10 boxes"):
                assert get_fitting_sizes(metadata, boxes)["3.jpg"] == (30, 20)
    metadata = write(tmp_path, image_sizes=sizes + "x.jpg,9,5\n", localization=f"{boxes_text(boxes)}x.jpg,0,0,9,5\n")
    with pytest.raises(BoxError):
        get_fitting_sizes(metadata, get_bounding_boxes(metadata))


def boxes_text(boxes):
    return "".join(f"{i},{','.join(map(str, box))}\n" for i, image_boxes in boxes.items() for box in image_boxes)


def test_a_mask_list_that_is_none_is_an_error_not_no_masks(tmp_path):
    folder = tmp_path / "val"
    write_text(folder / "localization.txt", "a.png,0,0,3,3\n")
    metadata = configure_metadata(folder)
    assert not has_masks(metadata)
    for text in ("a.png;m.png;\n", "a.png,m.png\n"):
        write_text(folder / "masks.txt", text)
        assert has_masks(metadata)
        with pytest.raises(MetadataError, match=r"masks\.txt:1: .* expected path,mask,ignore"):
            get_mask_paths(metadata)
    (folder / "masks.txt").unlink()
    (folder / "masks.txt").symlink_to("nowhere")
    with pytest.raises(MetadataError, match="no such file"):
        has_masks(metadata)


def test_a_nul_byte_is_named_by_its_line(tmp_path):
    write_text(tmp_path / "image_ids.txt", "a.png\nb\0.png\n")
    with pytest.raises(MetadataError, match=r"image_ids\.txt:2: a NUL byte"):
        get_image_ids(configure_metadata(tmp_path))
