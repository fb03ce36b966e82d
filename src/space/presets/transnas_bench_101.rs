//! "transnas-bench-101": the cell-level space of TransNAS-Bench-101 (Duan et al., "TransNAS-Bench-101", CVPR 2021): the cell
//! of NAS-Bench-201 with four candidates in the network of the code 64-41414, as a classifier.

use super::nas_bench_201::with_network;
use crate::space::{Head, NetworkSpec, Operation, Space, Stage, Stages, Stem};

pub(super) fn space() -> Space {
    let operations = vec![Operation::None, Operation::SkipConnect, Operation::NorConv1x1, Operation::NorConv3x3];
    let (halved, kept) = (Stage { channels: 2, stride: 2 }, Stage { channels: 1, stride: 1 });
    let network = NetworkSpec {
        stem: Stem::Strided,
        stages: Stages::Direct { stages: vec![halved, kept, halved, kept, halved] },
        head: Head::Classifier,
    };
    with_network("transnas-bench-101", operations, network)
}
