from __future__ import annotations

import json

import numpy as np
import pytest
from looped import looped

from hashkit.errors import ConfigError, ModelError
from hashkit.features.foreign.preprocessing import PRESETS, find_preprocessing
from hashkit.runs.embedder_settings import PREPROCESSINGS, EmbedderSettings

VIT = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 224,
    "feature_extractor_type": "ViTFeatureExtractor",
}
CLIP = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}
BIT = {**CLIP, "size": {"shortest_edge": 256}, "image_processor_type": "BitImageProcessor"}
SIGLIP = {**VIT, "size": {"height": 384, "width": 256}, "resample": 3}


def found(folder, config=None, **settings):
    """Preprocessing of a file beside a config."""
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (folder / "preprocessor_config.json").write_text(text)
    return find_preprocessing(folder / "model.onnx", EmbedderSettings(**settings))


def test_every_preset_has_its_constants():
    assert set(PRESETS) == set(PREPROCESSINGS)


@looped(
    ("name", "mean", "std", "resize", "n_differences"),
    [
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "crop-bilinear", 1),
        ("dinov2", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "crop-bicubic", 1),
        ("siglip", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "stretch-bicubic", 0),
        (
            "clip",
            (0.48145466, 0.4578275, 0.40821073),
            (0.26862954, 0.26130258, 0.27577711),
            "crop-bicubic",
            0,
        ),
    ],
)
def test_presets(tmp_path, name, mean, std, resize, n_differences):
    preset = found(tmp_path, preprocessing=name)
    assert (preset.size, preset.resize) == ((224, 224), resize)
    np.testing.assert_allclose(preset.mean, np.array(mean) * 255, rtol=1e-12)
    np.testing.assert_allclose(preset.std, np.array(std) * 255, rtol=1e-12)
    assert len(preset.differences) == n_differences
    assert preset.source == f"preset {name}"


@pytest.mark.end_to_end  # imports torch
def test_the_presets_are_those_of_timm():
    constants = pytest.importorskip("timm.data.constants")
    assert tuple(PRESETS["imagenet"].image_mean) == constants.IMAGENET_DEFAULT_MEAN
    assert tuple(PRESETS["imagenet"].image_std) == constants.IMAGENET_DEFAULT_STD
    assert tuple(PRESETS["clip"].image_mean) == constants.OPENAI_CLIP_MEAN
    assert tuple(PRESETS["clip"].image_std) == constants.OPENAI_CLIP_STD
    assert (PRESETS["siglip"].image_mean,) * 3 == constants.IMAGENET_INCEPTION_MEAN


@looped(
    ("config", "size", "resize", "n_differences"),
    [
        (VIT, (224, 224), "stretch-bilinear", 0),
        (CLIP, (224, 224), "crop-bicubic", 0),
        ({**CLIP, "size": 224, "crop_size": 224}, (224, 224), "crop-bicubic", 0),
        ({**CLIP, "do_center_crop": False}, (224, 224), "crop-bicubic", 1),
        (BIT, (224, 224), "crop-bicubic", 1),
        (SIGLIP, (384, 256), "stretch-bicubic", 0),
        ({**SIGLIP, "crop_size": 224}, (224, 224), "stretch-bicubic", 1),
        ({**VIT, "size": [224, 192]}, (224, 192), "stretch-bilinear", 0),
        ({**VIT, "resample": 1}, (224, 224), "stretch-bicubic", 1),
        ({**VIT, "resample": 0}, (224, 224), "stretch-bilinear", 1),
        ({**VIT, "resample": 4}, (224, 224), "stretch-bilinear", 1),
        ({**VIT, "resample": 5}, (224, 224), "stretch-bilinear", 1),
        ({**VIT, "resample": None}, (224, 224), "stretch-bilinear", 1),
        # ConvNextImageProcessor: the edge is divided by crop_pct, or the image is stretched.
        (
            {**VIT, "size": {"shortest_edge": 224}, "crop_pct": 0.875},
            (224, 224),
            "crop-bilinear",
            1,
        ),
        (
            {**VIT, "size": {"shortest_edge": 384}, "crop_pct": 0.875},
            (384, 384),
            "stretch-bilinear",
            0,
        ),
        ({**CLIP, "do_resize": False}, (224, 224), "crop-bicubic", 1),
        ({**VIT, "size": None}, None, "crop-bilinear", 0),
        (
            {**VIT, "size": {"shortest_edge": 98, "longest_edge": None}},
            (98, 98),
            "crop-bilinear",
            1,
        ),
    ],
)
def test_image_processors(tmp_path, config, size, resize, n_differences):
    preprocessing = found(tmp_path, config)
    assert (preprocessing.size, preprocessing.resize) == (size, resize)
    assert len(preprocessing.differences) == n_differences
    assert all("asked: " in line and "used: " in line for line in preprocessing.differences)
    assert preprocessing.source == "preprocessor_config.json"


