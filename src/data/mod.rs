//! Batches and where they come from.

mod augment;
mod batch;
mod dataset;
mod expect;
mod source;
mod tokens;

pub use augment::Augmentation;
pub use batch::{Batch, Layout};
pub use dataset::{ArraySource, Dataset, Normalization, View};
pub use expect::{Expected, check_labels, check_tokens};
pub use source::{Role, Source};
pub use tokens::{Segments, TokenSource};
