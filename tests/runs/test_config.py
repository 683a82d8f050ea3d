from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from looped import looped

from hashkit.datasets.protocols import PROTOCOLS
from hashkit.errors import ConfigError
from hashkit.runs import known_names
from hashkit.runs.config import LOSS_OPTIONS, MIN_INPUT_SIZE, TrainConfig
from hashkit.training.augment import AUGMENTATIONS
from hashkit.training.losses import LOSSES, loss_options
from hashkit.training.networks import NETWORKS
from hashkit.training.networks.compact import ACTIVATIONS
from hashkit.training.optimisers import OPTIMISERS
from hashkit.training.policies import POLICIES
from hashkit.training.schedule import SCHEDULES


def test_settings_come_back_from_json():
    config = TrainConfig(
        lengths=(24, 12),
        milestones=(0.1, 0.3),
        learning_rate=1 / 3,
        steps=7,
        loss="triplet",
        margin=0.1,
        average="valid",
        seed=2**62,
    )
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert TrainConfig.from_dict(json.loads(json.dumps(TrainConfig().to_dict()))) == TrainConfig()
    assert TrainConfig.from_dict({}) == TrainConfig()


@looped(
    ("field", "below", "lowest", "highest", "above"),
    [
        ("height", MIN_INPUT_SIZE - 1, MIN_INPUT_SIZE, 4096, 4097),
        ("width", MIN_INPUT_SIZE - 1, MIN_INPUT_SIZE, 4096, 4097),
        ("dropout", -0.01, 0, 0.99, 1.0),
        ("freeze", -2, -1, 10**6, 10**6 + 1),
        ("epsilon", -0.01, 0, 0.5, 0.51),
        ("batch_size", 1, 2, 10**9, 10**9 + 1),
        ("images_per_class", -1, 0, 100, 101),
        ("steps", 0, 1, 10**12, 10**12 + 1),
        ("momentum", -0.1, 0, 0.9999, 1.0),
        ("holdout", -0.1, 0, 0.9, 0.91),
        ("seed", -1, 0, 2**63 - 1, 2**63),
    ],
)
def test_numbers_have_bounds(field, below, lowest, highest, above):
    base = TrainConfig(batch_size=100, loss="triplet", nesterov=False)
    for value in (lowest, highest):
        assert getattr(dataclasses.replace(base, **{field: value}), field) == value
    for value in (below, above):
        with pytest.raises(ConfigError, match=f"^`{field}` must be between .* not {value}$"):
            dataclasses.replace(base, **{field: value})


@pytest.mark.parametrize("field", ["quantisation", "label_smoothing"])
def test_options_of_losses_have_bounds(field):
    (name,) = (name for name in ("orthohash", "bihalf") if field in loss_options(name))
    TrainConfig(loss=name, **{field: 0})
    with pytest.raises(ConfigError, match=f"^`{field}` must be between 0 and .* not -0.1$"):
        TrainConfig(loss=name, **{field: -0.1})


@pytest.mark.parametrize("n_bits", [1, 65_536])
def test_these_code_lengths_are_accepted(n_bits):
    assert TrainConfig(lengths=(n_bits,)).lengths == (n_bits,)


@looped("lengths", [(0,), (65_537,), (12, 0), (12, -1)])
def test_code_lengths_have_bounds(lengths):
    with pytest.raises(
        ConfigError, match=f"^`lengths` must be between 1 and 65536, not {lengths[-1]}$"
    ):
        TrainConfig(lengths=lengths)


@pytest.mark.parametrize("lengths", [(), (12, 12), (12, 24, 12)])
def test_code_lengths_are_different(lengths):
    with pytest.raises(ConfigError, match=r"^`lengths` must be one or more different numbers, not"):
        TrainConfig(lengths=lengths)


@looped("value", [0, -0.5, 1.1, float("nan")])
def test_the_decay_over_stages_is_a_ratio(value):
    assert TrainConfig(stage_decay=0.1).stage_decay == 0.1
    with pytest.raises(
        ConfigError, match=rf"^`stage_decay` must be above 0 and at most 1, not {value}$"
    ):
        TrainConfig(stage_decay=value)


@looped("field", ["weight_decay", "clip_norm", "warmup_steps", "snapshot_steps"])
def test_numbers_that_may_be_0_may_not_be_negative(field):
    TrainConfig(**{field: 0})
    with pytest.raises(ConfigError, match=f"^`{field}` must be between 0"):
        TrainConfig(**{field: -1})


@looped("field", ["learning_rate", "epochs", "gamma"])
@looped("value", [0, -1, float("nan")])
def test_numbers_that_must_be_above_0(field, value):
    with pytest.raises(ConfigError, match=f"^`{field}` must be above 0, not {value}$"):
        TrainConfig(**{field: value})


@looped(
    ("loss", "field"), [("triplet", "margin"), ("orthohash", "scale"), ("cibhash", "temperature")]
)
@looped("value", [0, -1, float("nan")])
def test_options_that_must_be_above_0(loss, field, value):
    with pytest.raises(ConfigError, match=f"^`{field}` must be above 0, not {value}$"):
        TrainConfig(loss=loss, **{field: value})


@looped("field", ["dropout", "momentum", "holdout", "weight_decay"])
def test_what_is_not_a_number_is_refused(field):
    with pytest.raises(ConfigError, match=r"not nan$"):
        TrainConfig(**{field: float("nan")})


