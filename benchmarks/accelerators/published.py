"""Published measurements that the accelerator models are compared with.

All numbers here were published by others; the source is next to each table. `MEMORY`
marks those that have not been looked up.
"""

from typing import NamedTuple

__all__ = [
    "DSTC_CYCLES",
    "DSTC_ENERGY",
    "EIE_LAYERS",
    "EYERISS_DRAM_WORDS",
    "EYERISS_LAYERS",
    "EYERISS_V2_CHIP",
    "MOBILENET_PRODUCTS",
    "SCNN_ENERGY",
    "TENSOR_CORE_ENERGY",
    "TENSOR_CORE_ROWS",
    "EieLayer",
    "EyerissLayer",
    "TensorCoreRow",
]


class EyerissLayer(NamedTuple):
    """One layer on the Eyeriss chip: AlexNet at batch 4, VGG16 at batch 3."""

    name: str
    milliwatts: float
    milliseconds: float
    gigamacs: float
    pes: int
    zeros_in: float  # %
    buffer_mb: float
    dram_mb: float

    @property
    def millijoules(self) -> float:
        return self.milliwatts * self.milliseconds * 1e-3

    @property
    def density_in(self) -> float:
        return 1 - self.zeros_in / 100


# Chen et al., JSSC 2017, tables V and VI, through cucapra/fodlam (data/eyeriss-*.csv).
EYERISS_LAYERS = [
    EyerissLayer(*row)
    for row in [
        ("A1", 332, 16.5, 0.42, 154, 0.01, 18.5, 5.0),
        ("A2", 288, 39.2, 0.90, 135, 38.7, 77.6, 4.0),
        ("A3", 266, 21.8, 0.60, 156, 72.5, 50.2, 3.0),
        ("A4", 235, 16.0, 0.45, 156, 79.3, 37.4, 2.1),
        ("A5", 236, 10.0, 0.30, 156, 77.6, 24.9, 1.3),
        ("V11", 247, 38.0, 0.26, 156, 1.6, 112.6, 15.4),
        ("V12", 218, 810.6, 5.55, 156, 47.7, 2402.8, 54.0),
        ("V21", 242, 405.3, 2.77, 156, 24.8, 1201.4, 33.4),
        ("V22", 231, 810.8, 5.55, 156, 38.7, 2402.8, 48.5),
        ("V31", 254, 204.0, 2.77, 156, 39.7, 607.4, 20.2),
        ("V32", 235, 408.1, 5.55, 156, 58.1, 1214.8, 32.2),
        ("V33", 233, 408.1, 5.55, 156, 58.7, 1214.8, 30.8),
        ("V41", 278, 105.1, 2.77, 168, 64.3, 321.8, 17.8),
        ("V42", 261, 210.0, 5.55, 168, 74.7, 643.7, 28.6),
        ("V43", 240, 210.0, 5.55, 168, 85.4, 643.7, 22.8),
        ("V51", 258, 48.3, 1.39, 163, 79.4, 90.0, 6.3),
        ("V52", 236, 48.5, 1.39, 168, 87.4, 90.0, 5.7),
        ("V53", 230, 48.5, 1.39, 168, 88.5, 90.0, 5.6),
    ]
]


class DramWords(NamedTuple):
    """DRAM words of an AlexNet layer at batch 4, and densities, of table 7's setup."""

    name: str
    inputs: int
    weights: int
    outputs: int
    input_reads: float
    weight_reads: int
    density_in: float
    density_out: float
    ratio: float


# Sparseloop's artifact (MICRO 2022), table7_eyeriss_setup: sizes and loop nests of
# dense_outputs/*/timeloop-model.map.txt, densities of workload/, and Sparseloop's
# ratio of dense to compressed words. Words of `inputs` include the halo of tiles.
EYERISS_DRAM_WORDS = [
    DramWords(*row)
    for row in [
        ("conv1", 8085 * 32 * 3, 34848, 1204224, 1, 32, 0.999, 0.378, 1.24),
        ("conv2", 4608 * 48, 307200, 802816, 8, 4, 0.6, 0.169, 1.36),
        ("conv3", 3600 * 64, 884736, 259584, 6, 1, 0.275, 0.303, 1.70),
        ("conv4", 3600 * 48, 663552, 259584, 6, 1, 0.207, 0.304, 1.87),
        ("conv5", 3600 * 48, 442368, 173056, 4, 1, 0.23, 0.1, 1.94),
    ]
]

