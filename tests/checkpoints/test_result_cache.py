"""What a long step found, kept under a key of all that decided it."""

import pytest

from app.checkpoints.result_cache import ResultCache


@pytest.fixture
def memo(tmp_path):
    return ResultCache(tmp_path / "proofs")


def test_what_was_put_is_got_also_by_the_next_process(memo, tmp_path):
    value = {"texts": ["一二三", "four"], "seconds": 1.5, "none": None}
    memo.put(ResultCache.key(a=1), value)
    assert memo.get(ResultCache.key(a=1)) == value
    assert ResultCache(tmp_path / "proofs").get(ResultCache.key(a=1)) == value


def test_what_was_never_put_is_not_there(memo):
    assert memo.get(ResultCache.key(a=1)) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[1,"])
def test_what_cannot_be_read_is_as_if_it_were_not_there_and_can_be_put_again(
    memo, tmp_path, damage
):
    memo.put("key", {"a": 1})
    (tmp_path / "proofs" / "key.json").write_bytes(damage)
    assert memo.get("key") is None
    memo.put("key", {"a": 2})
    assert memo.get("key") == {"a": 2}


def test_nothing_half_written_is_left_where_putting_fails(memo, tmp_path):
    memo.put("key", {"a": 1})
    with pytest.raises(TypeError):
        memo.put("key", {"a": object()})
    assert memo.get("key") == {"a": 1}
    assert [path.name for path in (tmp_path / "proofs").iterdir()] == ["key.json"]


def test_putting_where_nothing_can_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        ResultCache(tmp_path / "file").put("key", 1)


def test_a_key_is_of_facts_and_not_of_their_order():
    assert ResultCache.key(a=1, b={"x": 1, "y": 2}) == ResultCache.key(b={"y": 2, "x": 1}, a=1)
    assert (
        len(
            {
                ResultCache.key(a=1),
                ResultCache.key(a=2),
                ResultCache.key(b=1),
                ResultCache.key(a="1"),
                ResultCache.key(),
            }
        )
        == 5
    )