def test_another_crop_is_described(tmp_path):
    (difference,) = found(tmp_path, BIT).differences
    assert difference == (
        "asked: the shorter side is resized to 256 pixels, and the centre of 224 x 224 is cut out; "
        "used: the largest centred region of the input's shape, resized"
    )


@looped(
    ("changes", "mean", "std"),
    [
        ({}, 127.5, 127.5),
        ({"do_rescale": False}, 0.5, 0.5),
        ({"rescale_factor": 1 / 127.5}, 63.75, 63.75),
        ({"do_normalize": False}, 0, 255),
        ({"do_normalize": False, "do_rescale": False}, 0, 1),
        ({"do_normalize": False, "image_mean": None, "image_std": None}, 0, 255),
        ({"image_mean": 0.25, "image_std": 0.5}, 63.75, 127.5),
    ],
)
def test_normalisation_as_pixels(tmp_path, changes, mean, std):
    preprocessing = found(tmp_path, {**VIT, **changes})
    np.testing.assert_allclose(preprocessing.mean, [mean] * 3)
    np.testing.assert_allclose(preprocessing.std, [std] * 3)


def test_settings_replace_the_normalisation(tmp_path):
    own = {"pixel_mean": (1, 2, 3), "pixel_std": (4, 5, 6)}
    alone = found(tmp_path, **own)
    assert (alone.source, alone.size, alone.resize) == ("settings", None, "crop-bilinear")
    assert (alone.mean, alone.std, alone.differences) == ((1, 2, 3), (4, 5, 6), ())
    preset = found(tmp_path, preprocessing="clip", **own)
    assert (preset.mean, preset.resize) == ((1, 2, 3), "crop-bicubic")
    assert preset.source == "preset clip, normalisation from settings"
    beside = found(tmp_path, {**VIT, "image_mean": None}, **own)
    assert (beside.mean, beside.size) == ((1, 2, 3), (224, 224))


def test_a_preset_comes_before_the_file(tmp_path):
    assert found(tmp_path, VIT, preprocessing="clip").source == "preset clip"


def test_another_size_is_a_difference(tmp_path):
    facts = found(tmp_path, VIT).facts((192, 192))
    assert facts["resize_differences"] == ["asked: 224 x 224 pixels, used: 192 x 192"]
    assert json.loads(json.dumps(facts)) == facts
    assert found(tmp_path, VIT).facts((224, 224))["resize_differences"] == []


