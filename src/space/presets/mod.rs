//! The published spaces.

mod darts;
mod darts_1d;
mod darts_rnn;
mod nas_bench_201;
mod s1;
mod s2;
mod s3;
mod s4;
mod transnas_bench_101;

use super::{CellKind, Space, Stages};

/// The name of a preset, and the function that makes it.
type Preset = (&'static str, fn() -> Space);

/// Every preset.
pub(super) const ALL: &[Preset] = &[
    ("darts", darts::space),
    ("darts-rnn", darts_rnn::space),
    ("darts-1d", darts_1d::space),
    ("nas-bench-201", nas_bench_201::space),
    ("transnas-bench-101", transnas_bench_101::space),
    ("s1", s1::space),
    ("s2", s2::space),
    ("s3", s3::space),
    ("s4", s4::space),
];

/// The names of the presets.
pub(super) fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}

/// The preset whose values a space of this kind and number of dimensions has by default, with stages or without.
pub(super) fn published(kind: CellKind, dimensions: Option<usize>, stages: Option<&Stages>) -> Space {
    match (kind, dimensions, stages) {
        (CellKind::Convolutional, Some(1), _) => darts_1d::space(),
        (CellKind::Convolutional, _, Some(Stages::Direct { .. })) => transnas_bench_101::space(),
        (CellKind::Convolutional, _, Some(_)) => nas_bench_201::space(),
        (CellKind::Convolutional, _, None) => darts::space(),
        (CellKind::Recurrent, ..) => darts_rnn::space(),
    }
}
