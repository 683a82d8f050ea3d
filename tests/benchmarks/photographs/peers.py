"""Codes and features of other programs for a set of pictures, and the CPU time that each took.

imagededup and ImageHash are called for one file after the other, in one process. imagededup's CNN
downloads the weights of MobileNetV3; without them its class `CNN` runs on EfficientNet-Lite0 with
ImageNet's weights at 224 x 224 pixels, a larger and better network, by ONNX Runtime. How long its
own network takes does not depend on weights: `cnn_seconds` times it with random ones.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

__all__ = ["CNN_NAME", "METHODS", "cnn_seconds", "encoded"]

CNN_NAME: Final = "imagededup CNN, on EfficientNet-Lite0"
_SIDE: Final = 224


def encoded(method: str, paths: Sequence[Path], work: Path) -> tuple[NDArray[Any], float]:
    """One row per file, and the CPU seconds per file; kept in ``work``."""
    stored = work / f"{method.replace(' ', '-').replace(',', '')}.npz"
    if not stored.exists():
        encode = METHODS[method]()
        encode(paths[0])
        start = time.process_time()
        rows = np.stack([encode(path) for path in paths])
        seconds = (time.process_time() - start) / len(paths)
        np.savez(stored, rows=rows, seconds=seconds)
        print(f"{method}: {1 / seconds:.0f} images per CPU second", flush=True)
    with np.load(stored) as found:
        return found["rows"], float(found["seconds"])


def imagehash_phash() -> Callable[[Path], NDArray[np.uint8]]:
    import imagehash

    def encode(path: Path) -> NDArray[np.uint8]:
        with Image.open(path) as image:
            return np.packbits(imagehash.phash(image).hash.reshape(-1))

    return encode


def dedup_hash(name: str) -> Callable[[], Callable[[Path], NDArray[np.uint8]]]:
    def load() -> Callable[[Path], NDArray[np.uint8]]:
        from imagededup import methods

        method = getattr(methods, name)(verbose=False)

        def encode(path: Path) -> NDArray[np.uint8]:
            return np.frombuffer(bytes.fromhex(method.encode_image(image_file=path)), np.uint8)

        return encode

    return load


def dedup_cnn() -> Callable[[Path], NDArray[np.float32]]:
    import torch
    from imagededup.methods import CNN
    from imagededup.utils import CustomModel
    from torchvision.transforms import transforms

    from hashkit.features.lite.efficientnet_lite import build_efficientnet_lite
    from hashkit.features.session import EmbedderSession

    session = EmbedderSession(build_efficientnet_lite("efficientnet-lite0", (_SIDE, _SIDE)), "cpu")
    prepare = transforms.Compose(
        [
            transforms.Resize((256, 256)),
            transforms.CenterCrop(_SIDE),
            lambda image: torch.from_numpy(np.array(image)),
        ]
    )

    class Features(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(session.run(pixels.cpu().numpy()))

    model = CustomModel(name="efficientnet-lite0", model=Features(), transform=prepare)
    cnn = CNN(verbose=False, model_config=model)
    return lambda path: cnn.encode_image(image_file=path)[0]


METHODS: Final[Mapping[str, Callable[[], Callable[[Path], NDArray[Any]]]]] = {
    "ImageHash phash": imagehash_phash,
    "imagededup PHash": dedup_hash("PHash"),
    "imagededup DHash": dedup_hash("DHash"),
    CNN_NAME: dedup_cnn,
}


def cnn_seconds(paths: Sequence[Path]) -> float:
    """CPU seconds per file of imagededup's CNN with its own network, with random weights."""
    import torch
    from imagededup.methods import CNN
    from imagededup.utils import CustomModel
    from imagededup.utils.models import MobilenetV3
    from torchvision import models

    class Random(MobilenetV3):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            network = models.mobilenet_v3_small(weights=None).eval()
            self.mobilenet_gap_op = torch.nn.Sequential(network.features, network.avgpool)

    torch.set_num_threads(1)  # several threads would spin while they wait, which counts as CPU time
    model = CustomModel(name="random", model=Random(), transform=MobilenetV3.transform)
    cnn = CNN(verbose=False, model_config=model)
    cnn.encode_image(image_file=paths[0])
    start = time.process_time()
    for path in paths:
        cnn.encode_image(image_file=path)
    return (time.process_time() - start) / len(paths)


warnings.filterwarnings("ignore", module="imagededup")
ImageFile.LOAD_TRUNCATED_IMAGES = False
