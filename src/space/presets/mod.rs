//! The published spaces.

pub(super) mod darts;
pub(super) mod darts_rnn;

use super::Space;

/// The name of a preset, and the function that makes it.
type Preset = (&'static str, fn() -> Space);

/// Every preset.
pub(super) const ALL: &[Preset] = &[("darts", darts::space), ("darts-rnn", darts_rnn::space)];

/// The names of the presets.
pub(super) fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}