@looped(
    ("field", "known"),
    [
        ("network", "compact, compact-wide, compact-deep, compact-wider, dnnh"),
        ("loss", "triplet"),
        ("activation", "relu, celu, gelu"),
        ("optimiser", "muon, sgd"),
        ("schedule", "constant, multistep, cosine, one-cycle"),
        ("resize", "crop-bilinear, stretch-bilinear, crop-bicubic, stretch-bicubic, crop-bil"),
        ("precision", "fp32, bf16, fp16"),
        ("augmentation", "auto, none, shift, shift-flip"),
        ("policy", "none, trivial, rand"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(field, known):
    with pytest.raises(ConfigError, match=f"^unknown {field} 'odd'; known: {known}"):
        TrainConfig(**{field: "odd"})


def test_the_known_names_are_those_of_the_dictionaries():
    assert {name: one.takes_argument for name, one in NETWORKS.items()} == known_names.NETWORKS
    assert {name: tuple(loss_options(name)) for name in LOSSES} == known_names.LOSSES
    for known, named in (
        (known_names.NETWORKS, NETWORKS),  # in the same order, too: messages list them
        (known_names.LOSSES, LOSSES),
        (known_names.OPTIMISERS, OPTIMISERS),
        (known_names.SCHEDULES, SCHEDULES),
        (known_names.AUGMENTATIONS, AUGMENTATIONS),
        (known_names.POLICIES, POLICIES),
        (known_names.PROTOCOLS, PROTOCOLS),
    ):
        assert list(known) == list(named)
    from_views = [name for name, one in LOSSES.items() if one.learns_from == "views"]
    assert list(known_names.FROM_VIEWS) == from_views


def test_options_of_a_network_go_with_it_alone():
    assert TrainConfig(activation="celu", patch=3).network_options == {
        "activation": "celu",
        "patch": 3,
    }
    assert TrainConfig().network_options == {}
    assert list(known_names.ACTIVATIONS) == list(ACTIVATIONS)
    for names in known_names.NETWORK_OPTIONS.values():
        assert all(name in NETWORKS for name in names)
    with pytest.raises(
        ConfigError, match=r"^`patch` works only with the networks compact, .*, not with dnnh"
    ):
        TrainConfig(network="dnnh", patch=3)


def test_options_are_those_of_the_loss():
    config = TrainConfig(loss="triplet", margin=3.0, epsilon=0.2)
    assert config.loss_options == {"margin": 3.0, "epsilon": 0.2}
    assert TrainConfig(loss="triplet").loss_options == {}
    with pytest.raises(
        ConfigError, match=r"^the loss triplet has no temperature; it has margin, average, epsilon$"
    ):
        TrainConfig(loss="triplet", temperature=0.1)


def test_every_option_of_a_loss_is_a_setting_and_every_such_setting_an_option():
    options = {option for name in LOSSES for option in loss_options(name)}
    assert options == set(LOSS_OPTIONS)
    for option in LOSS_OPTIONS:
        assert getattr(TrainConfig(loss="greedyhash"), option) is None


def test_options_of_the_default_loss_are_set_for_it_alone():
    assert TrainConfig().loss_options == {"scale": 4.0, "label_smoothing": 0.1}
    assert TrainConfig(scale=8.0).loss_options == {"scale": 8.0, "label_smoothing": 0.1}
    assert TrainConfig(scale=None, label_smoothing=None).loss_options == {}
    assert TrainConfig(loss="hashnet").loss_options == {}
    assert TrainConfig(loss="hashnet", scale=4.0).loss_options == {"scale": 4.0}


def test_settings_that_were_saved_without_an_option_stay_without_it():
    saved = TrainConfig(scale=None).to_dict()
    assert saved["scale"] is None
    assert TrainConfig.from_dict(saved).loss_options == {"label_smoothing": 0.1}


@looped("milestones", [(0.0,), (0.5, 1.0), (-0.1,), (60,)])
def test_milestones_are_fractions_of_the_run(milestones):
    with pytest.raises(ConfigError, match="`milestones` must be fractions of the run"):
        TrainConfig(milestones=milestones)


def test_the_start_of_sharpness_aware_minimisation_needs_a_radius():
    assert TrainConfig(sam=0.05, sam_start=0.7).sam_start == 0.7
    with pytest.raises(ConfigError, match=r"^`sam_start` needs a `sam` above 0, not 0: "):
        TrainConfig(sam_start=0.7)


def test_nesterov_needs_momentum():
    TrainConfig(nesterov=False, momentum=0)
    with pytest.raises(ConfigError, match="`nesterov=True` needs a `momentum`"):
        TrainConfig(nesterov=True, momentum=0)


def test_unknown_settings_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"^unknown settings: colour, depth$"):
        TrainConfig.from_dict({"depth": 3, "loss": "triplet", "colour": 1})


def test_every_setting_has_a_help_text():
    for field in dataclasses.fields(TrainConfig):
        text = field.metadata["help"]
        assert text.endswith("."), field.name
        assert text[0].isupper() or text.startswith("fp32"), field.name


@pytest.mark.end_to_end
def test_settings_are_made_and_checked_without_torch():
    # None in its place: an import of it fails, which takes less than an import of it.
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from hashkit.runs.config import TrainConfig; TrainConfig(); print('made', flush=True)\n"
        "try: TrainConfig(loss='odd')\n"
        "except ValueError as error: print(str(error)[:18], flush=True)\n"
        "import hashkit.training.losses"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "made\nunknown loss 'odd'\n", done.stderr
    assert "import of torch halted" in done.stderr, "torch is never imported: this proves nothing"
