"""Any timm network with a spatial feature map, as `--architecture timm:NAME`.

Supported are convolutional networks with outputs (B, C, h, w) or, channels last, (B, h, w, C), and transformers, whose
tokens (B, prefix + h * w, C) form a grid after some prefix tokens. The modules of one network may differ in layout: the
number of channels that timm states for a module identifies its layout.
"""

import math
from typing import TYPE_CHECKING, Any, cast

import timm
import torch
from torch import nn

from wsol.core.errors import InputError, OptionError, OptionName, reason
from wsol.networks.backbone import Backbone, Offer
from wsol.networks.timm_parts import blocks_of, has_class_token, own_preprocessing, patch_sides, require_whole_patches
from wsol.networks.weights import download_into, load_file_into

PROBE = 224  # input side of the dry run that measures feature maps
FEATURES = "features"  # the key of the last features among a network's layouts
MOST_PREFIXES = 5  # class token and registers, if a network does not say how many it has

if TYPE_CHECKING:

    class Network(nn.Module):
        """What every network of timm has in addition."""

        num_features: int
        pretrained_cfg: dict[str, Any]

        def forward_features(self, images: torch.Tensor) -> torch.Tensor:
            """Return the features that the head takes."""

        def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
            """Replace the head; 0 classes remove it."""

    class Strided(nn.Module):
        """A layer with a stride."""

        stride: int | tuple[int, int]


