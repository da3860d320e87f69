"""Lists what providers ask for a GPU and an hour: to be assumed where a user has said nothing.

A list price is nobody's price: the same H100 costs between 2.95 and 12.29 US dollars. So each row says whose, where, of
which day and from where it was read, and whatever shows one says that it is assumed (`Price.assumed`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

_AWS = "aws/karpenter-provider-aws @6fc13b523, zz_generated.pricing_aws.go"
_AZURE = "Azure/karpenter-provider-azure @2b431da1, zz_generated.pricing.go"
_GCP = "cloudpilot-ai/karpenter-provider-gcp @373e2baa, initial-prices.json"
_NEBIUS = "skypilot-org/skypilot-catalog @0082b04, catalogs/v8/nebius/vms.csv"
ON_DEMAND, SPOT = "on demand", "spot"


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars of one GPU for an hour: the price of an instance by its number of GPUs. `instance` and `date` (year,
    month, day) are empty where the source has none."""

    product: str
    usd: Decimal
    provider: str
    region: str
    instance: str
    date: str
    source: str
    terms: str = ON_DEMAND

    @property
    def assumed(self) -> str:
        """The price as it is shown: never without saying that it is assumed, and from where."""
        return f"${self.usd} per GPU-hour (assumed: {self.said_by})"

    @property
    def said_by(self) -> str:
        """Whose price it is, where, of what, on which terms, of which day."""
        what = " ".join(part for part in (self.provider, self.region, self.instance) if part)
        return f"{what}, {self.terms}, {self.date or 'undated'}"


def _aws(product: str, usd: str, instance: str) -> Price:
    return Price(product, Decimal(usd), "AWS", "us-east-1", instance, "2026-07-20", _AWS)


def _azure(product: str, usd: str, instance: str) -> Price:
    return Price(product, Decimal(usd), "Azure", "eastus2", instance, "2026-06-18", _AZURE)


def _gcp(product: str, usd: str, instance: str, terms: str = ON_DEMAND) -> Price:
    return Price(product, Decimal(usd), "GCP", "us-central1", instance, "2026-08-03", _GCP, terms)


def _nebius(product: str, usd: str, terms: str = ON_DEMAND) -> Price:
    return Price(product, Decimal(usd), "Nebius", "", "", "", _NEBIUS, terms)


PRICES: tuple[Price, ...] = (
    _aws("NVIDIA-L4", "0.8048", "g6.xlarge"),
    _gcp("NVIDIA-L4", "0.7068", "g2-standard-4"),
    _gcp("NVIDIA-L4", "0.397", "g2-standard-4", SPOT),
    _aws("NVIDIA-A10G", "1.006", "g5.xlarge"),
    _aws("NVIDIA-L40S", "1.861", "g6e.xlarge"),
    _nebius("NVIDIA-L40S", "1.5484"),
    _aws("NVIDIA-A100-SXM4-80GB", "3.4309", "p4de"),
    _gcp("NVIDIA-A100-SXM4-80GB", "5.069", "a2-ultragpu-1g"),
    _gcp("NVIDIA-A100-SXM4-80GB", "2.76", "a2-ultragpu-1g", SPOT),
    _azure("NVIDIA-A100-80GB-PCIe", "3.673", "NC24ads"),
    _aws("NVIDIA-H100-80GB-HBM3", "6.88", "p5"),
    _azure("NVIDIA-H100-80GB-HBM3", "12.29", "ND96isr"),
    _gcp("NVIDIA-H100-80GB-HBM3", "11.06", "a3-highgpu-1g"),
    _gcp("NVIDIA-H100-80GB-HBM3", "6.33", "a3-highgpu-1g", SPOT),
    _nebius("NVIDIA-H100-80GB-HBM3", "2.95"),
    _nebius("NVIDIA-H100-80GB-HBM3", "1.25", SPOT),
    _azure("NVIDIA-H100-NVL", "6.98", "NC40ads"),
    _aws("NVIDIA-H200", "7.912", "p5en"),
    _azure("NVIDIA-H200", "10.60", ""),
    _nebius("NVIDIA-H200", "3.50"),
    _nebius("NVIDIA-H200", "1.45", SPOT),
    _aws("NVIDIA-B200", "14.2416", "p6-b200"),
    _nebius("NVIDIA-B200", "5.50"),
    _aws("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "3.363", "g7e.2xlarge"),
    _gcp("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", "4.50", "g4-standard-48"),
    _azure("AMD_Instinct_MI300X_OAM", "6.00", "ND96isr_MI300X"),
)


def prices_of(product: str) -> tuple[Price, ...]:
    """What providers ask for a product (by the name that `find` gives), the cheapest first, those on demand before
    those that may be taken away; empty where no price is known."""
    found = (price for price in PRICES if price.product == product)
    return tuple(sorted(found, key=lambda price: (price.terms != ON_DEMAND, price.usd, price.provider)))
