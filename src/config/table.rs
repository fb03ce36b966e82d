//! `options!`: declares each option of a part of the configuration once.
//!
//! A row is `[position] name: type = default => reader;`. Positions order the options of all parts in JSON.
//! Optional entries of a row: `recurrent VALUE`, the default where networks read words; `up_to N`, the largest value of
//! a size; a final `may_differ`, for options in which a resumed search may differ from its checkpoint.

use crate::space::Reads;

/// The facts about an option that do not depend on its value.
pub(super) struct Entry {
    pub name: &'static str,
    pub largest: Option<usize>,
    pub may_differ: bool,
}

/// The default of an option in a space whose networks read images or words.
pub(super) fn published<T, const N: usize>(reads: Reads, images: T, words: [T; N]) -> T {
    match reads {
        Reads::Images => images,
        Reads::Words => words.into_iter().next().unwrap_or(images),
    }
}

macro_rules! options {
    ($(#[$doc:meta])* $part:ident {
        $([$position:literal] $name:ident: $type:ty = $default:expr
            $(, recurrent $recurrent:expr)? $(, up_to $largest:literal)?
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

            /// The published values for networks that read images or words.
            pub(super) fn published(reads: $crate::space::Reads) -> Self {
                $part {
                    $($name: $crate::config::table::published(reads, $default, [$($recurrent)?]),)*
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
