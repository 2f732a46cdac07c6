"""The Center baseline's value in figures: a horizontal line, on the images that the runs were scored on."""

from wsol.data.metadata import read_id_list
from wsol.plots.shown_runs import ShownRuns
from wsol.runs.center_baseline import center_results


def center_value(shown: ShownRuns) -> float | None:
    """Return Center's value on the images that the finest level's run scored; None if there are no boxes and no masks."""
    runs = sorted(shown.on_all_images.runs, key=lambda run: shown.levels.index(run.level))
    if not runs or not runs[0].part.has_localization:
        return None
    folder, config = runs[0].entry.folder, runs[0].entry.config
    results = center_results(config, shown.split, read_id_list(folder / f"{shown.split}_image_ids.txt"))
    return results.value(shown.headline)