# Sparseloop's artifact, fig13_dstc_setup/scripts/baseline.yaml, "raw data extracted
# from paper Fig21": {density of A: cycles with B at density (1.0, 0.4)}, 4096^3.
DSTC_CYCLES = {
    1.0: (4600, 2500),
    0.9: (4160, 2300),
    0.7: (3300, 1820),
    0.5: (2690, 1480),
    0.3: (1930, 1100),
}


class TensorCoreRow(NamedTuple):
    """A matrix product of ResNet50 on 1024 multipliers, in cycles."""

    filters: int
    channels: int
    rows: int
    density: float  # of the activation
    dense: int
    sparse: int  # 2:4, with weights that have the pattern
    dstc: tuple[int, int, int, int]  # weights at density 1, 1/2, 1/3, 1/4


# Sparseloop's artifact, fig15_stc_related_setup/ref_outputs.
TENSOR_CORE_ROWS = [
    TensorCoreRow(*row)
    for row in [
        (128, 1152, 1024, 0.44, 147456, 73728, (78059, 51197, 41823, 37083)),
        (512, 1024, 256, 0.27, 131072, 65536, (48875, 35482, 32294, 28699)),
        (512, 128, 1024, 0.56, 65536, 32768, (45340, 30226, 25852, 17980)),
        (512, 256, 1024, 0.82, 131072, 65536, (131072, 78640, 69102, 44257)),
    ]
]


class EieLayer(NamedTuple):
    """A layer on EIE with 64 elements at 800 MHz."""

    name: str
    inputs: int
    outputs: int
    density_weight: float
    density_activation: float
    theoretical_us: float
    actual_us: float


# Times: Han et al., ISCA 2016, through cucapra/fodlam (raw/eie-raw.csv).
# MEMORY: the sizes and densities are EIE's table III as remembered.
EIE_LAYERS = [
    EieLayer(*row)
    for row in [
        ("Alex-6", 9216, 4096, 0.09, 0.351, 28.1, 30.3),
        ("Alex-7", 4096, 4096, 0.09, 0.353, 11.7, 12.2),
        ("Alex-8", 4096, 1000, 0.25, 0.375, 8.9, 9.9),
        ("VGG-6", 25088, 4096, 0.04, 0.183, 28.1, 34.4),
        ("VGG-7", 4096, 4096, 0.04, 0.375, 7.9, 8.7),
        ("VGG-8", 4096, 1000, 0.23, 0.411, 7.3, 8.4),
        ("NT-We", 4096, 600, 0.10, 1.0, 5.2, 8.0),
        ("NT-Wd", 600, 8791, 0.11, 1.0, 13.0, 13.9),
        ("NT-LSTM", 1201, 2400, 0.10, 1.0, 6.5, 7.5),
    ]
]

# Sparseloop's artifact, fig15_stc_related_setup/ref_outputs, 128-1152-1024 at an
# activation density of 0.44, in uJ. The dense core ("TC") is at 65 nm there, the other
# two at 45 nm: see its flattened_architecture.yaml.
TENSOR_CORE_ENERGY = {"dense": 276.6, "weights 2:4": 173.4, "weights dense": 248.2}
DSTC_ENERGY = {1.0: 364.7, 0.5: 191.7, 1 / 3: 144.5, 0.25: 120.9}

# Parashar et al., ISCA 2017 (through reading notes): energy over that of the dense
# twin, GoogLeNet with both operands at one density.
SCNN_ENERGY = {1.0: 1.33, 0.83: 1.0, 0.1: 0.06}

# Products of the 28 layers of a pruned MobileNet-0.5 at 128 pixels with both operands
# nonzero: Sparseloop's artifact, fig12_eyerissv2_pe_setup/scripts/
# ground_truth_cycles.yaml. Convolution, 13 pairs of depthwise and 1x1, fully connected.
MOBILENET_PRODUCTS = [
    *(1769472, 544768, 461302, 278528, 873643, 513024, 1702140, 145920, 1499682),
    *(270848, 2491491, 73728, 1144158, 147456, 2238663, 147456, 2173758, 124096),
    *(1457458, 147456, 1677684, 147456, 1821557, 36864, 948572, 73728, 775316, 95443),
]
# Chen et al., JETCAS 2019 (stored text): inferences per second and per joule.
EYERISS_V2_CHIP = 1470.6, 2560.3