class Layout:
    """How a module's output holds a map: "NCHW", "NHWC" or "tokens". The first `prefix` tokens are not positions."""

    def __init__(self, kind: str, channels: int, prefix: int = 0):
        self.kind, self.channels, self.prefix = kind, channels, prefix

    @classmethod
    def of(cls, output: object, prefix: int | None, channels: int | None, channels_last: bool) -> "Layout | None":
        """Return the layout of the output for one square image, or None if it has no map of 2 x 2 or more.

        `prefix`: the number of prefix tokens that the network states, None if it states none. `channels`: the number of
        channels that the output should have, None if unknown. If exactly one axis has this size, it holds the channels; if
        none has, the layout is unknown. `channels_last` decides if both axes have this size, or if it is unknown.
        """
        if not isinstance(output, torch.Tensor):
            return None
        if output.ndim == 4:
            at = {"NCHW": output.shape[1], "NHWC": output.shape[3]}
            kinds = [kind for kind, size in at.items() if channels in (None, size)]
            if not kinds:
                return None
            kind = kinds[0] if len(kinds) == 1 else ("NHWC" if channels_last else "NCHW")
            sides = output.shape[1:3] if kind == "NHWC" else output.shape[2:]
            return cls(kind, at[kind]) if min(sides) >= 2 else None
        if output.ndim == 3 and channels in (None, output.shape[2]):
            # A stage may precede the prefix tokens. If the network does not state a prefix, exactly one must be possible.
            possible = range(MOST_PREFIXES + 1) if prefix is None else dict.fromkeys((prefix, 0))
            positions = {p: output.shape[1] - p for p in possible}
            fitting = [p for p, count in positions.items() if count >= 4 and math.isqrt(count) ** 2 == count]
            if len(fitting) == 1 or (fitting and prefix is not None):
                return cls("tokens", output.shape[2], fitting[0])
        return None

    def to_map(self, output: torch.Tensor, image_size: tuple[int, int]) -> torch.Tensor:
        """Return an output as (B, C, h, w), for images of (height, width)."""
        if self.kind == "NHWC":
            return output.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            grid = output[:, self.prefix :].transpose(1, 2)
            return grid.unflatten(2, grid_of(grid.shape[2], *image_size))
        return output

    def from_map(self, feature_map: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return a changed map in this layout, with the prefix tokens of `output`."""
        if self.kind == "NHWC":
            return feature_map.permute(0, 2, 3, 1)
        if self.kind == "tokens":
            return torch.cat([output[:, : self.prefix], feature_map.flatten(2).transpose(1, 2)], dim=1)
        return feature_map


def grid_of(count: int, height: int, width: int) -> tuple[int, int]:
    """Return the (rows, columns) of a grid of `count` tokens with the aspect ratio of images of height x width.

    >>> grid_of(14 * 28, 224, 448)
    (14, 28)

    Raises:
        InputError: there is no such grid.
    """
    rows = math.isqrt(count * height // width)
    if rows == 0 or count % rows or rows * width != count // rows * height:
        raise InputError(
            f"{count} tokens for {height} x {width} images: expected images whose tokens form a grid of the same aspect "
            "ratio, such as square ones"
        )
    return rows, count // rows


class TimmBackbone(Backbone):
    """A timm network without its head; images (B, 3, H, W) to features (B, num_features, h, w)."""

    network: "Network"

    def __init__(self, network: "Network", layouts: dict[str, Layout], offer: Offer):
        super().__init__({"network": network}, offer)
        self.layouts = layouts
        features = layouts[FEATURES]
        self.class_token = features.kind == "tokens" and has_class_token(network, features.prefix)
        self.patch = patch_sides(network) if features.kind == "tokens" else None

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last features in the network's own layout, prefix tokens included."""
        self.image_size = (images.shape[2], images.shape[3])  # which cannot be derived from the modules' outputs
        require_whole_patches(self.patch, *self.image_size)
        return self.network.forward_features(images)

    def to_features(self, output: torch.Tensor) -> torch.Tensor:
        """Return the last features as a map."""
        return self.layouts[FEATURES].to_map(output, self.image_size)

    def summarize(self, output: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Return (B, num_features): the class token, if the network has one, else the mean of the map."""
        return output[:, 0] if self.class_token else super().summarize(output, features)

    def blocks(self) -> list[tuple[str, ...]]:
        """Return the names of the parameters of the network's blocks, from first to last."""
        blocks = blocks_of(self.network, PROBE)
        return [tuple(f"network.{name}" for name in block) for block in blocks]

    def to_map(self, name: str, output: torch.Tensor) -> torch.Tensor:
        """Return a module's output as (B, C, h, w)."""
        return self.layouts[name].to_map(output, self.image_size)

    def from_map(self, name: str, feature_map: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Return a changed map in the layout of the module's output."""
        return self.layouts[name].from_map(feature_map, output)


def _probe(network: "Network", name: str) -> dict[str, Any]:
    """Return the outputs of the network's stages and its last features (FEATURES) for one image.

    Raises:
        InputError: the network fails on the image.
    """
    outputs: dict[str, Any] = {}
    stages = [stage.get("module") for stage in getattr(network, "feature_info", None) or ()]
    modules = dict(network.named_modules())
    handles = [
        modules[stage].register_forward_hook(lambda _m, _i, output, stage=stage: outputs.update({stage: output}))
        for stage in stages
        if stage in modules
    ]
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            features = network.forward_features(torch.zeros(1, 3, PROBE, PROBE))
    except Exception as error:  # noqa: BLE001 (a network of the library may raise anything on a 224 x 224 image)
        raise _refusal(name, f"fails on a {PROBE} x {PROBE} image ({reason(error)})") from None
    finally:
        for handle in handles:
            handle.remove()
    network.train(training)
    return {**outputs, FEATURES: features}  # the stages in order of execution, the features last


def _layouts(network: "Network", name: str) -> dict[str, Layout]:
    """Return the layouts of the last features (FEATURES) and of the stages that have a map.

    Raises:
        InputError: the last features have no map.
    """
    channels_last = getattr(network, "output_fmt", None) == "NHWC"
    prefix = getattr(network, "num_prefix_tokens", None)
    outputs = _probe(network, name)
    known = {stage.get("module"): stage.get("num_chs") for stage in getattr(network, "feature_info", None) or ()}
    features = outputs[FEATURES]
    if isinstance(features, torch.Tensor) and network.num_features in features.shape[1:]:
        known[FEATURES] = network.num_features  # some networks count channels that their head adds
    found = {}
    for stage, output in outputs.items():
        key = FEATURES if stage == FEATURES else f"network.{stage}"
        if hasattr(network, "reroll") and output.shape != features.shape:
            continue  # Hiera orders its earlier tokens by window, not by grid position
        if layout := Layout.of(output, prefix, known.get(stage), channels_last):
            found[key] = layout
        elif stage == FEATURES:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise _refusal(
                name,
                f"its last features are {shape}; expected a map (1, channels, h, w) with h and w of 2 or more, or tokens "
                "(1, prefix + h * w, channels) on a square grid, with exactly one possible prefix",
            )
    return found


def _map_height(network: "Network", name: str) -> int:
    """Return the height of the last features' map."""
    features = _probe(network, name)[FEATURES]
    return _layouts(network, name)[FEATURES].to_map(features, (PROBE, PROBE)).shape[2]


def _doubles(larger: int, smaller: int) -> bool:
    """Return whether one map is about twice as fine as another (unpadded layers lose or gain a pixel)."""
    return abs(larger - 2 * smaller) <= 1


def _remove_last_stride(network: "Network", name: str) -> None:
    """Set the strides of the stage that makes the final map to 1, on every parallel path.

    The stage is the outermost module that contains the last such stride and halves its input. Strides of earlier stages (for
    example of attention's reduced keys) stay.

    Raises:
        InputError: the map is not about twice as fine then.
    """
    height = _map_height(network, name)
    halving: list[nn.Module] = []  # in order of execution; a container follows its parts

    def record(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        both = (*inputs[:1], output)
        spatial = len(both) == 2 and all(isinstance(x, torch.Tensor) and x.ndim == 4 for x in both)
        if spatial and output.shape[2] == height and _doubles(inputs[0].shape[2], height):
            halving.append(module)

    hooks = [module.register_forward_hook(record) for module in network.modules() if module is not network]
    _probe(network, name)
    for hook in hooks:
        hook.remove()
    leaves = [module for module in halving if not list(module.children())]
    strided = [cast("Strided", module) for module in leaves if getattr(module, "stride", 1) in (2, (2, 2))]
    stages = [module for module in halving if strided and strided[-1] in module.modules()]
    outermost = max(stages, key=lambda module: len(list(module.modules())), default=None)
    inside = set(outermost.modules()) if outermost is not None else set()
    for module in (module for module in strided if module in inside):
        module.stride = (1, 1) if isinstance(module.stride, tuple) else 1
        kernel = getattr(module, "kernel_size", 0)
        if isinstance(module, nn.AvgPool2d | nn.MaxPool2d) and kernel in (2, (2, 2)):
            module.kernel_size = 1  # a pool without overlap has nothing to pool at stride 1
            module.padding = 0
    try:
        finer = _map_height(network, name) if inside else 0
    except InputError:
        finer = 0  # parallel paths no longer meet
    if not _doubles(finer, height):
        raise OptionError(
            "large_feature_map",
            "TRUE",
            f"the last stride of timm:{name} could not be removed (its map is {height} x {height} at input {PROBE}); use ",
            OptionName("large_feature_map"),
            " FALSE",
        )


def _linear_classifier(network: "Network", name: str, head: str) -> dict[str, torch.Tensor] | None:
    """Return the state dict of a network's head if it is one linear layer on the mean of the last features, else None.

    Heads of other networks normalise in between, or take the class token; a photo shows it, here one of smooth colours.
    """
    classifier = network.get_submodule(head)
    if not isinstance(classifier, nn.Linear):
        return None
    ramp = torch.linspace(-2, 2, PROBE)
    image = torch.stack([ramp.expand(PROBE, PROBE), ramp[:, None].expand(PROBE, PROBE), torch.outer(ramp, ramp)])[None]
    training = network.training
    network.eval()
    with torch.no_grad():
        features = _layouts(network, name)[FEATURES].to_map(network.forward_features(image), (PROBE, PROBE))
        fits = features.shape[1] == classifier.in_features
        same = fits and torch.allclose(classifier(features.mean(dim=(2, 3))), network(image), rtol=1e-3, atol=1e-3)
    network.train(training)
    return {key: value.clone() for key, value in classifier.state_dict().items()} if same else None


def _refusal(name: str, problem: str) -> OptionError:
    return OptionError("architecture", f"timm:{name}", problem)


def _create(name: str) -> "Network":
    """Return a network with random weights, for images of any size if it has that option."""
    try:
        network = timm.create_model(name, pretrained=False, dynamic_img_size=True)
    except TypeError:  # most networks do not have the option
        network = timm.create_model(name, pretrained=False)
    return cast("Network", network)


def timm_network(
    name: str, _trunk: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None
) -> TimmBackbone:
    """Return timm's network `name`, the same for every trunk.

    The large feature map is twice as fine: the network's last stride is removed. Attention and side branches act on the last
    two stages.

    Raises:
        InputError: timm has no such network or cannot create it, it has no map, or its weights cannot be obtained.
    """
    if not timm.is_model(name):
        similar = ", ".join(timm.list_models(f"*{name[:12]}*")[:8]) or "see timm.list_models()"
        raise _refusal(name, f"timm {timm.__version__} has no such network; similar: {similar}")
    try:
        network = _create(name)
    except Exception as error:  # noqa: BLE001 (an unknown pretrained tag, or a network that needs more options)
        raise _refusal(name, f"timm cannot create it ({reason(error)})") from None
    heads = network.pretrained_cfg.get("classifier") or "classifier"
    heads = (heads,) if isinstance(heads, str) else tuple(heads)
    filled: set[str] = set()
    if pretrained_path:
        filled = load_file_into(network, pretrained_path, ignored=heads)
    elif pretrained:
        source = network.pretrained_cfg.get("url") or f"the weights of {network.pretrained_cfg.get('hf_hub_id')}"
        download_into(network, lambda: timm.create_model(name, pretrained=True).state_dict(), f"timm:{name}", source)
        filled = set(network.state_dict())
    has_head = filled >= {f"{heads[0]}.weight", f"{heads[0]}.bias"}
    classifier = _linear_classifier(network, name, heads[0]) if has_head else None
    try:
        network.reset_classifier(0, "")
    except Exception:  # noqa: BLE001 (some networks cannot drop their pool; their features do not pass it)
        network.reset_classifier(0)
    if large_feature_map:
        _remove_last_stride(network, name)
    layouts = _layouts(network, name)
    late = [stage for stage in layouts if stage != FEATURES][-2:]
    offer = Offer(
        num_features=layouts[FEATURES].channels,
        fast_convolutions=False,  # as for ResNets: at ten times the rate, SPG's branches diverged on EfficientNet-Lite0
        attention_points=tuple(late),
        side_points=tuple((stage, layouts[stage].channels) for stage in late),
        pretrained_classifier=classifier,
        own_preprocessing=own_preprocessing(network),
    )
    return TimmBackbone(network, layouts, offer)
