"""Networks of timm, and some like those of transformers, keep their features as ONNX embedders.

Weights are random, except for EfficientNet-Lite0. The graph's features of pixels are compared with
torch's features of pixels that NumPy normalised.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from clip_tower import ClipTower
from sklearn.datasets import load_sample_image

from hashkit.errors import ModelError
from hashkit.exporters import onnx_export
from hashkit.features.foreign.onnx_embedder import wrap_onnx
from hashkit.preprocess import load
from hashkit.runs.embedder_settings import EmbedderSettings
from hashkit.training.networks.efficientnet_lite import build_efficientnet_lite

# The fixture of conftest.py that makes exports fast works only where this is imported.
assert onnx_export.__all__

pytestmark = pytest.mark.end_to_end

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
IMAGENET = EmbedderSettings(preprocessing="imagenet")


def photographs(size):
    """Five parts of two photographs, uint8 [5, height, width, 3]."""
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    parts = [photos[n % 2][40 * n : 40 * n + 200, 60 * n : 60 * n + 220] for n in range(5)]
    return np.stack([load(np.ascontiguousarray(part), size, "crop-bilinear") for part in parts])


def exported(network, folder, size, *, batch=2, outputs=None, half=False, free_sides=False):
    """Path of a network's ONNX file, for any number of images, or for one if ``batch`` is 1.

    Uses the exporter that most files come from; the other one is slow, and has a test below.
    """
    network = network.eval()
    image = torch.zeros(batch, 3, *size, dtype=torch.float16 if half else torch.float32)
    path, outputs = folder / "network.onnx", outputs or ["features"]
    axes = {0: "N", 2: "H", 3: "W"} if free_sides else {0: "N"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (image,),
            str(path),
            input_names=["pixel_values"],
            output_names=outputs,
            dynamic_axes=None if batch == 1 else dict.fromkeys(["pixel_values", *outputs], axes),
            opset_version=17,
            dynamo=False,
            verbose=False,
        )
    return path


def create_timm(name, **arguments):
    """A network of timm, imported here: it takes seconds, and every process collects this file."""
    import timm

    return timm.create_model(name, **arguments)


def of_torch(network, images, mean=MEAN, std=STD):
    """Features of torch for normalised pixels."""
    planes = ((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.no_grad():
        return network.eval()(torch.from_numpy(np.ascontiguousarray(planes)))


def difference(embedder, images, expected):
    """Largest difference of features in batches of 5, 2 and 1, relative to the largest feature."""
    onnx.checker.check_model(onnx.load_model_from_string(embedder.graph), full_check=True)
    session = onnxruntime.InferenceSession(embedder.graph, providers=["CPUExecutionProvider"])
    expected = np.asarray(expected)
    largest = 0.0
    for n_images in (5, 2, 1):
        (found,) = session.run(["feature"], {"image": images[:n_images]})
        assert found.shape == (n_images, embedder.n_features)
        largest = max(largest, float(np.abs(found - expected[:n_images]).max()))
    assert np.ptp(expected, axis=0).max() > 100 * largest  # the pictures differ by far more
    return largest / float(np.abs(expected).max())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def small_vit(**settings):
    return create_timm(
        "vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=48, num_classes=0, **settings
    )


NETWORKS = {
    "vit": (lambda: small_vit(), (64, 64)),
    "convnext": (
        lambda: create_timm(
            "convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=0
        ),
        (64, 64),
    ),
    "swin": (
        lambda: create_timm(
            "swin_tiny_patch4_window7_224",
            img_size=64,
            window_size=4,
            depths=(2, 2),
            embed_dim=24,
            num_heads=(2, 4),
            num_classes=0,
        ),
        (64, 64),
    ),
    "mobilenet": (lambda: create_timm("mobilenetv3_small_050", num_classes=0), (64, 96)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_timm(tmp_path, name):
    make, size = NETWORKS[name]
    network, images = make(), photographs(size)
    embedder = wrap_onnx(exported(network, tmp_path, size), IMAGENET, None)
    assert difference(embedder, images, of_torch(network, images)) < 2e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_timm_for_one_image_are_made_dynamic(tmp_path, name):
    make, size = NETWORKS[name]
    network, images = make(), photographs(size)
    path = exported(network, tmp_path, size, batch=1)
    embedder = wrap_onnx(path, IMAGENET, None)
    assert embedder.facts["fixed_batch"] == 1
    assert difference(embedder, images, of_torch(network, images)) < 2e-5


@pytest.mark.parametrize("pooling", ["class-token", "mean"])
def test_tokens_of_a_vision_transformer(tmp_path, pooling):
    network, images = small_vit(global_pool=""), photographs((64, 64))
    settings = EmbedderSettings(preprocessing="imagenet", pooling=pooling)
    embedder = wrap_onnx(exported(network, tmp_path, (64, 64)), settings, None)
    tokens = of_torch(network, images).numpy()
    expected = tokens[:, 0] if pooling == "class-token" else tokens.mean(1)
    assert difference(embedder, images, expected) < 2e-5


def test_feature_maps_of_swin_have_channels_last(tmp_path):
    make, size = NETWORKS["swin"]
    network, images = make(), photographs(size)
    network.forward = network.forward_features
    embedder = wrap_onnx(exported(network, tmp_path, size), IMAGENET, None)
    assert embedder.facts["pooling"] == "mean over positions [N, h, w, C]"
    assert difference(embedder, images, of_torch(network, images).mean((1, 2))) < 2e-5


def test_a_clip_tower_with_its_processor(tmp_path):
    network, images = ClipTower(), photographs((64, 64))
    path = exported(network, tmp_path, (64, 64), outputs=["last_hidden_state", "image_embeds"])
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    config = {"image_mean": mean, "image_std": std, "resample": 3, "crop_size": 64}
    config |= {"size": {"shortest_edge": 64}, "rescale_factor": 1 / 255}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    embedder = wrap_onnx(path, EmbedderSettings(output="image_embeds"), None)
    assert (embedder.resize, embedder.facts["resize_differences"]) == ("crop-bicubic", [])
    tokens, expected = of_torch(network, images, mean, std)
    assert difference(embedder, images, expected) < 2e-5
    embedder = wrap_onnx(
        path, EmbedderSettings(output="last_hidden_state", pooling="class-token"), None
    )
    assert difference(embedder, images, tokens[:, 0]) < 2e-5


def test_a_clip_tower_for_one_image(tmp_path):
    """Attention of torch has the images in its second axis, which is not supported."""
    path = exported(ClipTower(), tmp_path, (64, 64), batch=1, outputs=["tokens", "image_embeds"])
    settings = EmbedderSettings(preprocessing="imagenet", output="image_embeds")
    with pytest.raises(ModelError, match="fixed batch of 1 that cannot be made dynamic"):
        wrap_onnx(path, settings, None)


def test_the_exporter_of_torch_that_traces_with_dynamo(tmp_path):
    network, images = small_vit(), photographs((64, 64))
    path = tmp_path / "network.onnx"
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 3, 64, 64),),
        str(path),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        dynamo=True,
        verbose=False,
    )
    assert list(tmp_path.glob("*.data"))  # it writes weights beside the file
    embedder = wrap_onnx(path, IMAGENET, None)
    assert len(embedder.facts["external_data"]) == 1
    assert difference(embedder, images, of_torch(network, images)) < 2e-5


def test_all_axes_dynamic(tmp_path):
    make, _ = NETWORKS["mobilenet"]
    network, images = make(), photographs((64, 96))
    path = exported(network, tmp_path, (64, 64), free_sides=True)
    embedder = wrap_onnx(path, IMAGENET, (64, 96))
    assert difference(embedder, images, of_torch(network, images)) < 2e-5


def test_float16(tmp_path):
    make, size = NETWORKS["convnext"]
    network, images = make(), photographs(size)
    expected = of_torch(network, images)
    embedder = wrap_onnx(exported(network.half(), tmp_path, size, half=True), IMAGENET, None)
    assert embedder.facts["precision"] == "fp16"
    assert difference(embedder, images, expected) < 5e-3


def test_efficientnet_lite0_with_its_weights(tmp_path):
    body = build_efficientnet_lite("efficientnet-lite0", 0.0, pretrained=True)
    network, images = body, photographs((128, 128))
    own = EmbedderSettings(pixel_mean=(127.0,) * 3, pixel_std=(128.0,) * 3)
    embedder = wrap_onnx(exported(network, tmp_path, (128, 128)), own, None)
    assert embedder.n_features == 1280
    assert difference(embedder, images, of_torch(network, images, 127 / 255, 128 / 255)) < 2e-5
