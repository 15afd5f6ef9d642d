from pathlib import Path

import pytest

from edgecodec.errors import InputError
from edgecodec.nn import compute_compression_stats
from edgecodec.training.config import load_config, parse_config, preset_names, preset_path


def _write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_and_keys_of_the_model_section(tmp_path):
    config = load_config(
        _write(
            tmp_path,
            """
model: {embedding_dim: 8, latent_width: 128, num_levels: 3, num_stages: 2, base_filters: 16, multiplier: 1.5,
        beta: 0.5, encoder_block_norm: none, encoder_head_norm: none, decoder_block_norm: batch,
        decoder_head_norm: none}
""",
        )
    )
    assert config.model.latent_width == 128
    assert config.model.decoder_block_norm == "batch"
    assert config.data.frame_size == 320
    assert load_config(_write(tmp_path, "seed: 2")).model.latent_width == 256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {laten_width: 4}", r"unknown key model\.laten_width; did you mean model\.latent_width\?"),
        ("model: {frame_sise: 4}", r"unknown key model\.frame_sise; did you mean data\.frame_size\?"),
        ("modle: {}", r"unknown key modle; did you mean model\?"),
        ("model: {num_stages: 0}", r"model\.num_stages is 0"),
        ("model: {encoder_block_norm: group}", r"model\.encoder_block_norm is 'group'"),
        ("data: {frame_size: 100}", r"100; expected a multiple of 2\*\*model\.num_stages = 16"),
        ("data: {train: [data], test: [data]}", "share data"),
        ("data: {gaussian_noise: [0.2, 0.1]}", "gaussian_noise"),
        ("data: {epsilon: .nan}", r"data\.epsilon"),
        ("data: {split: {test: nobody}}", r"data\.split\.test is 'nobody': expected a list of people"),
        ("data: {split: {test: 1.5}}", r"data\.split\.test is 1\.5"),
        ("data: {files: [a.npz], train: [b.npz]}", "give it or data.train and data.test, not both"),
        ("data: {source: synthetic, files: [a.npz]}", r"data\.files is for data\.source files"),
        ("data: {source: synthetic, cache: {enabled: true}}", r"data\.cache is for data\.source files"),
        ("data: {source: files, train: [a.npz]}", r"data\.files is missing"),
        ("model: {codebook_sizes: [4]}", r"codebook_sizes has 1 entries; expected model\.num_levels = 2"),
        ("model: {revive_dead_codes: true}", "is for the EMA layer"),
        ("model: {encoder: light}", r"model\.encoder is 'light'"),
        ("model: {encoder: linear, encoder_kernel: 15}", r"encoder_kernel is 15; expected at least the stride, .* 16,"),
        ("model: {decoder_base_filters: 0}", r"model\.decoder_base_filters is 0"),
        ("model: {rate_bias: 0.1}", r"model\.rate_bias is for the EMA layer; set model\.use_ema too"),
        ("model: {use_ema: true, rate_bias: -0.1}", r"model\.rate_bias\.0 is -0\.1"),
        ("model: {use_ema: true, rate_bias: [1, 2, 3]}", r"rate_bias has 3 entries; expected one or .* = 2"),
        ("model: {use_ema: true, rate_bias: much}", r"model\.rate_bias is 'much'"),
        ("training: {selection_metric: loss}", r"training\.selection_metric is 'loss'"),
        ("output: {wandb: {enabled: true}}", r"output\.wandb\.enabled is True"),
        ("model: 3", r"model is 3"),
        ("", "is empty; expected some of the sections data"),
        ("# nothing", "is empty"),
        ("- 1", "holds a list"),
        ("model: [", "not valid YAML"),
    ],
)
def test_bad_configurations(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        load_config(_write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is a folder; expected a YAML configuration"):
        load_config(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read|not valid"):
        load_config(tmp_path / "bytes.yaml")


def test_paths_are_relative_to_the_file(tmp_path):
    path = _write(tmp_path, "data: {source: files, train: [a.npy], test: [sub/b.npy]}")
    config = load_config(path)
    assert config.data.train == [str(tmp_path / "a.npy")]
    assert config.data.test == [str(tmp_path / "sub" / "b.npy")]


def test_every_preset_is_valid():
    ratios = {"04x_ds4_l2": 4, "08x_ds8_l2": 8, "16x_ds16_l2": 16, "32x_ds16_l1": 32}
    ratios |= {"04x_light": 4, "08x_light": 8, "16x_light": 16, "32x_light": 32}
    assert set(preset_names()) == {*ratios, "demo"}
    assert load_config(preset_path("demo")).model.num_stages == 3
    for name, ratio in ratios.items():
        config = load_config(preset_path(name), data=Path("anything"))
        stats = compute_compression_stats(
            config.data.frame_size,
            bit_depth=16,
            latent_width=config.model.latent_width,
            num_levels=config.model.num_levels,
            downsample_factor=2**config.model.num_stages,
        )
        assert stats["compression_ratio"] == ratio
        with pytest.raises(InputError, match=r"data\.files is missing: .*--data"):
            load_config(preset_path(name))
        assert (config.model.encoder == "linear") == name.endswith("light")
    with pytest.raises(InputError, match=r"'08x_ds8'; did you mean 08x_ds8_l2\?"):
        preset_path("08x_ds8")


SEED_PIPELINE = """
run_name: ppg_16x
data:
  datasets_dir: datasets
  dataset_glob: "*.npz"
  sampling_rate: 64
  frame_size: 320
  batch_size: 128
  buffer_size: 20000
  steps_per_epoch: 50
  epochs: 2
  gaussian_noise: [0.0, 0.1]
  shuffle_seed: 7
  cache: {enabled: true, cache_root: cache, auto_build: true}
model:
  embedding_dim: 16
  latent_width: 256
  num_levels: 2
  num_stages: 4
  base_filters: 32
  multiplier: 1.25
  beta: 0.25
  encoder_block_norm: batch
  encoder_head_norm: none
  decoder_block_norm: none
  decoder_head_norm: layer
training:
  learning_rate: 1.0e-3
  lr_schedule: {enabled: true, type: cosine_restarts, first_decay_steps: 100, t_mul: 2.0, m_mul: 0.8, alpha: 0.05}
  early_stop_patience: 5
  selection_metric: val_mse
  validation_steps: 20
evaluation: {input_bit_depth: 16}
output: {results_root: results, wandb: {enabled: false}}
"""


def test_configuration_of_the_seed_pipeline(tmp_path):
    config = load_config(_write(tmp_path, SEED_PIPELINE))
    assert config.data.source == "files"
    assert config.data.pool == [str(tmp_path / "datasets" / "*.npz")]
    assert config.data.cache.cache_root == str(tmp_path / "cache")
    assert config.training.lr_schedule.alpha == 0.05
    assert [remark.split()[0] for remark in config.without_effect()] == [
        "data.buffer_size",
        "training.validation_steps",
        "evaluation.input_bit_depth",
        "output.results_root",
    ]


def test_data_and_single_keys_replace_the_files(tmp_path):
    path = _write(tmp_path, SEED_PIPELINE)
    config = load_config(path, data=tmp_path / "mine", settings=["data.epochs=3", "data.split.test=last 2"])
    assert config.data.pool == [str(tmp_path / "mine")]
    assert (config.data.epochs, config.data.split.test) == (3, "last 2")
    for setting, message in {
        "data.epochs": "expected KEY=VALUE",
        "=3": "expected KEY=VALUE",
        "data.epocs=3": r"unknown key data\.epocs; did you mean data\.epochs\?",
        "data.epochs=[": "not valid YAML",
        "data.epochs.x=1": "epochs is no section",
        "data.epochs=many": r"data\.epochs is 'many'",
    }.items():
        with pytest.raises(InputError, match=message) as error:
            load_config(path, settings=[setting])
        assert "\n" not in str(error.value)


def test_parse_names_its_source():
    with pytest.raises(InputError, match=r"^here: unknown key x"):
        parse_config({"x": 1}, "here")
