"""The sizes of score maps, on which figures depend: counted, reported if they matter, compared only if equal."""

from collections import Counter
from collections.abc import Iterable, Mapping

from wsol.core.errors import InputError, OptionName
from wsol.data.masks import VIEW

Size = tuple[int, int]  # (w, h)
OWN_PROTOCOL = ("Toy",)  # data sets whose maps are smaller than the protocol's by design
SHOWN = 5  # sizes that a message lists


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def count_sizes(sizes: Iterable[Size]) -> list[tuple[Size, int]]:
    """Return (size, how many maps have it), the most frequent first."""
    return sorted(Counter(sizes).items(), key=lambda item: (-item[1], item[0]))


def size_rows(sizes: Iterable[Size]) -> list[dict[str, int]]:
    """Return the counts of sizes as rows for the results."""
    return [{"width": size[0], "height": size[1], "images": count} for size, count in count_sizes(sizes)]


def mixture_warning(sizes: Iterable[Size]) -> str | None:
    """Return a warning of maps of several sizes; None if all have the same."""
    counts = count_sizes(sizes)
    if len(counts) < 2:
        return None
    shown = [f"{count} of {_text(size)}" for size, count in counts[:SHOWN]]
    shown += [f"{len(counts) - SHOWN} more sizes"] if len(counts) > SHOWN else []
    return f"maps of {len(counts)} sizes ({', '.join(shown)}): figures depend on the size; --map_size N resizes all to N x N"


def small_map_note(dataset_name: str, sizes: Iterable[Size]) -> str | None:
    """Return a note on maps under the protocol's size; None if there are none or the data set's maps are small by design."""
    counts = count_sizes(sizes)
    small = [(size, count) for size, count in counts if min(size) < min(VIEW)]
    if not small or dataset_name in OWN_PROTOCOL:
        return None
    total = sum(count for _, count in counts)
    which = "maps" if len(small) == len(counts) else f"{sum(count for _, count in small)} of {total} maps"
    size = f"of {_text(small[0][0])} pixels" if len(small) == 1 else f"of {len(small)} sizes"
    return (
        f"{which} {size}, below the protocol's {_text(VIEW)}: figures depend on the size, and these are not comparable "
        "with those of the protocol"
    )


def check_same_sizes(first: Mapping[str, Size], second: Mapping[str, Size]) -> None:
    """Raise InputError if an image's two maps differ in size; both arguments map image id to (w, h)."""
    unlike = [image_id for image_id, size in first.items() if second.get(image_id, size) != size]
    if unlike:
        one, other = first[unlike[0]], second[unlike[0]]
        more = f" and {len(unlike) - 1} more" if len(unlike) > 1 else ""
        raise InputError(
            f"maps of {_text(one)} and of {_text(other)} pixels ({unlike[0]}{more}) cannot be compared: figures depend on "
            "the size; expected one size, such as ",
            OptionName("map_size"),
            " N gives",
        )
