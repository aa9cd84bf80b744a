"""Prints every metric of ours once, for `promtool check metrics` (`make alerts`). vLLM's are left
out: the linter dislikes the colon in vllm:*.
"""

from collections.abc import Sequence

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from app.metrics import Metrics
from bench.options import parser


def main(argv: Sequence[str] | None = None) -> None:
    parser("bench.exposition", __doc__).parse_args(argv)
    metrics = Metrics()
    for metric in vars(metrics).values():
        # A metric with labels has no sample until it has been used, and then none is checked.
        if isinstance(metric, MetricWrapperBase) and metric._labelnames:
            metric.labels(*metric._labelnames)
    print(generate_latest(metrics.registry).decode(), end="")


if __name__ == "__main__":
    main()
