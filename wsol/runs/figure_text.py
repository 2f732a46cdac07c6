"""Figures as lines for a person: what main.py logs and evaluation.py prints."""

from collections.abc import Mapping, Sequence

from wsol.metrics.split_evaluator import LOC_IOU, TOP


def _line(name: str, value: float, interval: Sequence[float] | None, note: str = "") -> str:
    sure = f"  [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else ""
    return f"{name}  {value:.2f}{sure}{note}"


def _box_lines(results: Mapping, found: Mapping, multi_iou_eval: bool, suffix: str, title: str) -> list[str]:
    """Return the lines of box accuracies, at the best score-map thresholds or (`suffix`) at val's."""
    accuracies = results[f"MaxBoxAcc{suffix}"]
    rule = results["box_rule"].replace("_", " ")
    lines = []
    if multi_iou_eval:
        name = "mean_MaxBoxAcc" if results["MaxBoxAccV2"] is None else "MaxBoxAccV2"
        mean = sum(accuracies.values()) / len(accuracies)
        lines.append(_line(f"{name.replace('_', ' ')}{title}", mean, found.get(name + suffix)))
    thresholds = results["val_threshold" if suffix else "best_threshold"]
    for iou, accuracy in accuracies.items():
        if multi_iou_eval or iou == str(LOC_IOU):
            where = f"score-map threshold {thresholds[iou]:.3f}, {rule}" if thresholds else rule
            interval = (found.get(f"MaxBoxAcc{suffix}") or {}).get(iou)
            lines.append(_line(f"MaxBoxAcc at IoU {iou}{title}", accuracy, interval, f"  ({where})"))
    return lines


def format_results(results: Mapping, multi_iou_eval: bool) -> str:
    """Return a split's metrics as lines for a person: all IoU thresholds and their mean, or only IoU 50."""
    found = results.get("intervals") or {}
    pseudo = " on pseudo boxes" if "box_source" in results else ""
    titles = {"": "", "_at_val_threshold": " at val's threshold"}
    lines = []
    for suffix, title in titles.items():
        if results.get(f"MaxBoxAcc{suffix}"):
            lines += _box_lines(results, found, multi_iou_eval, suffix, pseudo + title)
    names = {"PxAP": "PxAP"}
    if "top1_cls" in results:
        names |= {"gt_known_loc": "GT-known Loc", "top1_loc": "Top-1 Loc", "top5_loc": "Top-5 Loc"}
        names |= {f"top{k}_loc_at_val_threshold": f"Top-{k} Loc at val's threshold" for k in TOP}
        names = {key: name.replace("Loc", f"Loc{pseudo}") for key, name in names.items()}
        names |= {"top1_cls": "Top-1 Cls", "top5_cls": "Top-5 Cls"}
    lines += [_line(name, results[key], found.get(key)) for key, name in names.items() if results.get(key) is not None]
    if found:
        lines.append(f"[low, high]: {found['percent']} % bootstrap intervals, {found['resamples']} resamples of the images")
    return "\n".join(lines)


def format_analysis(analysis: Mapping) -> str:
    """Return the analysis of appendix 0.F.1 as lines for a person."""
    titles = {
        "area_ratio": "predicted / true box area",
        "activation_ratio": "activation inside / outside the true box",
        "num_components": "connected components",
    }
    threshold = f"score-map threshold {analysis['score_map_threshold']:.3f}"
    lines = [f"at {threshold}, the best for IoU {LOC_IOU}, with the largest contour's box:"]
    for name, title in titles.items():
        mean, median = (analysis[name][kind] for kind in ("mean", "median"))
        lines.append(f"  {title}  none" if mean is None else f"  {title}  mean {mean:.3f}, median {median:.3f}")
    lines.append(f"  images without activation outside, left out above  {analysis['images_without_activation_outside']}")
    return "\n".join(lines)


def format_comparison(what: str, other: str, comparison: Mapping) -> str:
    """Return a comparison as lines for a person."""
    lines = [f"{what} less {other}, on the same images:"]
    for name, test in comparison.items():
        sure = "[{:.2f}, {:.2f}]".format(*test["interval"]) if test["interval"] else "[none]"
        lines.append(f"  {name}  {test['difference']:+.2f}  {sure}  p {test['p_value']:.3g}")
    return "\n".join(lines)
