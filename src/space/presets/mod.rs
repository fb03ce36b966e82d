//! The published spaces.

pub(super) mod darts;
pub(super) mod darts_rnn;

use super::Space;

/// Every preset by its name.
pub(super) const ALL: &[(&str, fn() -> Space)] = &[("darts", darts::space), ("darts-rnn", darts_rnn::space)];

/// The names of the presets.
pub(super) fn names() -> Vec<&'static str> {
    ALL.iter().map(|(name, _)| *name).collect()
}
