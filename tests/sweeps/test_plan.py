import shutil
from pathlib import Path

import numpy as np
import pytest

from config import get_config
from option_tables import training_groups
from wsol.core.errors import InputError
from wsol.core.options import by_name
from wsol.sweeps.plan import check_names, draw, levels_and_twins, make_plan, to_words
from wsol.sweeps.spec import Range, read_spec

TABLE = by_name(training_groups())


@pytest.fixture
def plan_of(workspace, monkeypatch):
    """A function from a spec's text, for Toy, to its plan."""
    monkeypatch.chdir(workspace)

    def plan(text: str):
        Path("toy.yaml").write_text(f"options: {{dataset_name: Toy}}\n{text}", encoding="utf-8")
        return make_plan(read_spec("toy.yaml", TABLE), TABLE, Path("train_log"))

    return plan


def test_a_grid_is_one_run_per_combination_named_by_what_varies(plan_of):
    plan = plan_of("vary: {wsol_method: [cam, has], label_level: all}\nchoose: {grid: {lr: [0.01, 1e-5]}}\n")
    assert [point.name for point in plan.points] == [
        f"{method}-{level}" for method in ("cam", "has") for level in ("species", "genus", "family", "order")
    ]
    assert [run.name for run in plan.candidates(plan.points[5])] == ["has-genus-lr0.01-seed0", "has-genus-lr1e-05-seed0"]
    first = plan.candidates(plan.points[5])[0].options
    assert first == {"dataset_name": "Toy", "wsol_method": "has", "label_level": "genus", "lr": 0.01, "seed": 0}


def test_the_chosen_candidate_is_itself_reported_and_other_seeds_join_it(plan_of):
    plan = plan_of("vary: {label_level: [order]}\nchoose: {grid: {lr: [0.01, 0.1]}}\nreport: [{seeds: [0, 3]}]\n")
    candidates, reported = plan.candidates(plan.points[0]), plan.reported(plan.points[0], {"lr": 0.1})
    assert [run.name for run in reported] == ["order-lr0.1-seed0", "order-lr0.1-seed3"]
    assert reported[0].options == candidates[1].options


def test_options_of_choosing_runs_alone_are_in_their_names(plan_of):
    plan = plan_of("choose: {grid: {lr: [0.1]}, options: {proxy_training_set: true}}\n")
    (point,) = plan.points
    assert [run.name for run in plan.candidates(point)] == ["lr0.1-proxy_training_setTRUE-seed0"]
    (run,) = plan.reported(point, {"lr": 0.1})
    assert run.name == "lr0.1-seed0" and "proxy_training_set" not in run.options


def test_blocks_vary_more_and_map_at_coarser_levels_from_the_same_run(plan_of):
    plan = plan_of(
        "vary: {wsol_method: [cam, has], label_level: all}\n"
        "report:\n"
        "  - {where: {wsol_method: cam}, vary: {num_train_sample_per_class: [5, 9]}}\n"
        "  - {where: {wsol_method: cam, label_level: finest}, cam_agg_levels: all}\n"
    )
    names = [run.name for point in plan.points for run in plan.reported(point, {})]
    assert names[:6] == [
        "cam-species-num_train_sample_per_class5-seed0",
        "cam-species-num_train_sample_per_class9-seed0",
        "cam-species-seed0",
        "cam-species-seed0-cam_agg_level_genus",
        "cam-species-seed0-cam_agg_level_family",
        "cam-species-seed0-cam_agg_level_order",
    ]
    coarser = [(level, count) for level in ("genus", "family", "order") for count in (5, 9)]
    assert names[6:] == [f"cam-{level}-num_train_sample_per_class{count}-seed0" for level, count in coarser]
    agg = plan.reported(plan.points[0], {})[3]
    assert agg.needs == "cam-species-seed0" and agg.options["epochs"] == 0
    assert agg.options["pretrained_path"] == "train_log/toy/cam-species-seed0/last_checkpoint.pth.tar"
    best = plan_of("vary: {eval_checkpoint_type: [best]}\nreport: [{cam_agg_levels: [order]}]\n")
    (_, agg) = best.reported(best.points[0], {})
    assert agg.options["pretrained_path"].endswith("/best_checkpoint.pth.tar")


