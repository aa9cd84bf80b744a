"""The table of quantization methods: its rows, what they cost, and what it shows of them."""

import pytest

from app.checkpoints.schemes import unfit
from bench import quantize
from bench.method_costs import encode_cost, token_cost
from bench.method_losses import mappings
from bench.method_rows import METHODS, Making, Row, rows

CONFIG = {
    "d_model": 256,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 1024,
    "decoder_ffn_dim": 1024,
    "vocab_size": 1000,
}
FOUR = Row(Making("rtn", 4))


def figures(loss):
    return {
        "overall": {
            "nll_difference": {"value": loss, "low": loss - 0.01, "high": loss + 0.01},
            "token_agreement": {"value": 0.985, "low": 0.98, "high": 0.99},
        }
    }


class TestRows:
    def test_every_method_has_every_number_of_bits_in_groups_of_128(self):
        found = {(row.making.method, row.bits) for row in rows() if row.making.group_size == 128}
        assert found >= {(m, f"W{bits}A16") for m in METHODS for bits in (8, 4, 3, 2)}

    def test_no_row_comes_twice_nor_shares_its_file(self):
        names = [row.name for row in rows()]
        assert len(names) == len(set(names))

    @pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.name)
    def test_the_quantizer_can_make_its_part(self, row):
        assert unfit(row.making.recipe(), CONFIG) is None

    def test_what_the_service_does_not_know_rounds_what_it_has_prepared(self):
        assert Making("smoothquant", 4).recipe().method == "rtn"
        assert Making("gptq-apart", 4).recipe() == Making("gptq", 4).recipe()
        assert Making("imatrix", 3).recipe().observer == "imatrix"


class TestCosts:
    # Encoder: q, k, v, out, fc1, fc2, and the decoder's k and v over it.
    ENCODED = 4 * 256**2 + 2 * 256 * 1024 + 2 * 256**2
    # Decoder: q, k, v, out; q and out over the encoder; fc1, fc2.
    DECODED = 6 * 256**2 + 2 * 256 * 1024

    def test_bit_operations_are_multiplications_by_both_numbers_of_bits(self):
        wide, four = encode_cost(CONFIG, None), encode_cost(CONFIG, FOUR)
        saved = wide.bit_operations - four.bit_operations
        assert saved == 1500 * self.ENCODED * (16 * 16 - 4 * 16)

    def test_activations_of_eight_bits_halve_the_layers_operations_and_read_the_same(self):
        eight = token_cost(CONFIG, Row(Making("rtn", 4), 8))
        four = token_cost(CONFIG, FOUR)
        assert four.bit_operations - eight.bit_operations == self.DECODED * 4 * 8
        assert four.read == eight.read

    def test_a_token_reads_its_layers_the_projection_and_the_windows_keys_and_values(self):
        floats = 2 * (1000 * 256 + 2 * 1500 * 256)
        assert token_cost(CONFIG, None).read == 2 * self.DECODED + floats
        scales = 2 * self.DECODED // 128
        assert token_cost(CONFIG, FOUR).read == self.DECODED // 2 + scales + floats

    def test_a_zero_is_as_long_as_a_scale(self):
        with_zeros = token_cost(CONFIG, Row(Making("hqq", 4)))
        more = with_zeros.read - token_cost(CONFIG, FOUR).read
        assert more == 2 * self.DECODED // 128


class TestTable:
    def test_what_was_not_measured_is_left_blank(self):
        three = Row(Making("rtn", 3))
        _, told, blank = quantize.table(CONFIG, [FOUR, three], {FOUR: figures(0.1)})
        assert "| +0.1000 (+0.0900 to +0.1100) | 98.5 % |" in told
        assert blank.startswith("| RTN | W3A16 | 128 |  |  |")

    def test_more_bits_come_first_and_groups_of_128_before_others(self):
        wanted = [Row(Making("rtn", 3)), Row(Making("rtn", 4, 32)), FOUR]
        lines = list(quantize.table(CONFIG, wanted, {}))[1:]
        assert [line[:19] for line in lines] == [
            "| RTN | W4A16 | 128",
            "| RTN | W4A16 | 32 ",
            "| RTN | W3A16 | 128",
        ]

    def test_writing_keeps_what_stands_around_it(self, tmp_path, monkeypatch):
        page = tmp_path / "page.md"
        page.write_text(f"before\n{quantize.BEGIN}\nold\n{quantize.END}\nafter\n")
        monkeypatch.setattr(quantize, "PAGE", page)
        quantize.write("new")
        assert page.read_text() == f"before\n{quantize.BEGIN}\nnew\n{quantize.END}\nafter\n"


def test_smoothing_knows_each_norm_that_only_linears_read():
    norms = [norm for _, norm in mappings()]
    assert sum("encoder_attn" in norm for norm in norms) == 1
    assert len(norms) == 5
    assert all(norm.endswith("_layer_norm$") for norm in norms)
