"""A tree of WordNet's noun hypernyms above a list of synsets: the hierarchies of ILSVRC and TinyImageNet.

    python dataset/wordnet.py SYNSETS OUT.csv --wordnet /usr/share/wordnet

writes OUT.csv (child,parent) for a file of synset ids such as n01440764, one per line, from data.noun of WordNet 3.0
(Debian's package wordnet-base has it). metadata/hierarchies/{imagenet,tiny_imagenet}_tree.csv were made like this, with the
synsets of timm's imagenet_synsets.txt and of TinyImageNet's wnids.txt. Everything else works without WordNet.
"""

import sys
from collections.abc import Container, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dataset.label_levels import Splits, write_tree_levels
from wsol.core.arguments import Parser
from wsol.core.csv_rows import read_notice, read_rows
from wsol.core.errors import InputError, MetadataError, command
from wsol.core.files import read_lines, write_text
from wsol.data.hierarchy import Hierarchy, greedy_parents, read_tree

HIERARCHIES = Path(__file__).resolve().parent.parent / "metadata" / "hierarchies"


def node_name(word: str, synset: str) -> str:
    """Return the name of a node. It includes the synset, because several synsets share a word.

    >>> node_name("tench", "n01440764"), synset_of("tench (n01440764)")
    ('tench (n01440764)', 'n01440764')
    """
    return f"{word} ({synset})"


def synset_of(node: str) -> str:
    """Return the synset in the name of a node."""
    return node[-10:-1]


def read_nouns(path: Path) -> tuple[dict[str, str], dict[str, list[str]], list[str]]:
    """Return (synset to its first word, synset to its hypernyms, the notice) of WordNet's data.noun.

    A line is: offset, file, type, number of words (hexadecimal), word and id each, number of pointers, then symbol, offset,
    part of speech, source/target each. Hypernyms are the pointers `@` and, of instances, `@i` (wndb(5WN)).
    """
    words: dict[str, str] = {}
    hypernyms: dict[str, list[str]] = {}
    notice: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("  "):
            notice.append(line.strip().partition(" ")[2])
            continue
        fields = line.partition(" | ")[0].split(" ")
        try:
            first = 4 + 2 * int(fields[3], 16)
            count = int(fields[first])
            if len(fields) < first + 1 + 4 * count:
                raise ValueError("fewer pointers than it says")
            pointers = [fields[first + 1 + 4 * i : first + 5 + 4 * i] for i in range(count)]
            synset = f"n{fields[0]}"
            words[synset] = fields[4].replace("_", " ")
            hypernyms[synset] = [f"n{offset}" for symbol, offset, _, _ in pointers if symbol in ("@", "@i")]
        except (ValueError, IndexError):
            raise InputError(f"{path}:{number}: not a line of WordNet's data.noun") from None
    return words, hypernyms, notice


def read_synsets(path: Path, nouns: Container[str]) -> list[str]:
    """Return the synset ids of a file, one per line."""
    synsets: dict[str, None] = {}
    for number, line in enumerate(read_lines(path), 1):
        if line not in nouns or line in synsets:
            raise InputError(f"{path}:{number}: {line!r}; expected unique nouns of this WordNet, such as n01440764")
        synsets[line] = None
    if not synsets:
        raise InputError(f"{path}: empty; expected synset ids, one per line")
    return list(synsets)


def hypernym_graph(hypernyms: dict[str, list[str]], synsets: Sequence[str]) -> dict[str, list[str]]:
    """Return synset to its hypernyms, for the given synsets and all above them."""
    graph: dict[str, list[str]] = {}
    waiting = list(synsets)
    while waiting:
        synset = waiting.pop()
        if synset not in hypernyms:
            raise MetadataError(f"{synset} is a hypernym but not a noun in the file; expected WordNet's whole file")
        if synset not in graph:
            graph[synset] = hypernyms[synset]
            waiting.extend(hypernyms[synset])
    return graph


def write_levels(folder: Path, tree: str, synsets: Sequence[str], classes: Sequence[str], splits: Splits) -> list[str]:
    """Write levels c0, c1, ... of an ImageNet-like data set that has labels at its finest level, synset; return the names.

    `tree`: a file in metadata/hierarchies. `synsets` and `classes`: synset and class name of every finest label. Synsets
    outside the tree have no c level; with fewer than two inside it there are no c levels.
    """
    path = HIERARCHIES / tree
    known = read_tree(path)
    leaf_of = {synset_of(leaf): leaf for leaf in known.leaves}
    inside = {leaf_of[synset]: name for synset, name in zip(synsets, classes, strict=True) if synset in leaf_of}
    if len(inside) < 2:
        return ["synset"]
    part = known.restricted(inside)
    hierarchy = Hierarchy({inside.get(child, child): parent for child, parent in part.parents.items()}, inside.values())
    return write_tree_levels(folder, "synset", classes, hierarchy, splits, read_notice(path))


def ilsvrc_classes() -> dict[str, str]:
    """Return synset to name of the classes of ILSVRC, in the order of their labels.

    The names come from files: timm, which knows them too, would load torch.
    """
    names = {synset: node_name(word, synset) for _, (synset, word) in read_rows(HIERARCHIES / "imagenet_outside.csv")[1]}
    names |= {synset_of(leaf): leaf for leaf in read_tree(HIERARCHIES / "imagenet_tree.csv").leaves}
    return dict(sorted(names.items()))


def write_ilsvrc_levels(folder: Path, splits: Splits) -> list[str]:
    """Write the levels of ILSVRC, whose labels 0 to 999 number the synsets in ascending order; return the level names."""
    classes = ilsvrc_classes()
    return write_levels(folder, "imagenet_tree.csv", list(classes), list(classes.values()), splits)


@command
def main() -> None:
    """Make a tree from data.noun of WordNet."""
    parser = Parser(__doc__)
    parser.add_argument("synsets", type=Path, help="file of synset ids, one per line")
    parser.add_argument("out", type=Path, help="tree.csv to write")
    parser.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"), help="folder of data.noun")
    options = parser.parse_args()
    nouns = options.wordnet / "data.noun"
    words, hypernyms, notice = read_nouns(nouns)
    synsets = read_synsets(options.synsets, hypernyms)
    try:
        graph = hypernym_graph(hypernyms, synsets)
        parents = greedy_parents(graph, synsets)
        names = {synset: node_name(words[synset], synset) for synset in graph}
        tree = Hierarchy({names[child]: names[parents[child]] for child in sorted(parents)})
    except MetadataError as error:
        raise InputError(f"{nouns}: {error}") from None
    source = f"Hypernyms of {len(synsets)} synsets, one parent each by the rule of Cole et al. (dataset/wordnet.py), from:"
    write_text(options.out, tree.tree_text([source, "", *notice]))
    several = sum(len(above) > 1 for above in graph.values())
    print(
        f"{len(synsets)} synsets; {len(graph)} nodes, {several} with several parents;"
        f" after the greedy rule {len(tree.depths)} nodes, {len(tree.leaves)} leaves, depth {max(tree.depths.values())}"
    )
    leaves = set(tree.leaves)  # a synset above another is in the tree, but not as a class
    lost = [names[synset] for synset in synsets if names[synset] not in leaves]
    print("left out:", ", ".join(lost) or "none")


if __name__ == "__main__":
    main()