@looped(
    ("changes", "words"),
    [
        ({"image_mean": None}, "expected image_mean and image_std, found none"),
        ({"image_mean": [0.5, 0.5]}, "image_mean: expected 3 numbers, found [0.5, 0.5]"),
        ({"image_mean": "half"}, 'image_mean: expected 3 numbers, found "half"'),
        ({"image_mean": [1e300, 0, 0]}, "image_mean: expected numbers from -1e6"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std: expected 1e-06 or more"),
        ({"image_std": -1.0}, "image_std: expected 1e-06 or more"),
        ({"rescale_factor": 0}, "rescale_factor: expected 1e-06 or more"),
        ({"rescale_factor": 1e-300}, "rescale_factor: expected 1e-06 or more"),
        ({"rescale_factor": -1.0}, "rescale_factor: expected 1e-06 or more"),
        ({"resample": 6}, "resample: expected 0 to 5, found 6"),
        ({"resample": "bicubic"}, "resample: expected a whole number"),
        ({"size": 0}, "size: expected 1 to 65536 pixels, found 0"),
        ({"size": 10**9}, "size: expected 1 to 65536 pixels"),
        ({"size": {}}, "size: expected a number, height and width, or shortest_edge, found {}"),
        ({"size": {"longest_edge": 512}}, 'found {"longest_edge": 512}'),
        ({"size": {"height": 224}}, 'found {"height": 224}'),
        ({"size": [1, 2, 3]}, "or shortest_edge, found [1, 2, 3]"),
        ({"size": {"shortest_edge": 70000}}, "size.shortest_edge: expected 1 to 65536"),
        ({"size": True}, "or shortest_edge, found true"),
        ({"size": "224"}, 'or shortest_edge, found "224"'),
        ({"image_std": [0.5, True, 0.5]}, "image_std: expected 3 numbers"),
        (
            {"size": {"shortest_edge": 2.5}},
            "size.shortest_edge: expected 1 to 65536",
        ),
        ({"crop_size": {"height": 0, "width": 1}}, "crop_size: expected 1 to 65536"),
        ({"crop_pct": 1.5}, "crop_pct: expected above 0 and at most 1, found 1.5"),
        ({"do_flip_channel_order": True}, "do_flip_channel_order: expected false, found true"),
        ({"rescale_offset": True}, "rescale_offset"),
        ({"include_top": True}, "include_top"),
        ({"do_pad": True}, "do_pad"),
        ({"do_normalize": "yes"}, "do_normalize: expected true or false"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, changes, words):
    with pytest.raises(ModelError) as caught:
        found(tmp_path, {**VIT, **changes})
    text = str(caught.value)
    assert words in text
    assert "preprocessor_config.json: " in text
    assert "`pixel_mean`" in text


@looped("text", ["", "[]", "{", '{"size": NaN}', "null", '{"size": 1, "size": 2}'])
def test_files_that_are_not_an_object(tmp_path, text):
    with pytest.raises(ModelError, match=r"preprocessor_config\.json: "):
        found(tmp_path, text)


def test_a_crop_that_does_not_fit_the_resized_image_is_described(tmp_path):
    (difference,) = found(
        tmp_path, {**CLIP, "crop_size": {"height": 200, "width": 100}}
    ).differences
    assert "200 x 100" in difference


def test_settings_are_checked():
    for changes, words in (
        ({"preprocessing": "resnet"}, "unknown preprocessing 'resnet'; known: imagenet, clip"),
        ({"layout": "chw"}, "unknown layout 'chw'; known: auto, nchw, nhwc"),
        ({"pooling": "max"}, "unknown pooling 'max'"),
        ({"pixel_mean": (1, 2, 3)}, "`pixel_mean` needs `pixel_std`"),
        ({"pixel_std": (1, 2, 3)}, "`pixel_std` needs `pixel_mean`"),
        ({"pixel_mean": (1, 2), "pixel_std": (1, 2, 3)}, "`pixel_mean` must be 3 numbers"),
        ({"pixel_mean": 5, "pixel_std": (1, 2, 3)}, "`pixel_mean` must be 3 numbers"),
        (
            {"pixel_mean": (0, 0, 0), "pixel_std": (1, 0, 3)},
            "`pixel_std` must be 1e-06 or more, not 0",
        ),
        ({"pixel_mean": (0, 0, float("nan")), "pixel_std": (1, 1, 1)}, "`pixel_mean`"),
        ({"pixel_mean": (0, 0, 1e9), "pixel_std": (1, 1, 1)}, "`pixel_mean`"),
        ({"pixel_mean": "1,2,3", "pixel_std": (1, 1, 1)}, "`pixel_mean`"),
        ({"output": 3}, "`output` must be a text"),
    ):
        with pytest.raises(ConfigError) as caught:
            EmbedderSettings(**changes)
        assert words in str(caught.value), changes


def test_settings_survive_json():
    settings = EmbedderSettings(pixel_mean=np.array([1, 2, 3]), pixel_std=[4, 5, 6], output="x")
    fields = json.loads(json.dumps(settings.to_dict()))
    assert EmbedderSettings.from_dict(fields) == settings
    assert EmbedderSettings.from_dict({}) == EmbedderSettings()
    with pytest.raises(ConfigError, match="colour is unknown"):
        EmbedderSettings.from_dict({"colour": "red"})
