//! `options!`: declares each option of a part of the configuration once.
//!
//! A row is `[position] name: type = default => reader;`. Positions order the options of all parts in JSON.
//! Optional entries of a row: `recurrent VALUE`, the default where networks read words; `stages VALUE`, the default in
//! networks of stages, that of NAS-Bench-201, and `direct VALUE`, that of TransNAS-Bench-101; `up_to N`, the largest
//! value of a size; a final `may_differ`, for options in which a resumed search may differ from its checkpoint.

use crate::space::{Reads, Space, Stages};

/// Whose published values are the defaults.
#[derive(Clone, Copy)]
pub(super) enum Published {
    Darts,
    Recurrent,
    Stages,
    /// Stages that follow each other directly; their other defaults are those of `Stages`.
    Direct,
}

impl Published {
    pub fn of(space: &Space) -> Published {
        match (space.reads(), &space.network.stages) {
            (Reads::Words, _) => Published::Recurrent,
            (Reads::Images, Stages::Residual { .. }) => Published::Stages,
            (Reads::Images, Stages::Direct { .. }) => Published::Direct,
            (Reads::Images, Stages::Chain { .. } | Stages::Recurrence) => Published::Darts,
        }
    }
}

/// The facts about an option that do not depend on its value.
pub(super) struct Entry {
    pub name: &'static str,
    pub largest: Option<usize>,
    pub may_differ: bool,
}

/// The default of an option: another one than that of DARTS if one is given.
pub(super) fn published<T, const N: usize, const M: usize, const K: usize>(
    of: Published,
    darts: T,
    recurrent: [T; N],
    stages: [T; M],
    direct: [T; K],
) -> T {
    let other = match of {
        Published::Darts => None,
        Published::Recurrent => recurrent.into_iter().next(),
        Published::Stages => stages.into_iter().next(),
        Published::Direct => direct.into_iter().chain(stages).next(),
    };
    other.unwrap_or(darts)
}

macro_rules! options {
    ($(#[$doc:meta])* $part:ident {
        $([$position:literal] $name:ident: $type:ty = $default:expr
            $(, recurrent $recurrent:expr)? $(, stages $stages:expr)? $(, direct $direct:expr)? $(, up_to $largest:literal)?
            => $read:expr $(, $may_differ:ident)?;)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs)] // the Python API documents each option
        pub struct $part {
            $(pub $name: $type,)*
        }

        impl $part {
            pub(super) const ENTRIES: &'static [$crate::config::table::Entry] = &[$($crate::config::table::Entry {
                name: stringify!($name),
                largest: [$(Some($largest),)? None][0],
                may_differ: !stringify!($($may_differ)?).is_empty(),
            }),*];

            /// The published values.
            pub(super) fn published(of: $crate::config::table::Published) -> Self {
                $part {
                    $($name: $crate::config::table::published(
                        of, $default, [$($recurrent)?], [$($stages)?], [$($direct)?],
                    ),)*
                }
            }

            /// Sets the option that `field` names; None if this part has no such option.
            pub(super) fn set(&mut self, field: &$crate::json::Field) -> Option<$crate::error::Result<()>> {
                match field.name {
                    $(stringify!($name) => Some(($read)(field).map(|value| self.$name = value)),)*
                    _ => None,
                }
            }

            /// Position, name and value of every option.
            pub(super) fn values(&self) -> Vec<(usize, &'static str, serde_json::Value)> {
                vec![$(($position, stringify!($name), serde_json::json!(self.$name)),)*]
            }
        }
    };
}
pub(super) use options;
