//! The published spaces.

mod darts;
mod darts_1d;
mod darts_rnn;
mod nas_bench_201;
mod s1;
mod s2;
mod s3;

use super::{CellKind, Space};

/// The name of a preset, and the function that makes it.
type Preset = (&'static str, fn() -> Space);

/// Every preset.
pub(super) const ALL: &[Preset] = &[
    ("darts", darts::space),
    ("darts-rnn", darts_rnn::space),
    ("darts-1d", darts_1d::space),
    ("nas-bench-201", nas_bench_201::space),
    ("s1", s1::space),
    ("s2", s2::space),
    ("s3", s3::space),
];

/// The names of the presets.
pub(super) fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}

/// The preset whose values a space of this kind and number of dimensions has by default, with stages or without.
pub(super) fn published(kind: CellKind, dimensions: Option<usize>, staged: bool) -> Space {
    match (kind, dimensions) {
        (CellKind::Convolutional, Some(1)) => darts_1d::space(),
        (CellKind::Convolutional, _) if staged => nas_bench_201::space(),
        (CellKind::Convolutional, _) => darts::space(),
        (CellKind::Recurrent, _) => darts_rnn::space(),
    }
}
