//! Blocks of values that part.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::plan::ValueId;

/// The blocks of each value that parts, until their readers take them. All blocks of a value are cut at once: the
/// backward pass of that is one concatenation, where each slice alone would fill a whole value with zeros.
#[derive(Default)]
pub struct Parts(RefCell<HashMap<ValueId, Vec<Option<Tensor>>>>);

impl Parts {
    /// A block, (which, of how many) along a dimension; nobody takes it twice.
    pub fn take(&self, id: ValueId, value: &Tensor, dim: i64, (index, of): (usize, usize)) -> Result<Tensor> {
        let mut cut = self.0.borrow_mut();
        let mut blocks = match cut.remove(&id) {
            Some(blocks) => blocks,
            None => value.f_chunk(of as i64, dim)?.into_iter().map(Some).collect(),
        };
        let block = blocks.get_mut(index).and_then(Option::take);
        if blocks.iter().any(Option::is_some) {
            cut.insert(id, blocks);
        }
        block.ok_or_else(|| Error::engine(format!("block {index} of value {} is taken already", id.0)))
    }
}
