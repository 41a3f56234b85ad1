"""The pack: only pinned bytes are opened, built or loaded, and a folder appears whole or not at all."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from agency_node.engine import load_engine, nets, pack, weights
from federation.errors import Code, LiaisonError


def written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def changed(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_an_absent_pack_is_missing_and_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LiaisonError) as missing:
        load_engine(engines=tmp_path)
    assert missing.value.code is Code.ENGINE_MISSING
    assert "engine pull" in missing.value.diagnostics()


@pytest.mark.parametrize("spec", ["buffalo_l", "mobilefacenet@000000000000", ""])
def test_an_engine_that_is_not_this_one_is_never_stood_in_for(spec: str, tmp_path: Path) -> None:
    with pytest.raises(LiaisonError) as unknown:
        load_engine(spec, engines=tmp_path)
    assert unknown.value.code is Code.CONFIG_INVALID


@pytest.mark.slow
@pytest.mark.parametrize("name", [*pack.PINS, pack.MANIFEST])
def test_one_changed_bit_in_any_file_is_refused_and_named(
    name: str, pack_files: dict[str, bytes], tmp_path: Path
) -> None:
    folder = written(tmp_path / pack.NAME, {**pack_files, name: changed(pack_files[name])})
    with pytest.raises(LiaisonError, match=name) as damaged:
        load_engine(engines=folder.parent)
    assert damaged.value.code is Code.ENGINE_DAMAGED


@pytest.mark.slow
def test_a_manifest_changed_to_fit_does_not_vouch_for_a_changed_file(
    pack_files: dict[str, bytes], tmp_path: Path
) -> None:
    evil = changed(pack_files["recognition.onnx"])
    folder = written(tmp_path / pack.NAME, {**pack_files, "recognition.onnx": evil})
    said = json.loads(pack.manifest())
    said["files"]["recognition.onnx"]["sha256"] = "0" * 64
    (folder / pack.MANIFEST).write_text(json.dumps(said))
    with pytest.raises(LiaisonError, match="recognition"):
        pack.verify_pack(folder)


@pytest.mark.slow
def test_a_missing_file_is_damage_and_is_named(pack_files: dict[str, bytes], tmp_path: Path) -> None:
    folder = written(tmp_path / pack.NAME, pack_files)
    (folder / "onet.onnx").unlink()
    with pytest.raises(LiaisonError, match=r"onet\.onnx") as damaged:
        pack.verify_pack(folder)
    assert damaged.value.code is Code.ENGINE_DAMAGED


@pytest.mark.slow
def test_installing_twice_fetches_once_and_leaves_nothing_beside(
    pack_files: dict[str, bytes], tmp_path: Path
) -> None:
    asked = []

    def gather() -> dict[str, bytes]:
        asked.append(1)
        return {name: pack_files[name] for name in pack.PINS}

    folder = tmp_path / "engines" / pack.NAME
    assert pack.install(folder, gather) is True
    assert pack.install(folder, gather) is False
    assert len(asked) == 1
    assert [entry.name for entry in folder.parent.iterdir()] == [pack.NAME]


@pytest.mark.slow
def test_a_wrong_file_from_the_source_installs_nothing(pack_files: dict[str, bytes], tmp_path: Path) -> None:
    folder = tmp_path / pack.NAME
    files = {name: pack_files[name] for name in pack.PINS}
    files["pnet.onnx"] = changed(files["pnet.onnx"])
    with pytest.raises(LiaisonError, match="pnet"):
        pack.install(folder, lambda: files)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_death_while_writing_leaves_no_pack(
    pack_files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", dies)
    with pytest.raises(LiaisonError) as failed:
        pack.install(tmp_path / pack.NAME, lambda: {name: pack_files[name] for name in pack.PINS})
    assert failed.value.code is Code.ENGINE_UNAVAILABLE
    assert list(tmp_path.iterdir()) == []


def test_without_npm_the_engine_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LiaisonError, match="npm is not installed") as failed:
        weights.fetch_tarball()
    assert failed.value.code is Code.ENGINE_UNAVAILABLE


def test_when_npm_fails_its_last_telling_line_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    npm = tmp_path / "npm"
    npm.write_text(
        "#!/bin/sh\necho 'npm error network refused' >&2\necho 'A complete log of this run: x' >&2\nexit 1\n"
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LiaisonError, match="npm error network refused") as failed:
        weights.fetch_tarball()
    assert failed.value.code is Code.ENGINE_UNAVAILABLE


def tarball(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tarball",
        tarball({}),
        tarball({"package/model/fr_feature.onnx": b"evil", "package/LICENSE": b"evil"}),
        tarball({"package/model/fr_feature.onnx": b"evil" * 1000})[:-20],
    ],
    ids=[
        "empty",
        "no tarball",
        "without files",
        "with other files",
        "cut short",
    ],  # a tarball's bytes hold the time
)
def test_a_tarball_that_is_not_as_pinned_is_refused(data: bytes) -> None:
    with pytest.raises(LiaisonError) as damaged:
        weights.recognition_files(data)
    assert damaged.value.code is Code.ENGINE_DAMAGED


@pytest.mark.parametrize("net", ["pnet", "rnet", "onet"])
def test_a_changed_pickle_is_never_opened(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    original = weights._mtcnn_file

    def tampered(name: str, *, metadata: bool = False) -> bytes:
        data = original(name, metadata=metadata)
        return changed(data) if net in name else data

    honest = weights._open_arrays
    monkeypatch.setattr(weights, "_mtcnn_file", tampered)
    monkeypatch.setattr(weights, "_open_arrays", lambda data: opened.append(data) or honest(data))
    with pytest.raises(LiaisonError, match=f"{net}.lz4") as damaged:
        weights.detector_files()
    assert damaged.value.code is Code.ENGINE_DAMAGED
    pristine = original(f"assets/weights/{net}.lz4")
    assert changed(pristine) not in opened


def test_building_twice_gives_the_pinned_bytes() -> None:
    first, second = weights.detector_files(), weights.detector_files()
    assert first == second


def _convolved(data: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Convolution in the plainest way: data H×W×in, kernel h×w×in×out (Keras order)."""
    height, width = kernel.shape[:2]
    out = np.empty((data.shape[0] - height + 1, data.shape[1] - width + 1, kernel.shape[3]))
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = np.tensordot(data[y : y + height, x : x + width], kernel, 3) + bias
    return out


