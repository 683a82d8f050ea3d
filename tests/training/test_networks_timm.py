"""Networks of timm."""

from __future__ import annotations

import pytest
import torch
from network_samples import build, is_one_line, noise, rule_of

from hashkit.errors import ConfigError, ModelError
from hashkit.manifest import RESIZE_RULES

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("timm_and_torchvision")]


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "mobilenetv3_small_050"])
def test_timm_features_are_those_before_the_classifier(name):
    import timm

    network = build(f"timm:{name}")
    whole = timm.create_model(name, pretrained=False).eval()
    missing = whole.load_state_dict(network.body.state_dict(), strict=False).missing_keys
    assert {key.split(".")[0] for key in missing} == {whole.pretrained_cfg["classifier"]}
    images = noise(2, rule_of(f"timm:{name}").size)
    with torch.inference_mode():
        assert torch.allclose(whole.get_classifier()(network(images)), whole(images), atol=1e-5)


def test_timm_rules_follow_the_weights():
    resnet = rule_of("timm:resnet50.tv_in1k")
    assert (resnet.size, resnet.resize) == ((224, 224), "crop-bilinear")
    assert resnet.mean == pytest.approx((123.675, 116.28, 103.53))
    assert resnet.std == pytest.approx((58.395, 57.12, 57.375))
    assert rule_of("timm:dm_nfnet_f0").resize == "stretch-bicubic"  # timm: "squash"
    siglip = rule_of("timm:vit_base_patch16_siglip_256")
    assert (siglip.size, siglip.resize) == ((256, 256), "crop-bicubic")
    assert siglip.mean == siglip.std == (127.5, 127.5, 127.5)


def test_without_weights_the_rule_has_only_a_fixed_size():
    for name in ("timm:resnet50", "torchvision:resnet50"):
        rule = rule_of(name, pretrained=False)
        assert (rule.size, rule.mean, rule.std) == (None, None, None)
    assert rule_of("timm:mixer_s32_224", pretrained=False).size == (224, 224)
    assert rule_of("torchvision:vit_b_32", pretrained=False).size == (224, 224)


@pytest.mark.end_to_end
def test_input_rules_of_models_are_supported():
    import timm
    from torchvision import models

    names = [f"timm:{name}" for name in timm.list_models()[::40]]
    names += [f"torchvision:{name}" for name in models.list_models(module=models)[::4]]
    assert len(names) > 40
    for name in names:
        rule = rule_of(name)
        assert rule.resize in RESIZE_RULES
        assert len(rule.size) == len(rule.mean) - 1 == len(rule.std) - 1 == 2


@pytest.mark.end_to_end
def test_transformers_that_can_adapt_take_other_sizes():
    assert build("timm:test_vit")(noise(1, (96, 64))).shape == (1, 64)
    network = build("timm:mixer_s32_224")
    with pytest.raises(ConfigError, match=r"takes only images of 224x224 pixels, not 64x96") as e:
        network(noise(1, (64, 96)))
    assert is_one_line(e)


def test_unknown_timm_names_suggest_others():
    with pytest.raises(ConfigError, match=r"no model 'resnt50'; similar names: resnet50, "):
        build("timm:resnt50")
    with pytest.raises(ConfigError, match=r"no weights 'resnet10t.no'.*: resnet10t.c3_in1k$"):
        rule_of("timm:resnet10t.no")


@pytest.fixture
def hub_cache(monkeypatch, tmp_path):
    """An empty Hugging Face cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_timm_weights_that_cannot_be_downloaded_are_a_one_line_error(hub_cache):
    with pytest.raises(ModelError, match=r"weights of timm:test_resnet .*huggingface.co/") as error:
        build("timm:test_resnet", pretrained=True)
    assert "HF_HOME" in str(error.value)
    assert "`pretrained=False`" in str(error.value)
    assert is_one_line(error)


def test_timm_models_without_weights_are_refused():
    import timm

    small = [name for name in timm.list_models("resnet*") if not timm.get_pretrained_cfg(name).url]
    name = next(name for name in small if not timm.get_pretrained_cfg(name).has_weights)
    with pytest.raises(ModelError, match=f"timm has no weights for {name}; .*`pretrained=False`"):
        build(f"timm:{name}", pretrained=True)


@pytest.mark.end_to_end
def test_timm_weights_in_the_cache_are_loaded(hub_cache):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(7)
    whole = timm.create_model("test_resnet", pretrained=False).eval()
    repository = "models--" + whole.pretrained_cfg["hf_hub_id"].replace("/", "--")
    revision = "0" * 40
    snapshot = hub_cache / repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    save_file(whole.state_dict(), snapshot / "model.safetensors")
    (hub_cache / repository / "refs").mkdir()
    (hub_cache / repository / "refs" / "main").write_text(revision)

    images = noise(2, (64, 64))
    with torch.inference_mode():
        expected = whole.forward_head(whole.forward_features(images), pre_logits=True)
        assert torch.equal(build("timm:test_resnet", pretrained=True)(images), expected)
        assert not torch.allclose(build("timm:test_resnet")(images), expected)