def test_levels_that_are_learned_at_once_are_one_value(plan_of):
    plan = plan_of(
        'vary: {label_level: [genus, "family,order", "genus,family,order"]}\n'
        'report: [{where: {label_level: ["family,order", genus]}, cam_agg_levels: all}]\n'
    )
    assert [point.name for point in plan.points] == ["genus", "family+order", "genus+family+order"]
    names = [run.name for point in plan.points for run in plan.reported(point, {})]
    agg = ["genus-seed0-cam_agg_level_family", "genus-seed0-cam_agg_level_order"]
    assert names == ["genus-seed0", *agg, "family+order-seed0", "family+order-seed0-cam_agg_level_order"]
    assert plan.reported(plan.points[1], {})[0].options["label_level"] == "family,order"
    mean = 'vary: {label_level: ["family,order"], map_level: [mean]}\nreport: [{cam_agg_levels: all}]\n'
    with pytest.raises(InputError, match="cam_agg_levels: not with map_level mean"):
        plan = plan_of(mean)
        list(plan.reported(plan.points[0], {}))
    with pytest.raises(InputError, match="label_level genus,clan: 'clan' is no level of the data set"):
        plan_of('vary: {label_level: ["genus,clan"]}\n')


def test_cases_change_options_of_some_points_and_options_of_other_methods_are_left_out(plan_of):
    plan = plan_of(
        "vary: {wsol_method: [cam, has]}\n"
        "cases: [{where: {wsol_method: has}, options: {epochs: 9}}]\n"
        "choose: {grid: {lr: [0.1], has_drop_rate: [0.2, 0.4]}}\n"
    )
    cam, has = plan.points
    assert "epochs" not in cam.options and has.options["epochs"] == 9
    assert [run.name for run in plan.candidates(cam)] == ["cam-lr0.1-seed0"]
    assert [run.name for run in plan.candidates(has)] == [
        "has-lr0.1-has_drop_rate0.2-seed0",
        "has-lr0.1-has_drop_rate0.4-seed0",
    ]


def test_random_draws_are_repeatable_within_their_ranges_and_independent_of_each_other(plan_of):
    text = (
        "vary: {wsol_method: [spg, cutmix]}\nchoose:\n  random:\n    draws: 30\n    seed: 1\n    ranges:\n"
        "      lr: {log_uniform: [1e-5, 1]}\n      large_feature_map: {choice: [true, false]}\n"
        "      spg_threshold_1h: {uniform: [0, 1]}\n      spg_threshold_1l: {uniform: [0, spg_threshold_1h]}\n"
        "      cutmix_prob: {uniform: [0, 1]}\n      cutmix_beta: {size_prior: [0, 2]}\n"
    )
    plan = plan_of(text)
    spg, cutmix = ([run.chosen for run in plan.candidates(point)] for point in plan.points)
    assert len(spg) == 30 and spg == [run.chosen for run in plan_of(text).candidates(plan.points[0])]
    assert set(spg[0]) == {"lr", "large_feature_map", "spg_threshold_1h", "spg_threshold_1l"}
    assert [one["lr"] for one in spg] == [one["lr"] for one in cutmix]
    assert all(one["spg_threshold_1l"] <= one["spg_threshold_1h"] for one in spg)
    assert all(one["cutmix_beta"] >= 0 for one in cutmix)
    exponents = np.log10([one["lr"] for one in spg])
    assert -5 <= exponents.min() < -4 and -1 < exponents.max() <= 0
    assert {one["large_feature_map"] for one in spg} == {True, False}
    assert plan.candidates(plan.points[0])[7].name == "spg-draw07-seed0"
    fewer = plan_of(text.replace("draws: 30", "draws: 9"))
    assert plan.candidates(plan.points[0])[:9] == fewer.candidates(fewer.points[0])


def test_a_size_prior_is_the_reciprocal_of_a_uniform_number():
    values = [draw(Range("size_prior", (0.0, 2.0)), {}, [0, index]) for index in range(4000)]
    uniform = [1 / (value + 0.5) for value in values]
    assert 0 < min(uniform) < 0.01 and 1.99 < max(uniform) <= 2
    assert np.mean(uniform) == pytest.approx(1, abs=0.05)


