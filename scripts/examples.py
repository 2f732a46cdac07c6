"""A page of images against runs: each run's score map, the true boxes and the predicted one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from data_loaders import load_image
from wsol.boxes import candidate_boxes, resize_bbox
from wsol.files import read_json, whole_file
from wsol.score_maps import find_score_maps, read_score_map
from wsol.split_evaluator import SplitEvaluator


def val_threshold(run: Path) -> float | None:
    """Return the score-map threshold that val chose for IoU 50 (the first IoU threshold where 50 is not among them)."""
    thresholds = read_json(run / "results.json")["val"].get("best_threshold")
    return thresholds.get("50", next(iter(thresholds.values()))) if thresholds else None


def spread(image_ids: Sequence[str], count: int) -> list[str]:
    """Return `count` ids at equal distances."""
    return list(image_ids[:: max(1, len(image_ids) // count)][:count])


def draw_examples(config: Mapping, split: str, image_ids: Sequence[str], runs: Mapping[str, Path], path: Path) -> None:
    """Draw a page of PNG, one line an image, one column a run by name; runs are folders with results.json and scoremaps/.

    The predicted box is the largest contour's at the run's `val_threshold`.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    evaluator = SplitEvaluator.of(config, split, list(image_ids))
    side = config["crop_size"]
    figure = Figure(figsize=(2 * (len(runs) + 1), 2 * len(image_ids) + 0.6), layout="constrained")
    grid = figure.subplots(len(image_ids), len(runs) + 1, squeeze=False)
    thresholds = {name: val_threshold(run) for name, run in runs.items()}
    maps = {name: find_score_maps(run / "scoremaps", image_ids) for name, run in runs.items()}
    for line, image_id in zip(grid, image_ids, strict=True):
        image = load_image(Path(config["data_root"]) / config["dataset_name"] / image_id).resize((side, side))
        true_boxes = []
        if evaluator.boxes:
            size = evaluator.boxes.image_sizes[image_id]
            true_boxes = [resize_bbox(b, size, (side, side)) for b in evaluator.boxes.original_bboxes[image_id]]
        for axes, name in zip(line, [None, *runs], strict=True):
            axes.imshow(image)
            axes.set(xticks=[], yticks=[])
            boxes = [(box, "lime") for box in true_boxes]
            if name:
                score_map, _ = read_score_map(maps[name].paths[image_id])
                axes.imshow(score_map, cmap="jet", alpha=0.5, vmin=0, vmax=1)
                if thresholds[name] is not None:
                    boxes.append((candidate_boxes(score_map, [thresholds[name]], False).boxes[0], "red"))
            for (x0, y0, x1, y1), color in boxes:
                axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=1.5))
    for axes, name in zip(grid[0], ["image", *runs], strict=True):
        axes.set_title(name, fontsize="small", parse_math=False)
    heading = f"{config['dataset_name']} {split}: true boxes green, predicted red"
    figure.suptitle(heading, fontsize="medium", parse_math=False)
    with whole_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=110)