def _bent(data: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(data > 0, data, data * slope.reshape(-1))


def _pooled(data: np.ndarray, size: int, *, same: bool) -> np.ndarray:
    count = [-(-n // 2) if same else (n - size) // 2 + 1 for n in data.shape[:2]]
    return np.array(
        [
            [data[2 * y : 2 * y + size, 2 * x : 2 * x + size].max(axis=(0, 1)) for x in range(count[1])]
            for y in range(count[0])
        ]
    )


@pytest.fixture(scope="module")
def arrays() -> dict[str, nets.Weights]:
    return {
        net: weights._open_arrays(weights._mtcnn_file(f"assets/weights/{net}.lz4"))
        for net in weights.MTCNN_ARRAYS
    }


@pytest.mark.parametrize("size", [(12, 12), (17, 22)])
def test_the_built_pnet_computes_what_plain_numpy_computes(
    size: tuple[int, int], arrays: dict[str, nets.Weights]
) -> None:
    w = arrays["pnet"]
    data = np.random.default_rng(1).uniform(-1, 1, (*size, 3)).astype(np.float32)
    x = _pooled(_bent(_convolved(data, w[0], w[1]), w[2]), 2, same=True)
    x = _bent(_convolved(x, w[3], w[4]), w[5])
    x = _bent(_convolved(x, w[6], w[7]), w[8])
    boxes, logits = _convolved(x, w[9], w[10]), _convolved(x, w[11], w[12])
    scores = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    session = onnxruntime.InferenceSession(nets.build_pnet(w), providers=["CPUExecutionProvider"])
    found = session.run(["boxes", "scores"], {"input": data.transpose(2, 0, 1)[None]})
    assert np.allclose(found[0][0].transpose(1, 2, 0), boxes, atol=1e-4)
    assert np.allclose(found[1][0].transpose(1, 2, 0), scores, atol=1e-4)


def test_the_built_rnet_computes_what_plain_numpy_computes(arrays: dict[str, nets.Weights]) -> None:
    w = arrays["rnet"]
    data = np.random.default_rng(2).uniform(-1, 1, (24, 24, 3)).astype(np.float32)
    x = _pooled(_bent(_convolved(data, w[0], w[1]), w[2]), 3, same=True)
    x = _pooled(_bent(_convolved(x, w[3], w[4]), w[5]), 3, same=False)
    x = _bent(_convolved(x, w[6], w[7]), w[8])
    flat = _bent(x.transpose(1, 0, 2).reshape(-1) @ w[9] + w[10], w[11])
    session = onnxruntime.InferenceSession(nets.build_rnet(w), providers=["CPUExecutionProvider"])
    (boxes,) = session.run(["boxes"], {"input": data.transpose(2, 0, 1)[None]})
    assert np.allclose(boxes[0], flat @ w[12] + w[13], atol=1e-4)


def test_the_engine_id_follows_from_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pack.engine_id()
    monkeypatch.setitem(pack.WEIGHTS, "pnet.onnx", "0" * 64)
    assert before.startswith("mobilefacenet@")
    assert len(before.partition("@")[2]) == 12
    assert pack.engine_id() != before


@pytest.fixture(scope="module")
def delivered() -> bytes:
    """What npm delivers, fetched once; the test skips where it cannot."""
    try:
        return weights.fetch_tarball()
    except LiaisonError as error:
        pytest.skip(f"npm cannot fetch here: {error.detail}")


@pytest.mark.slow
def test_npm_delivers_the_pinned_package(delivered: bytes) -> None:
    assert set(weights.recognition_files(delivered)) == {"recognition.onnx", "LICENSE.faceplugin"}


@pytest.mark.slow
def test_leaving_out_negligible_weights_changes_no_output(delivered: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(delivered)) as opened:
        stream = opened.extractfile("package/model/fr_feature.onnx")
        assert stream is not None
        original = stream.read()
    crops = np.random.default_rng(3).uniform(-1, 1, (5, 1, 3, 112, 112)).astype(np.float32)
    outputs = []
    for model in (original, nets.quicken(original)):
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        outputs.append(np.concatenate([session.run(None, {"input": crop})[0] for crop in crops]))
    assert np.abs(outputs[0] - outputs[1]).max() <= 1e-6