def test_levels_with_the_same_classes_are_trained_once(workspace, monkeypatch):
    shutil.copytree(workspace / "metadata" / "Toy", workspace / "other" / "Toy")
    for split in ("train", "val", "test"):  # the order level's classes, under other numbers
        folder = workspace / "other" / "Toy" / split
        lines = (folder / "class_labels_order.txt").read_text().splitlines()
        swapped = [f"{one.rpartition(',')[0]},{1 - int(one.rpartition(',')[2])}" for one in lines]
        (folder / "class_labels_suborder.txt").write_text("\n".join(swapped) + "\n")
    names = (workspace / "other" / "Toy" / "class_names_order.txt").read_text().splitlines()
    text = "\n".join(f"{one.rpartition(',')[0]},{1 - int(one.rpartition(',')[2])}" for one in names) + "\n"
    (workspace / "other" / "Toy" / "class_names_suborder.txt").write_text(text)
    (workspace / "other" / "Toy" / "levels.txt").write_text("species\ngenus\nfamily\nsuborder\norder\n")
    assert levels_and_twins(str(workspace / "other"), "Toy", False) == (
        ("species", "genus", "family", "suborder", "order"),
        {"order": "suborder"},
    )
    monkeypatch.chdir(workspace)
    Path("s.yaml").write_text("options: {dataset_name: Toy, metadata_root: other}\nvary: {label_level: all}\n")
    plan = make_plan(read_spec("s.yaml", TABLE), TABLE, Path("train_log"))
    assert [point.name for point in plan.points] == ["species", "genus", "family", "suborder"]
    assert plan.levels_alike == {"Toy": {"order": "suborder"}}
    Path("s.yaml").write_text("options: {dataset_name: Toy, metadata_root: other}\nvary: {label_level: [suborder, order]}\n")
    listed = make_plan(read_spec("s.yaml", TABLE), TABLE, Path("train_log"))
    assert [point.name for point in listed.points] == ["suborder"] and listed.levels_alike == plan.levels_alike


def test_the_words_of_a_run_are_a_command_line_of_main(plan_of):
    plan = plan_of("vary: {large_feature_map: [true, false], lr: [1e-5]}\n")
    config, _ = get_config(to_words(plan.points[0].options))
    assert config.large_feature_map is True and config.lr == 1e-5


def test_points_of_one_name_are_refused(plan_of):
    with pytest.raises(InputError, match="would be named 'pretrained_path_a'"):
        plan_of("vary: {pretrained_path: [x/a.pth, y/a.pth]}\n")


def test_a_level_that_is_not_there_is_refused(plan_of):
    with pytest.raises(InputError, match="label_level tribe: Toy has the levels species, genus"):
        plan_of("vary: {label_level: [order, tribe]}\n")


def test_runs_of_one_name_are_refused(plan_of):
    with pytest.raises(InputError, match="would be named pretrained_path_a-seed0"):
        plan_of("choose: {grid: {pretrained_path: [x/a.pth, y/a.pth]}}\n")
    plan = plan_of("vary: {pretrained_path: [a--b, a-b]}\n")  # each point by itself is clear
    with pytest.raises(InputError, match="would be named pretrained_path_a-b-seed0"):
        check_names([run for point in plan.points for run in plan.reported(point, {})])


def test_the_finest_level_of_a_case_is_known_and_a_level_that_is_not_there_is_refused(plan_of):
    case = "cases: [{where: {label_level: finest}, options: {epochs: 7}}]\n"
    plan = plan_of(f"vary: {{label_level: [species, order]}}\n{case}")
    assert [point.options.get("epochs") for point in plan.points] == [7, None]
    for part in ("{where: {label_level: genuss}}", "{where: {label_level: all}}", "{cam_agg_levels: [genuss]}"):
        with pytest.raises(InputError, match="expected one of family, genus, order, species"):
            plan_of(f"vary: {{label_level: all}}\nreport: [{part}]\n")


def test_ends_that_cross_are_refused_and_a_method_without_own_ranges_is_drawn_once(plan_of):
    text = "choose: {{random: {{draws: 9, ranges: {{batch_size: {{whole: [1, 9]}}, lr: {{{}}}}}}}}}\n"
    for one in ("whole: [5, batch_size]", "uniform: [5, batch_size]", "log_uniform: [batch_size, 2]"):
        with pytest.raises(InputError, match="expected ends that fit every draw"):
            plan_of(text.format(one))
    plan = plan_of("choose: {random: {draws: 3, ranges: {has_drop_rate: {uniform: [0, 1]}}}}\n")
    assert [run.name for run in plan.candidates(plan.points[0])] == ["draw00-seed0"]
