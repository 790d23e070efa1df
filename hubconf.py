"""Networks for torch.hub: torch.hub.load(FOLDER_OF_THIS_FILE, "stdnet_s", source="local", scale=4)."""

# Every public name here is an entry of torch.hub.
from STDNet import InputError as _InputError
from STDNet import STDNet as _STDNet
from STDNet import STDNetConfig as _STDNetConfig
from STDNet import load as _load

dependencies = ["torch", "torchvision", "numpy", "scipy", "PIL", "tqdm", "safetensors", "filelock"]


def stdnet(scale: int = 4, weights: str | None = None) -> _STDNet:
    """The paper's network: 64 channels, 19.917 M parameters.

    Args:
        scale: RGB pixels per depth pixel: 4, 8, 16.
        weights: What `STDNet.load` takes (a file, an address, a folder); None: untrained.

    Returns:
        The network; in evaluation mode where it has weights.
    """
    return _network("stdnet", scale, weights)


def stdnet_s(scale: int = 4, weights: str | None = "shipped") -> _STDNet:
    """The small network: 16 channels, 1.27 M parameters.

    Args:
        scale: RGB pixels per depth pixel: 4, 8, 16.
        weights: "shipped": those that ship with the package; else as for `stdnet`.

    Returns:
        The network; in evaluation mode where it has weights.
    """
    return _network("stdnet-s", scale, f"stdnet-s-x{scale}" if weights == "shipped" else weights)


def _network(preset: str, scale: int, weights: str | None) -> _STDNet:
    """A preset, with weights on request."""
    config = _STDNetConfig.preset(preset, scale)
    if weights is None:
        return _STDNet(config)
    net = _load(weights, scale=scale)
    if net.config != config:
        raise _InputError(f"{weights}: has {net.config.channels} channels, {preset} has {config.channels} channels")
    return net
