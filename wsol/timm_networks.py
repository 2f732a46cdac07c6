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
        raise InputError(f"--architecture timm:{name}: fails on a {PROBE} x {PROBE} image ({error})") from None
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


def _remove_last_stride(network: nn.Module, name: str) -> None:
    """Set to 1 the strides that make the final map from one of about twice its size, on every parallel path."""
    height = _probe(network, name)[2]
    found: list[nn.Module] = []

    def record(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        both = (*inputs[:1], output)
        spatial = len(both) == 2 and all(isinstance(x, torch.Tensor) and x.ndim == 4 for x in both)
        if spatial and inputs[0].shape[2] > output.shape[2] == height:
            found.append(module)

    strided = [m for m in network.modules() if not list(m.children()) and getattr(m, "stride", 1) not in (1, (1, 1))]
    hooks = [module.register_forward_hook(record) for module in strided]
    _probe(network, name)
    for hook in hooks:
        hook.remove()
    for module in found:
        module.stride = (1, 1) if isinstance(module.stride, tuple) else 1
        if isinstance(module, nn.AvgPool2d | nn.MaxPool2d) and not module.padding:
            module.kernel_size = 1  # a pool without overlap: at stride 1 nothing is left to pool
    try:
        finer = _probe(network, name)[2] if found else 0
    except InputError:
        finer = 0  # parallel paths no longer meet
    if finer < 2 * height - 1:
        raise InputError(
            f"--large_feature_map TRUE: the last stride of timm:{name} could not be removed (its map is {height} x "
            f"{height} at input {PROBE}); use --large_feature_map FALSE"
        )


def timm_network(name: str, large_feature_map: bool, pretrained: bool, pretrained_path: str | None) -> TimmFeatures:
    """Return timm's network `name`; the large feature map is twice as fine, by removing the network's last stride."""
    if not timm.is_model(name):
        similar = ", ".join(timm.list_models(f"*{name[:12]}*")[:8]) or "see timm.list_models()"
        raise InputError(f"--architecture timm:{name}: timm {timm.__version__} has no such network; similar: {similar}")
    network = timm.create_model(name, pretrained=False)
    head = network.pretrained_cfg.get("classifier") or "classifier"
    head = head if isinstance(head, str) else head[0]
    if pretrained_path:
        load_file_into(network, pretrained_path, head=head)
    elif pretrained:
        source = network.pretrained_cfg.get("url") or f"the weights of {network.pretrained_cfg.get('hf_hub_id')}"
        download_into(network, lambda: timm.create_model(name, pretrained=True).state_dict(), f"timm:{name}", source)
    network.reset_classifier(0, "")
    if large_feature_map:
        _remove_last_stride(network, name)
    return TimmFeatures(network, _probe(network, name)[1])
