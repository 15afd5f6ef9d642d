import pytest

from edgecodec.errors import InputError
from edgecodec.nn.config import load_config, parse_config, preset_path


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
    assert load_config(_write(tmp_path, "")).model.latent_width == 256


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
    with pytest.raises(InputError, match="cannot be read"):
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
    assert load_config(preset_path("demo")).model.num_stages == 3
    with pytest.raises(InputError, match="expected one of demo"):
        preset_path("dmo")


def test_parse_names_its_source():
    with pytest.raises(InputError, match=r"^here: unknown key x"):
        parse_config({"x": 1}, "here")
