"""Any timm network whose last features are a spatial map (B, C, h, w), as `--architecture timm:NAME`."""

import timm
import torch
from torch import nn

from wsol.errors import InputError
from wsol.weights import download_into, load_file_into

PROBE = 224  # input side of the dry run that measures the feature map


class TimmFeatures(nn.Module):
    """A timm network without its head; images (B, 3, H, W) to features (B, num_features, h, w)."""

    fast_stages = ()  # only the classifier learns at its own rate

    def __init__(self, network: nn.Module, num_features: int):
        super().__init__()
        self.network = network
        self.num_features = num_features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.forward_features(images)


def _probe(network: nn.Module, name: str) -> torch.Size:
    """Return the shape of the last features for one image, or refuse the network with the reason."""
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            features = network.forward_features(torch.zeros(1, 3, PROBE, PROBE))
    except Exception as error:  # whatever a network of the library says of a 224 x 224 image
        raise InputError(
            f"--architecture timm:{name}: fails on a {PROBE} x {PROBE} image ({type(error).__name__}: {error})"
        ) from None
    network.train(training)
    if not isinstance(features, torch.Tensor) or features.ndim != 4 or min(features.shape[2:]) < 2:
        shape = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        raise InputError(
            f"--architecture timm:{name}: its last features are {shape}; expected a spatial map (1, channels, h, w) "
            "with h and w of 2 or more"
        )
    if features.shape[1] < max(features.shape[2:]):
        raise InputError(
            f"--architecture timm:{name}: its last features {tuple(features.shape)} have the channels last; expected "
            "(1, channels, h, w)"
        )
    return features.shape


def _doubles(larger: int, smaller: int) -> bool:
    """Tell whether one map is about twice as fine as another (unpadded layers lose or gain a pixel)."""
    return abs(larger - 2 * smaller) <= 1


def _remove_last_stride(network: nn.Module, name: str) -> None:
    """Set to 1 the strides of the stage that makes the final map, on every parallel path.

    The stage is the outermost module that holds the last such stride and itself halves its input: strides of earlier
    stages (of attention's reduced keys, say) stay.
    """
    height = _probe(network, name)[2]
    halving: list[nn.Module] = []  # in order of execution; a container comes after what it holds

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
    strided = [module for module in leaves if getattr(module, "stride", 1) in (2, (2, 2))]
    stages = [module for module in halving if strided and strided[-1] in module.modules()]
    outermost = max(stages, key=lambda module: len(list(module.modules())), default=None)
    inside = set(outermost.modules()) if outermost is not None else set()
    for module in (module for module in strided if module in inside):
        module.stride = (1, 1) if isinstance(module.stride, tuple) else 1
        kernel = getattr(module, "kernel_size", 0)
        if isinstance(module, nn.AvgPool2d | nn.MaxPool2d) and kernel in (2, (2, 2)):
            module.kernel_size = 1  # a pool without overlap: at stride 1 nothing is left to pool
            module.padding = 0
    try:
        finer = _probe(network, name)[2] if inside else 0
    except InputError:
        finer = 0  # parallel paths no longer meet
    if not _doubles(finer, height):
        raise InputError(
            f"--large_feature_map TRUE: the last stride of timm:{name} could not be removed (its map is {height} x "
            f"{height} at input {PROBE}); use --large_feature_map FALSE"
        )


def timm_network(name: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> TimmFeatures:
    """Return timm's network `name`; the large feature map is twice as fine, by removing the network's last stride."""
    if not timm.is_model(name):
        similar = ", ".join(timm.list_models(f"*{name[:12]}*")[:8]) or "see timm.list_models()"
        raise InputError(f"--architecture timm:{name}: timm {timm.__version__} has no such network; similar: {similar}")
    try:
        network = timm.create_model(name, pretrained=False)
    except Exception as error:  # an unknown pretrained tag, a network that needs more options
        raise InputError(f"--architecture timm:{name}: timm cannot make it ({error})") from None
    head = network.pretrained_cfg.get("classifier") or "classifier"
    head = head if isinstance(head, str) else head[0]
    if pretrained_path:
        load_file_into(network, pretrained_path, head=head)
    elif pretrained:
        source = network.pretrained_cfg.get("url") or f"the weights of {network.pretrained_cfg.get('hf_hub_id')}"
        download_into(network, lambda: timm.create_model(name, pretrained=True).state_dict(), f"timm:{name}", source)
    try:
        network.reset_classifier(0, "")
    except Exception:  # some networks cannot be without a pool; their features do not pass it
        network.reset_classifier(0)
    if large_feature_map:
        _remove_last_stride(network, name)
    return TimmFeatures(network, _probe(network, name)[1])
